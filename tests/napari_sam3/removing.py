"""Label, remove the image, draw, add another and label it: run as a program by test_window.py.

It asks napari for pictures, because a paint after the removal is what ended the process.
"""

from __future__ import annotations

import os
import sys

import napari
import numpy as np

from napari_sam3.cli.robot import Robot
from tests.napari_sam3.batch_samples import small_predictor


def main(what: str) -> None:
    """Do it."""
    image = np.random.default_rng(0).integers(0, 255, (100, 90), np.uint8)
    viewer = napari.Viewer()
    viewer.window.resize(900, 600)
    viewer.add_image(image)
    _, widget = viewer.window.add_plugin_dock_widget("napari-sam3", "SAM 3")
    hand = Robot(viewer)
    widget.set_predictor(small_predictor())

    def draw() -> None:
        for _ in range(8):
            hand.rest()
            viewer.screenshot(canvas_only=False, flash=False)

    def label() -> None:
        hand.wait_until(lambda: widget.binding is not None, "the layers")
        viewer.reset_view()
        hand.rest()
        hand.click((20, 20))
        hand.wait_until(lambda: not widget.session.busy, "the mask")
        hand.type("N")
        draw()

    label()
    if what == "labels then image":
        viewer.layers.remove("image labels")
        draw()
    viewer.layers.remove("image")
    draw()
    viewer.add_image(np.stack([image, image]) if what == "other axes" else image.T.copy())
    draw()
    label()
    print("labelled", len(widget.session.objects), flush=True)
    # How napari and a driver end is not what is looked at here.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
