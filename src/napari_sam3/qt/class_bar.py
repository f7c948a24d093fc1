"""The classes as coloured buttons with their keys; a field adds more."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QButtonGroup,
    QColorDialog,
    QLineEdit,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_sam3.core.classes import ClassError, LabelClass, next_color

from .controls import worded
from .focus import canvas_of
from .text import panel as panel_text
from .theming import class_style

__all__ = ["ClassBar"]

SWATCH = 10
#: Keys reach so many classes.
MOST_KEYS = 9


class ClassBar(QWidget):
    """One button per class; the checked one is the class of the next object.

    Attributes
    ----------
    classes : tuple of LabelClass
        In the order of their keys.
    buttons : dict of QPushButton
        By name of the class.
    add_button : QPushButton
        Shows the field for a new class.
    name : QLineEdit
        The field.
    chosen : Signal
        (str) The user chose a class.
    edited : Signal
        (tuple of LabelClass) The user added or removed a class, or changed a colour.
    refused : Signal
        (ClassError) The user typed what is not a name for a class.
    """

    chosen = Signal(str)
    edited = Signal(tuple)
    refused = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.classes: tuple[LabelClass, ...] = ()
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        self.add_button = worded(QPushButton(), panel_text.ADD_CLASS)
        self.add_button.setAccessibleName(panel_text.ADD_CLASS.name)
        self.add_button.setFixedWidth(30)
        self.name = QLineEdit()
        self.name.setPlaceholderText(panel_text.NEW_CLASS.title)
        self.name.setToolTip(panel_text.NEW_CLASS.tooltip)
        self.name.setAccessibleName(panel_text.NEW_CLASS.name)
        self.name.hide()
        self._row = QFlowLayout()
        self._row.addWidget(self.add_button)
        column = QVBoxLayout(self)
        for layout in (column, self._row):
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(4)
        column.addLayout(self._row)
        column.addWidget(self.name)
        self._group.buttonClicked.connect(self._on_clicked)
        self.add_button.clicked.connect(self._on_add)
        self.name.returnPressed.connect(self._on_typed)

    @property
    def current(self) -> str:
        """Name of the class of the next object; "" if there are no classes."""
        checked = self._group.checkedButton()
        return next((name for name, one in self.buttons.items() if one is checked), "")

    def show_classes(self, classes: tuple[LabelClass, ...], current: str | None = None) -> None:
        """Offer classes, and check one without a signal; the same one by default."""
        wanted = self.current if current is None else current
        if classes != self.classes:
            self.classes = classes
            self._make_buttons()
        names = list(self.buttons)
        if names:
            self.buttons[wanted if wanted in names else names[0]].setChecked(True)

    def add(self, name: str) -> None:
        """Add a class, or choose it if it exists.

        Raises
        ------
        ClassError
            If a class cannot have this name.
        """
        name = name.strip()
        if not name or ";" in name or "#" in name:
            raise ClassError(
                f"not a name for a class: {name!r}. Expected text without ';' and '#'. Type "
                "another name."
            )
        if name not in self.buttons:
            classes = (*self.classes, LabelClass(name, next_color(self.classes)))
            self.show_classes(classes, name)
            self.edited.emit(classes)
        else:
            self.show_classes(self.classes, name)
        self.chosen.emit(name)

    def set_color(self, color: str, name: str | None = None) -> None:
        """Change the colour, "#rrggbb", of a class; of the checked one by default."""
        changed = self.current if name is None else name
        classes = tuple(
            LabelClass(one.name, color) if one.name == changed else one for one in self.classes
        )
        self.show_classes(classes)
        self.edited.emit(classes)

    def remove(self, name: str) -> None:
        """Remove a class from the buttons; objects keep it. The last one stays."""
        classes = tuple(one for one in self.classes if one.name != name)
        if classes and classes != self.classes:
            before = self.current
            self.show_classes(classes)
            self.edited.emit(classes)
            if self.current != before:
                self.chosen.emit(self.current)

    # ------------------------------------------------------------------ inside

    def _make_buttons(self) -> None:
        current = self.current
        for button in self.buttons.values():
            self._group.removeButton(button)
            self._row.removeWidget(button)
            button.hide()  # Qt deletes it only when it is idle
            button.deleteLater()
        self._row.removeWidget(self.add_button)
        self.buttons = {}
        for number, one in enumerate(self.classes, start=1):
            button = self.buttons[one.name] = self._make_button(one, number)
            button.setChecked(one.name == current)
            self._group.addButton(button)
            self._row.addWidget(button)
        self._row.addWidget(self.add_button)

    def _make_button(self, one: LabelClass, number: int) -> QPushButton:
        key = panel_text.class_key(number) if number <= MOST_KEYS else ""
        button = QPushButton(f"{one.name}  {key}".strip().replace("&", "&&"))
        button.setToolTip(panel_text.class_tooltip(one.name, key))
        button.setAccessibleName(one.name)
        button.setCheckable(True)
        button.setIcon(_swatch(one.color))
        button.setStyleSheet(class_style(one.color))
        button.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        button.customContextMenuRequested.connect(self._on_menu)
        return button

    def _on_clicked(self, button: QPushButton) -> None:
        self.chosen.emit(self._name_of(button))

    def _name_of(self, button: object) -> str:
        return next(name for name, one in self.buttons.items() if one is button)

    def _on_menu(self, _place: object) -> None:
        name, menu = self._name_of(self.sender()), QMenu(self)
        for title, run in (
            (panel_text.CHANGE_COLOR, self._on_color),
            (panel_text.REMOVE_CLASS, self.remove),
        ):
            action = menu.addAction(title)
            assert action is not None
            action.triggered.connect(partial(run, name))
        menu.popup(self.buttons[name].mapToGlobal(self.buttons[name].rect().bottomLeft()))

    def _on_color(self, name: str, _checked: bool = False) -> None:
        now = next(one.color for one in self.classes if one.name == name)
        color = QColorDialog.getColor(QColor(now), self, panel_text.color_of(name))
        if color.isValid():
            self.set_color(color.name(), name)

    def _on_add(self, _checked: bool = False) -> None:
        self.name.setVisible(not self.name.isVisible())
        self.name.clear()
        self.name.setFocus()

    def _on_typed(self) -> None:
        try:
            self.add(self.name.text())
        except ClassError as error:
            self.name.selectAll()  # to be typed again
            self.refused.emit(error)
        else:
            self.name.hide()
            if (canvas := canvas_of(self)) is not None:
                canvas.setFocus()  # for the keys of commands


def _swatch(color: str) -> QIcon:
    pixmap = QPixmap(SWATCH, SWATCH)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)
