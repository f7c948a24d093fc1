"""Open and close the dock widget again and again; print what the process holds after each time.

A process of its own, because here vispy's programs are really deleted (see conftest.py). The
labels stay in the viewer, and the next widget goes on with them.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import napari
import numpy as np
import psutil
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_sam3.layers.binding import Binding
from napari_sam3.qt.widget import SegmentWidget
from napari_sam3.qt.workers import give_back_memory
from napari_sam3.session.session import LabelingSession
from sam3 import Predictor
from sam3.config import get_preset
from sam3.model_builder import build_click_model

WARM_UP = 3


def holdings(viewer: Any) -> dict[str, int]:
    """Count what is alive: bytes, Python objects, those of ours, threads, layers."""
    for _ in range(2):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        gc.collect()
    give_back_memory()  # what the allocator keeps for later use is no leak
    alive = gc.get_objects()
    return {
        "bytes": psutil.Process().memory_info().rss,
        "objects": len(alive),
        "sessions": sum(type(one) is LabelingSession for one in alive),
        "bindings": sum(type(one) is Binding for one in alive),
        "threads": threading.active_count(),
        "layers": len(viewer.layers),
    }


def open_and_close(viewer: Any, predictor: Predictor) -> None:
    """Open the widget, make a label, take it back, close the widget."""
    widget = SegmentWidget(viewer)
    widget.session.look_ahead = 0
    widget.set_predictor(predictor)
    dock = viewer.window.add_dock_widget(widget, name="SAM 3")
    while widget.binding is None:
        QApplication.processEvents()
    widget.binding.points.add([20, 20])
    while widget.session.busy:
        QApplication.processEvents()
    widget.binding.accept()
    assert len(widget.session.objects) == 1
    widget.binding.undo()
    viewer.window.remove_dock_widget(dock)
    assert widget.wait(30)
    widget.deleteLater()


def rounds(count: int) -> Iterator[dict[str, int]]:
    """Yield what is held after warming up, and after each time."""
    viewer = napari.Viewer()
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (100, 90), np.uint8))
    config = dataclasses.replace(get_preset("tiny"), resolution=112)
    predictor = Predictor(build_click_model(config, seed=0).eval(), device="cpu")
    for _ in range(WARM_UP):
        open_and_close(viewer, predictor)
    yield holdings(viewer)
    for _ in range(count):
        open_and_close(viewer, predictor)
        yield holdings(viewer)


if __name__ == "__main__":
    for found in rounds(int(sys.argv[1])):
        print(json.dumps(found), flush=True)
    # How napari and a driver end is not what is looked at here.
    os._exit(0)
