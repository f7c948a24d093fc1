"""Close a viewer, its window or the widget while a model loads: a program of test_window.py."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_sam3 import SegmentWidget
from napari_sam3.cli.robot import Robot
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import small_predictor


def close_by(how: str, viewer: napari.Viewer, widget: SegmentWidget) -> None:
    """Close the viewer, its window or the widget alone, and have Qt delete what it should."""
    if how == "viewer":
        viewer.close()
    elif how == "window":
        viewer.window._qt_window.close()
    else:
        widget.deleteLater()
    for _ in range(5):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    assert widget._closed


def main(how: str) -> None:
    """Do it."""
    gate, started = threading.Event(), threading.Event()

    def slow() -> Predictor:
        started.set()
        assert gate.wait(60)
        return small_predictor()

    image = np.random.default_rng(0).integers(0, 255, (100, 90), np.uint8)
    viewer = napari.Viewer()
    viewer.add_image(image)
    widget = SegmentWidget(viewer)
    widget.set_predictor(slow)
    viewer.window.add_dock_widget(widget)
    hand = Robot(viewer)
    hand.wait_until(lambda: widget.binding is not None, "the layers")
    binding: Any = widget.binding
    hand.click((20, 20))
    assert started.wait(30)
    close_by(how, viewer, widget)
    assert widget.binding is None
    gate.set()
    assert widget.wait(30)
    QApplication.processEvents()
    if how == "widget":  # the viewer lives on, and is worked with
        viewer.dims.ndisplay = 3
        viewer.layers.remove(binding.image)
        viewer.add_image(image)
        QApplication.processEvents()
        assert len(viewer.layers) == 5
    print("closed", flush=True)
    # How napari and a driver end is not what is tested here.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
