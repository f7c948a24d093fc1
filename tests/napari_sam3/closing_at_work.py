"""Close a viewer, a window or the widget while work reads its image: run by test_window.py."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam3 import SegmentWidget
from napari_sam3.cli.robot import Robot
from napari_sam3.inference.tracking.ending import EndRules
from tests.napari_sam3.batch_samples import ANYTHING, small_predictor, stack
from tests.napari_sam3.closing import close_by

WORK = ("encode", "find", "propagate", "batch")


class SlowStack:
    """A stack that other threads wait for, once the gate is closed."""

    def __init__(self) -> None:
        self.array = stack(4)
        self.shape, self.dtype, self.ndim = self.array.shape, self.array.dtype, 3
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()

    def __getitem__(self, index: Any) -> Any:
        if threading.current_thread() is not threading.main_thread() and not self.gate.is_set():
            self.waiting.set()
            assert self.gate.wait(60)
        return self.array[index]


def begin(what: str, widget: Any, hand: Robot) -> None:
    """Begin work as a user does."""
    if what == "encode":
        hand.click((20, 20))
    elif what == "find":
        QTest.mouseClick(widget.panel.finding.everything, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    elif what == "propagate":
        widget.session.propagate(rules=EndRules(min_area=1))
    else:
        widget.batch.automatic = ANYTHING
        widget.panel.batch.method.setCurrentIndex(widget.panel.batch.method.findData("automatic"))
        widget.panel.batch.method.activated.emit(widget.panel.batch.method.currentIndex())
        widget.panel.batch.run_button.click()


def close_at(what: str, how: str, predictor: Any) -> None:
    """Label, begin work, close, and let the work go on."""
    image = SlowStack()
    viewer = napari.Viewer()
    viewer.add_image(image, name="slow", contrast_limits=(0, 3000))
    widget = SegmentWidget(viewer)
    widget.session.look_ahead = 0
    widget.set_predictor(predictor)
    viewer.window.add_dock_widget(widget)
    hand = Robot(viewer)
    hand.wait_until(lambda: widget.binding is not None, "the layers")
    viewer.reset_view()
    hand.rest()
    if what != "encode":
        hand.click((20, 20))
        hand.wait_until(lambda: not widget.session.busy, "the mask")
        hand.type("N")
    widget.session.cache.clear()
    image.gate.clear()
    begin(what, widget, hand)
    hand.wait_until(image.waiting.is_set, f"the work: {what}")
    close_by(how, viewer, widget)
    image.gate.set()
    assert widget.wait(60)
    QApplication.processEvents()
    print(what, flush=True)


def main(how: str) -> None:
    """Do it."""
    faulthandler.enable()
    predictor = small_predictor()
    for what in WORK:
        close_at(what, how, predictor)
    # How napari and a driver end is not what is tested here.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
