"""Simulated mouse and keyboard: real Qt events on a real viewer, for the demo and for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QKeySequence, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from sam3.errors import Sam3Error

if TYPE_CHECKING:
    import napari

__all__ = ["Robot"]

Place = tuple[float, float]
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
DRAG_STEPS = 8
# Minimum time between two moves in seconds: vispy drops a move within 0.01 s of another.
MOVE_TIME = 0.012


class Robot:
    """Click, drag and type in a viewer's canvas, at positions in world coordinates.

    Events take the same way as those of a user: to the canvas, through vispy and napari to the
    layers.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer, in 2-D.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._moved = 0.0

    @property
    def canvas(self) -> QWidget:
        """The widget on which vispy draws, for which napari has no public name."""
        widget: QWidget = self._viewer.window._qt_viewer.canvas.native
        return widget

    def place_on_canvas(self, place: Place) -> QPointF:
        """Convert a world position (row, column) on the displayed axes to px of the canvas."""
        camera, canvas = self._viewer.scene.camera, self.canvas
        y = (place[0] - camera.center[-2]) * camera.zoom + canvas.height() / 2
        x = (place[1] - camera.center[-1]) * camera.zoom + canvas.width() / 2
        return QPointF(x, y)

    def move(self, place: Place) -> None:
        """Move the mouse without a button."""
        self._mouse(QEvent.Type.MouseMove, place, Qt.MouseButton.NoButton, False)

    def click(
        self, place: Place, *, right: bool = False, shift: bool = False, control: bool = False
    ) -> None:
        """Press and release a mouse button."""
        button = RIGHT if right else LEFT
        keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        if control:
            keys |= Qt.KeyboardModifier.ControlModifier
        self._mouse(QEvent.Type.MouseMove, place, Qt.MouseButton.NoButton, False, keys)
        self._mouse(QEvent.Type.MouseButtonPress, place, button, True, keys)
        self._mouse(QEvent.Type.MouseButtonRelease, place, button, False, keys)

    def drag(self, start: Place, stop: Place, *, steps: int = DRAG_STEPS) -> None:
        """Press the left button, move in steps, and release it."""
        self._mouse(QEvent.Type.MouseMove, start, Qt.MouseButton.NoButton, False)
        self._mouse(QEvent.Type.MouseButtonPress, start, LEFT, True)
        for step in range(1, steps + 1):
            fraction = step / steps
            place = tuple(a + fraction * (b - a) for a, b in zip(start, stop, strict=True))
            self._mouse(QEvent.Type.MouseMove, place, LEFT, True)
        self._mouse(QEvent.Type.MouseButtonRelease, stop, LEFT, False)

    def type(self, key: str) -> None:
        """Press and release a key on the canvas, in napari's notation: "N", "Control-Z"."""
        sequence = QKeySequence(key.replace("Control", "Ctrl").replace("-", "+"))
        QTest.keySequence(self.canvas, sequence)  # type: ignore[call-overload]
        QApplication.processEvents()

    def rest(self) -> None:
        """Process pending events."""
        QApplication.processEvents()

    def wait_until(self, done: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Process events until a condition holds.

        Raises
        ------
        sam3.errors.Sam3Error
            If it does not hold after `seconds`.
        """
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise Sam3Error(
                    f"timeout after {seconds:g} s while waiting for {what}. Expected it by then. "
                    "Try again on an idle computer."
                )
            QApplication.processEvents()
            time.sleep(0.005)

    def _mouse(
        self,
        kind: QEvent.Type,
        place: Any,
        button: Any,
        held: bool,
        keys: Any = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        if kind == QEvent.Type.MouseMove:
            time.sleep(max(0.0, self._moved + MOVE_TIME - time.monotonic()))
        where, canvas = self.place_on_canvas(place), self.canvas
        outside = canvas.mapToGlobal(QPoint(round(where.x()), round(where.y())))
        event = QMouseEvent(
            kind,
            where,
            QPointF(outside),
            Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else button,
            button if held else Qt.MouseButton.NoButton,
            keys,
        )
        QApplication.sendEvent(canvas, event)
        QApplication.processEvents()
        if kind == QEvent.Type.MouseMove:
            self._moved = time.monotonic()
