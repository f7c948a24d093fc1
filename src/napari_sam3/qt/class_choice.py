"""The class of the next object: a combo box with colours, to which names can be added."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QColorDialog, QComboBox, QHBoxLayout, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_sam3.core.classes import ClassError, LabelClass, next_color

from .controls import make_combo
from .text import panel as panel_text

__all__ = ["ClassChoice"]

SWATCH = 12


class ClassChoice(QWidget):
    """Names and colours of classes.

    Attributes
    ----------
    chosen : Signal
        (str) The user took another class.
    edited : Signal
        (tuple of LabelClass) The user added a class or changed a colour.
    """

    chosen = Signal(str)
    edited = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.classes: tuple[LabelClass, ...] = ()
        self.combo = make_combo(panel_text.CLASS.tooltip)
        self.combo.setEditable(True)
        self.combo.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.combo.setAccessibleName(panel_text.CLASS.name)
        self.color = QPushButton()
        self.color.setToolTip(panel_text.CLASS_COLOR.tooltip)
        self.color.setAccessibleName(panel_text.CLASS_COLOR.name)
        self.color.setFixedWidth(28)
        self.setFocusProxy(self.combo)
        self.setToolTip(panel_text.CLASS.tooltip)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.combo, 1)
        row.addWidget(self.color)
        self.combo.activated.connect(self._on_chosen)
        line = self.combo.lineEdit()
        assert line is not None
        line.returnPressed.connect(self._on_typed)
        self.color.clicked.connect(self._on_color)

    @property
    def current(self) -> str:
        """Name of the class chosen; "" if there are none."""
        return self.combo.currentData() or ""

    def show_classes(self, classes: tuple[LabelClass, ...], current: str | None = None) -> None:
        """Offer classes, and choose one without telling anybody; the same one if not given."""
        wanted = self.current if current is None else current
        self.classes = classes
        with signals_blocked(self.combo):
            self.combo.clear()
            for one in classes:
                self.combo.addItem(_swatch(one.color), one.name, one.name)
            self.combo.setCurrentIndex(max(0, self.combo.findText(wanted)) if classes else -1)
        self._show_color()

    def add(self, name: str) -> None:
        """Add a class, or choose it if it is there.

        Raises
        ------
        ClassError
            If there cannot be a class of that name.
        """
        name = name.strip()
        if not name or ";" in name or "#" in name:
            raise ClassError(
                f'{name!r} cannot be the name of a class; it needs a name without ";" and "#"'
            )
        if name not in [one.name for one in self.classes]:
            classes = (*self.classes, LabelClass(name, next_color(self.classes)))
            self.show_classes(classes, name)
            self.edited.emit(classes)
        else:
            self.show_classes(self.classes, name)
        self.chosen.emit(name)

    def set_color(self, color: str) -> None:
        """Give the class chosen another colour, "#rrggbb"."""
        classes = tuple(
            LabelClass(one.name, color) if one.name == self.current else one for one in self.classes
        )
        self.show_classes(classes)
        self.edited.emit(classes)

    def _on_chosen(self, _index: int) -> None:
        self._show_color()
        self.chosen.emit(self.current)

    def _on_typed(self) -> None:
        try:
            self.add(self.combo.currentText())
        except ClassError:
            self.show_classes(self.classes)

    def _on_color(self, _checked: bool = False) -> None:
        now = next((one.color for one in self.classes if one.name == self.current), None)
        if now is not None:
            title = panel_text.color_of(self.current)
            color = QColorDialog.getColor(QColor(now), self, title)
            if color.isValid():
                self.set_color(color.name())

    def _show_color(self) -> None:
        now = next((one.color for one in self.classes if one.name == self.current), None)
        self.color.setEnabled(now is not None)
        self.color.setIcon(_swatch(now) if now else QIcon())


def _swatch(color: str) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)
