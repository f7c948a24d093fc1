"""Opening and closing the widget again and again leaves nothing of it behind."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_sam3.binding import Binding
from napari_sam3.session import LabelingSession
from sam3.predictor import Predictor

ROUNDS = 6
# Of tens of thousands that an open widget is made of; napari and Qt keep a few names each time.
OBJECTS_A_ROUND = 400


def count(kind: type | None = None) -> int:
    """Python objects alive, of one type or of all."""
    QApplication.processEvents()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QApplication.processEvents()
    gc.collect()
    return sum(kind is None or type(one) is kind for one in gc.get_objects())


@pytest.mark.slow
def test_opening_and_closing_the_widget(
    make_napari_viewer: Any, predictor: Predictor, blobs: npt.NDArray[np.uint8]
) -> None:
    """Objects are counted, not bytes: see docs/architecture.md for what napari itself keeps."""
    from napari_sam3.widget import SegmentWidget

    viewer = make_napari_viewer(show=True)
    viewer.add_image(blobs)
    threads = threading.active_count()

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

    for _ in range(2):
        open_and_close()
    before, sessions, bindings = count(), count(LabelingSession), count(Binding)
    for _ in range(ROUNDS):
        open_and_close()
    # The last one may still wait for an event of Qt to let it go.
    assert count(LabelingSession) <= sessions + 1
    assert count(Binding) <= bindings + 1
    assert (count() - before) / ROUNDS < OBJECTS_A_ROUND
    assert threading.active_count() <= threads + 1
    assert len(viewer.layers) == 1
