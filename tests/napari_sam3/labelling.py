"""Label in a real viewer by clicks and keys until killed: run as a program by test_fault_kills.

Prints a line ``ids`` with the objects in effect after each step, once the journal has begun, and
``taking back`` before one is undone. What was printed must be there after any kill.
"""

from __future__ import annotations

import sys

import napari
import numpy as np

from napari_sam3.cli.robot import Robot
from napari_sam3.qt.crash_recovery import Safety
from napari_sam3.qt.widget import SegmentWidget
from tests.napari_sam3.batch_samples import small_predictor

SHAPE = (2, 100, 90)


def image() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Two planes of bright discs on a dark ground."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    planes = np.full(SHAPE, 20, np.uint8)
    for row, column in ((20, 20), (20, 65), (50, 45), (75, 20), (78, 68)):
        planes[:, (rows - row) ** 2 + (columns - column) ** 2 < 144] = 200
    return planes


def main(folder: str, seed: int) -> None:
    """Label until killed."""
    random = np.random.default_rng(seed)
    Safety.folder = folder
    viewer = napari.Viewer()
    viewer.add_image(image())
    widget = SegmentWidget(viewer)
    widget.set_predictor(small_predictor())
    viewer.window.add_dock_widget(widget, name="SAM 3")
    hand = Robot(viewer)
    hand.wait_until(
        lambda: widget.binding is not None and widget.binding.journal.file is not None,
        "the journal",
    )
    viewer.reset_view()
    hand.rest()
    widget.session.policy = "overwrite"
    print("ready", flush=True)
    while True:
        what = random.random()
        if what < 0.15 and widget.session.objects:
            print("taking back", flush=True)
            hand.type("Control-Z")
        elif what < 0.3:
            viewer.dims.set_current_step(0, int(random.integers(2)))
        else:
            hand.click((int(random.integers(5, 95)), int(random.integers(5, 85))))
            if what < 0.8:  # sometimes before its mask is there
                hand.wait_until(lambda: not widget.session.busy, "the mask")
            hand.type("N")
        hand.wait_until(lambda: not widget.session.busy, "the masks")
        print("ids", *(one.id for one in widget.session.objects), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
