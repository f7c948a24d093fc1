"""Opening and closing the widget again and again leaves nothing behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_sam3.binding import Binding
from napari_sam3.layer_set import LayerSet
from napari_sam3.session import LabelingSession
from sam3.predictor import Predictor

# make soak asks for more.
ROUNDS = int(os.environ.get("NAPARI_SAM3_ROUNDS", "5"))
LIMIT_MB = 3.0  # a round, beyond what napari itself keeps of the same layers


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(one) is kind for one in gc.get_objects())


def settle() -> None:
    QApplication.processEvents()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()
    gc.collect()


def growth_of(action: Callable[[], None]) -> float:
    """Megabytes that each round of an action adds to the process, after a first one."""
    action()
    settle()
    before = psutil.Process().memory_info().rss
    for _ in range(ROUNDS):
        action()
        settle()
    return float(psutil.Process().memory_info().rss - before) / 1e6 / ROUNDS


@pytest.mark.slow
def test_opening_and_closing_the_widget(
    make_napari_viewer: Any, predictor: Predictor, blobs: npt.NDArray[np.uint8]
) -> None:
    from napari_sam3.widget import SegmentWidget

    viewer = make_napari_viewer(show=True)
    image = viewer.add_image(blobs)
    threads = threading.active_count()

    def layers_alone() -> None:
        made = LayerSet.make(viewer, image, None, None, None)
        QApplication.processEvents()
        made.remove_tools("labels")

    def open_and_close() -> None:
        widget = SegmentWidget(viewer)
        widget.session.look_ahead = 0
        widget.set_predictor(predictor)
        dock = viewer.window.add_dock_widget(widget, name="SAM 3")
        while widget.binding is None:
            QApplication.processEvents()
        widget.binding.points.add([20, 20])
        while widget.session.busy:
            QApplication.processEvents()
        viewer.window.remove_dock_widget(dock)
        assert widget.wait(30)
        viewer.layers.remove(viewer.layers["SAM 3 labels"])
        widget.deleteLater()

    # With the OpenGL programs of removed layers left in place (see conftest.py), napari keeps
    # some megabytes of every layer it ever showed; what counts is what comes on top.
    napari_alone = growth_of(layers_alone)
    sessions, bindings = alive(LabelingSession), alive(Binding)
    ours = growth_of(open_and_close)
    assert len(viewer.layers) == 1
    assert threading.active_count() <= threads + 1
    assert alive(LabelingSession) <= sessions + 1
    assert alive(Binding) <= bindings + 1
    assert ours - napari_alone < LIMIT_MB, f"{ours:.1f} MB a round, napari {napari_alone:.1f} MB"
