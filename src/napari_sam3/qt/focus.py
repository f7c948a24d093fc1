"""Keyboard focus in the panel: command keys work wherever it is, then the canvas has it again."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QMainWindow,
    QWidget,
)

__all__ = ["KeysPass", "canvas_of", "main_window"]

ENDING = {Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape}
OPENING = {
    *(Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown),
    *(Qt.Key.Key_Home, Qt.Key.Key_End),
}


class KeysPass(QObject):
    """Event filter that leaves the keys of commands to napari in the controls of a widget.

    A closed combo box would choose by letters, arrows and the wheel, at once and unseen; a spin
    box swallows letters, and a list searches its rows for them. Here letters and Alt with a digit
    pass through to napari, arrows open the list of a combo box, the wheel scrolls the panel, and
    after a choice the canvas has the focus again.

    Parameters
    ----------
    parent : QWidget
        All combo boxes, spin boxes and lists within it, as they are now.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._widget = parent
        parent.installEventFilter(self)
        for combo in parent.findChildren(QComboBox):
            combo.installEventFilter(self)
            combo.activated.connect(self._to_canvas_soon)
            line = combo.lineEdit()
            if line is not None:
                line.returnPressed.connect(self._to_canvas_soon)
        for spin in parent.findChildren(QAbstractSpinBox):
            spin.installEventFilter(self)
            line = spin.lineEdit()
            if line is not None:
                line.returnPressed.connect(self._to_canvas_soon)
        for view in parent.findChildren(QAbstractItemView):
            if _in_combo(view):
                continue
            view.installEventFilter(self)
            view.activated.connect(self._to_canvas_soon)

    def eventFilter(self, control: Any, event: Any) -> bool:
        """Pass on events that are not for the control."""
        if control is self._widget:
            return self._ends_typing(event)
        if isinstance(control, QAbstractItemView):
            typed = event.type() == QEvent.Type.KeyPress and _is_typed(event)
            return _pass_on(event, typed)
        if event.type() == QEvent.Type.Wheel:
            return _pass_on(event, isinstance(control, QComboBox) or not control.hasFocus())
        if event.type() != QEvent.Type.KeyPress:
            return False
        if isinstance(control, QComboBox):
            if control.isEditable():
                return False
            if event.key() in OPENING:
                control.showPopup()
                return True
            return _pass_on(event, _is_typed(event))
        alt = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        return _pass_on(event, alt or event.text().isalpha())

    def _ends_typing(self, event: Any) -> bool:
        """Return whether a key is an Enter or Esc that a field has had, no command for a mask."""
        if event.type() != QEvent.Type.KeyPress or event.key() not in ENDING:
            return False
        if not isinstance(self._widget.focusWidget(), QLineEdit | QAbstractSpinBox):
            return False
        if event.key() == Qt.Key.Key_Escape:
            self._to_canvas_soon()
        return True

    def _to_canvas_soon(self, *_: Any) -> None:
        # Not within the signal: Qt gives the focus back to the combo box when its list closes.
        QTimer.singleShot(0, self._to_canvas)

    def _to_canvas(self) -> None:
        canvas = canvas_of(self._widget)
        if canvas is not None:
            canvas.setFocus()


def canvas_of(widget: QWidget) -> QWidget | None:
    """Return the canvas of the window that a widget is docked in."""
    window = main_window(widget)
    central = window.centralWidget() if window is not None else None
    if central is None:
        return None
    parts = central.findChildren(QWidget)
    canvas = (one for one in parts if type(one).__name__.startswith("CanvasBackend"))
    return next(canvas, central)


def _is_typed(event: Any) -> bool:
    """Return whether a key types a visible character."""
    return bool(event.text().isprintable() and event.text().strip())


def _in_combo(view: QWidget) -> bool:
    """Return whether a view is the list of a combo box."""
    found: Any = view
    while found is not None and not isinstance(found, QComboBox):
        found = found.parentWidget()
    return found is not None


def main_window(widget: QWidget) -> QMainWindow | None:
    """Return the window that a widget is docked in; floating docks belong to one, too."""
    found: Any = widget
    while found is not None and not isinstance(found, QMainWindow):
        found = found.parentWidget()
    return found


def _pass_on(event: Any, passed: bool) -> bool:
    """Leave an event to the parent of the control, or to the control."""
    if passed:
        event.ignore()
    return passed
