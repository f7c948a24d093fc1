"""Room for the panel in its window: a column of its own where it would be stacked too low."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QScrollArea, QWidget

from .focus import main_window

__all__ = ["OwnColumn"]

SIDES = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)


class OwnColumn(QObject):
    """Moves the dock of a widget next to others, where it lies below them and is cut.

    ::

        | controls |                | controls | widget |
        | layers   |      ->        | layers   |        |
        | widget   |                |          |        |

    Parameters
    ----------
    widget : QWidget
        In a dock, at the latest when it is shown.
    view : QScrollArea
        What needs room.
    needed : callable
        Returns the height in px that is to be seen.
    """

    def __init__(self, widget: QWidget, view: QScrollArea, needed: Any) -> None:
        super().__init__(widget)
        self._widget, self._view, self._needed = widget, view, needed
        # Not held: the dock holds the window, which would outlive its end.
        self._dock: Callable[[], QDockWidget | None] = lambda: None

    def watch(self) -> None:
        """Follow the dock that the widget is in now."""
        dock: Any = self._widget.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        if dock is not None and dock is not self._dock():
            self._dock = ref(dock)
            dock.dockLocationChanged.connect(self._on_moved)
        self._on_moved()

    def _on_moved(self, _area: object = None) -> None:
        # Later: the dock has its size only once the window has laid out all of them.
        QTimer.singleShot(0, self._make_room)

    def _make_room(self) -> None:
        dock, window = self._dock(), main_window(self._widget)
        if dock is None or window is None or dock.isFloating() or not dock.isVisible():
            return
        area = window.dockWidgetArea(dock)
        if area not in SIDES or window.tabifiedDockWidgets(dock):
            return
        view = self._view.viewport()
        low = view is not None and view.height() < self._needed()
        if low and self._stacked(dock, window):
            width = dock.width()
            window.addDockWidget(area, dock, Qt.Orientation.Horizontal)
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
            QTimer.singleShot(0, self._shrink)

    def _shrink(self) -> None:
        """Limit the window to the height of the screen, since stacked docks enlarged it."""
        window = main_window(self._widget)
        screen = None if window is None else window.screen()
        if window is not None and screen is not None:
            height = min(window.height(), screen.availableSize().height())
            window.resize(window.width(), height)

    def _stacked(self, dock: QDockWidget, window: Any) -> bool:
        """Whether docks lie above or below."""
        left, right = dock.x(), dock.x() + dock.width()
        others = (one for one in window.findChildren(QDockWidget) if one is not dock)
        return any(
            one.isVisible()
            and not one.isFloating()
            and window.dockWidgetArea(one) == window.dockWidgetArea(dock)
            and one.x() < right
            and left < one.x() + one.width()
            for one in others
        )
