"""Label a folder of images by clicks and keys: run as a program by test_series_widget.py.

Prints a line ``object KEY COUNT`` after each object that was accepted, and at the end how many
clicks in the canvas and how many other gestures it took. May be killed and run again.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import napari
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QApplication

from napari_sam3.cli.robot import Robot
from napari_sam3.qt.crash_recovery import Safety
from napari_sam3.qt.widget import SegmentWidget

PLACES = ((20, 20), (20, 65), (50, 45), (75, 20), (78, 68))


class Counter(QObject):
    """Counts clicks in the canvas, and every other press of a key or button."""

    def __init__(self, canvas: Any) -> None:
        super().__init__()
        self.clicks, self.others, self._canvas = 0, 0, canvas
        QApplication.instance().installEventFilter(self)  # type: ignore[union-attr]

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Count."""
        pressed = event.type() == QEvent.Type.MouseButtonPress
        if pressed and watched is self._canvas:
            self.clicks += 1
        elif (pressed and watched.isWidgetType()) or (
            event.type() == QEvent.Type.KeyPress and watched is self._canvas
        ):
            self.others += 1
        return False


def is_left(run: Any, shown: Any) -> bool:
    return run.shown is not shown


def main(folder: str, journals: str) -> None:
    """Label what is not labelled yet."""
    Safety.folder = journals
    viewer = napari.Viewer()
    viewer.window.resize(900, 600)
    widget: Any = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="SAM 3")
    hand, run = Robot(viewer), widget.series
    run.open(folder)
    hand.wait_until(lambda: run.shown is not None and widget.binding is not None, "the series")
    counter, session = Counter(hand.canvas), widget.session
    while True:
        shown = run.shown
        assert shown is not None
        key = shown.opened.item.key
        hand.wait_until(lambda: widget.binding.journal.file is not None, "the journal")
        there = len(session.objects_in(shown.labels.unique_id))
        for place in PLACES[there:]:
            before = len(session.objects_in(shown.labels.unique_id))
            first = place == PLACES[there]
            hand.click(place, shift=not first)
            hand.wait_until(lambda: not session.busy, "the mask")
            count = len(session.objects_in(shown.labels.unique_id))
            assert count == before + (not first)
            print("object", key, count, flush=True)
        if run.series.place(shown.opened.item) == len(run.series.items) - 1:
            break
        hand.type(".")
        hand.wait_until(partial(is_left, run, shown), "the next image")
    hand.type(".")
    hand.wait_until(lambda: not run.series.remaining, "the last image to be saved")
    print("clicks", counter.clicks, "others", counter.others, flush=True)
    widget.shut_down()
    widget.wait()
    viewer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
