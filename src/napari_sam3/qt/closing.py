"""The ways in which a dock widget ends: out of its dock, with the viewer's window, or by Qt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakMethod

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

from .focus import main_window

__all__ = ["Closing"]


class Closing(QObject):
    """Has a widget shut down in time, so that nothing reaches it when Qt has deleted it.

    Parameters
    ----------
    widget : QWidget
        The widget.
    shut_down : callable
        A method of the widget, called with whether the viewer's window goes as well.
    release : callable
        Called at the end in any case; must not know the widget.
    """

    def __init__(
        self, widget: QWidget, shut_down: Callable[[bool], None], release: Callable[[], None]
    ) -> None:
        super().__init__(widget)
        self._widget, self._shut_down = widget, WeakMethod(shut_down)
        self._window: QWidget | None = None
        self._docked = False
        widget.installEventFilter(self)
        widget.destroyed.connect(partial(_on_destroyed, self._shut_down, release))

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Notice that the widget leaves its dock, or that its window is closed."""
        kind = event.type()
        if kind == QEvent.Type.ParentChange and watched is self._widget:
            self._on_parent()
        elif kind == QEvent.Type.Close and watched is self._window:
            # The window may ask before it closes, and the answer may be no.
            QTimer.singleShot(0, self._on_close)
        elif kind == QEvent.Type.DeferredDelete and watched is self._window:
            self._end(with_viewer=True)
        return False

    def _on_parent(self) -> None:
        window = main_window(self._widget)
        if window is not None and window is not self._window:
            self._window = window
            window.installEventFilter(self)
        if self._widget.parent() is not None:
            self._docked = True
        elif self._docked:  # napari's way of closing docks
            self._end(with_viewer=False)

    def _on_close(self) -> None:
        with suppress(RuntimeError):  # the window was deleted meanwhile, which was noticed
            if self._window is not None and not self._window.isVisible():
                self._end(with_viewer=True)

    def _end(self, *, with_viewer: bool) -> None:
        shut_down = self._shut_down()
        if shut_down is not None:
            shut_down(with_viewer)


def _on_destroyed(
    shut_down: WeakMethod[Callable[[bool], None]], release: Callable[[], None], *_: Any
) -> None:
    """Release everything; the parts of the widget outlive it."""
    method = shut_down()
    if method is not None:
        with suppress(RuntimeError):  # about what Qt has deleted already
            method(True)
    release()
