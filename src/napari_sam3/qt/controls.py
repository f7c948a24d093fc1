"""Small parts that the panel is made of: combo boxes, texts, choices of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from magicgui.widgets import ComboBox, create_widget
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from .text.panel import NO, YES, Wording

__all__ = [
    "Items",
    "LayerChoice",
    "Offer",
    "add_row",
    "choose",
    "form",
    "make_combo",
    "make_text",
    "put_items",
    "worded",
]

Items = Sequence[tuple[str, Any]]
_Button = TypeVar("_Button", bound=QAbstractButton)


class LayerChoice:
    """Combo box of layers of one type, which magicgui makes from the type that napari registered.

    Layers are compared by `unique_id`: proxies of one layer are never identical.

    Parameters
    ----------
    annotation : type
        Such as `napari.layers.Image`.
    tooltip : str
        What the layer is for.
    viewer : ViewerModel, optional
        Has the layers; by default the viewer of the window that the combo box is in.
    extra : sequence of (text, data)
        Choices other than layers, such as ("New layer", "new"); they come last.

    Attributes
    ----------
    native : QComboBox
        Qt's combo box; it emits `activated` for choices of the user only.
    """

    def __init__(
        self, annotation: Any, tooltip: str, viewer: Any = None, extra: Items = ()
    ) -> None:
        self.extra = tuple(extra)
        made: Any = create_widget(annotation=annotation)
        self.widget: ComboBox = made
        # magicgui calls this when the widget is docked: layers are then found by its parents.
        self._registered: Callable[[Any], Iterable[Any]] = made.options["choices"]
        self._viewer = viewer
        self._fits: Callable[[Any], bool] = lambda layer: True
        self.native: QComboBox = made.native
        _set_up(self.native, tooltip)
        made.choices = self._choices

    def show(self, current: Any, fits: Callable[[Any], bool] | None = None) -> None:
        """Offer the current layers and choose one, without a signal.

        Parameters
        ----------
        current : Layer, object or None
            A layer, the data of an extra choice, or nothing.
        fits : callable, optional
            Tells whether a layer is to be offered.
        """
        self._fits = fits or (lambda layer: True)
        wanted = [(name, _identity(data)) for name, data in self._choices(self.widget)]
        present = [
            (self.native.itemText(i), _identity(self.native.itemData(i)))
            for i in range(self.native.count())
        ]
        if wanted == present and _identity(self.data(self.native.currentIndex())) == _identity(
            current
        ):
            return  # this is called at each click
        with signals_blocked(self.native):
            # magicgui leaves choices that stay where they are: the order would be that of age.
            self.native.clear()
            self.widget.reset_choices()
            choices = [self.native.itemData(i) for i in range(self.native.count())]
            found = (i for i, data in enumerate(choices) if _identity(data) == _identity(current))
            self.native.setCurrentIndex(next(found, -1))

    def data(self, index: int) -> Any:
        """Return the layer, or the data of the extra choice, at a place of the list."""
        return self.native.itemData(index)

    def _choices(self, widget: Any) -> list[tuple[str, Any]]:
        if self._viewer is None:
            layers = list(self._registered(widget))
        else:
            layers = [one for one in self._viewer.layers if isinstance(one, widget.annotation)]
        fitting = [(one.name, one) for one in reversed(layers) if self._fits(one)]
        return [*fitting, *self.extra]


class Offer(QFrame):
    """A question with two answers, hidden until it is asked.

    Attributes
    ----------
    text : QLabel
        The question.
    yes, no : QPushButton
        The answers.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = make_text("offer")
        self.yes, self.no = worded(QPushButton(), YES), worded(QPushButton(), NO)
        self._answers: tuple[Callable[[], None], Callable[[], None]] | None = None
        answers = QHBoxLayout()
        answers.addWidget(self.yes, 1)
        answers.addWidget(self.no, 1)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addLayout(answers)
        for index, button in enumerate((self.yes, self.no)):
            button.clicked.connect(lambda _checked=False, index=index: self._on_answer(index))
        self.hide()

    def ask(
        self, text: str, yes: tuple[str, Callable[[], None]], no: tuple[str, Callable[[], None]]
    ) -> None:
        """Ask; each answer is a text and its function."""
        self.text.setText(text)
        self.yes.setText(yes[0])
        self.no.setText(no[0])
        self._answers = yes[1], no[1]
        self.show()

    def withdraw(self) -> None:
        """Ask no longer."""
        self._answers = None
        self.hide()

    def _on_answer(self, index: int) -> None:
        if self._answers is not None:
            answer = self._answers[index]
            self.withdraw()
            answer()


def put_items(combo: QComboBox, items: Items, current: Any) -> None:
    """Fill a combo box with (text, data) and choose by data, without a signal."""
    with signals_blocked(combo):
        combo.clear()
        for text, data in items:
            combo.addItem(text, data)
    choose(combo, current)


def choose(combo: QComboBox, current: Any) -> None:
    """Choose by data, without a signal; nothing is chosen if it is not offered."""
    with signals_blocked(combo):
        # findData compares Python objects by identity; ids are compared by value here.
        found = (i for i in range(combo.count()) if combo.itemData(i) == current)
        combo.setCurrentIndex(next(found, -1))


def make_combo(tooltip: str, items: Items = ()) -> QComboBox:
    """Make a combo box that is no wider than the dock."""
    combo = QComboBox()
    _set_up(combo, tooltip)
    put_items(combo, items, items[0][1] if items else None)
    return combo


def make_text(name: str) -> QLabel:
    """Make a label that wraps and can be selected."""
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def worded(button: _Button, wording: Wording) -> _Button:
    """Give a button of any kind its title and tooltip; returns it."""
    button.setText(wording.title)
    button.setToolTip(wording.tooltip)
    return button


def form() -> QFormLayout:
    """Make a form whose controls take all the width there is."""
    layout = QFormLayout()
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setContentsMargins(0, 0, 0, 0)
    return layout


def add_row(layout: QFormLayout, title: str, control: QWidget) -> None:
    """Add a control; "&" in the title marks the key that reaches it together with Alt."""
    label = QLabel(title)
    label.setBuddy(control)
    label.setToolTip(control.toolTip())
    name = title.replace("&", "")
    if not control.accessibleName():
        control.setAccessibleName(name)
    layout.addRow(label, control)


def _set_up(combo: QComboBox, tooltip: str) -> None:
    combo.setToolTip(tooltip)
    combo.setAccessibleDescription(tooltip)
    combo.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    # Long layer names must not decide the width of the dock.
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    combo.setMinimumWidth(0)


def _identity(choice: Any) -> Any:
    return getattr(choice, "unique_id", choice)
