"""Propagating in the panel: a button, its options, and how far it is. Knows no session."""

from __future__ import annotations

from typing import Literal, cast

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QGridLayout, QProgressBar, QPushButton, QSpinBox, QWidget
from superqt.utils import signals_blocked

from .axes import default_axis
from .controls import add_row, form, make_combo, make_text, put_items, worded
from .fold import Fold
from .text import panel as panel_text
from .text import propagate as text
from .theming import ERROR_STYLE

__all__ = ["PropagatePanel"]

STEPS = 1000
MOST_BRIDGED = 99
Direction = Literal["forward", "backward", "both"]


class PropagatePanel(QWidget):
    """Progress and result of a propagation; the button and the fold have other places.

    Attributes
    ----------
    start, stop : QPushButton
        The first is laid out by the panel.
    fold : Fold
        Direction, axis and gap; shown for stacks.
    direction, axis : QComboBox
    gap : QSpinBox
    result : QLabel
        Progress, or the result of the last run.
    chosen : Signal
        The user chose a direction, an axis, or a gap.
    """

    chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.start = worded(QPushButton(), text.PROPAGATE)
        self.stop = worded(QPushButton(), text.STOP)
        self.fold = Fold(text.OPTIONS.title, text.OPTIONS.tooltip)
        self.direction = _combo(text.DIRECTION)
        put_items(self.direction, text.DIRECTIONS, text.DIRECTIONS[0][1])
        self.axis = _combo(text.AXIS)
        self.gap = QSpinBox()
        self.gap.setRange(0, MOST_BRIDGED)
        self.gap.setToolTip(text.GAP.tooltip)
        self.gap.setAccessibleName(text.GAP.name)
        self.gap.setMinimumWidth(0)
        self.progress = QProgressBar()
        self.progress.setRange(0, STEPS)
        self.progress.setAccessibleName(text.PROGRESS_NAME)
        self.result = make_text("propagate_result")
        self._axes: dict[int, tuple[str, int]] = {}
        self._lay_out()
        self.direction.activated.connect(lambda _index: self.chosen.emit())
        self.axis.activated.connect(lambda _index: self.chosen.emit())
        self.gap.valueChanged.connect(self._on_gap)
        self._on_gap(0)
        self.show_running(False)
        self.show_result("")
        self.offer_axes({})

    # ------------------------------------------------------------------ values

    @property
    def asked(self) -> tuple[int | None, Direction, int]:
        """Axis, direction and gap that are chosen now."""
        direction = cast(Direction, self.direction.currentData())
        return self.axis.currentData(), direction, self.gap.value()

    def offer_axes(self, axes: dict[int, tuple[str, int]]) -> None:
        """Offer axes, each with its name and number of planes; without any there is no panel.

        The one that was chosen stays, as long as the axes are the same.
        """
        if axes != self._axes or not axes:
            self._axes = axes
            items = [(text.axis_choice(*named), axis) for axis, named in axes.items()]
            put_items(self.axis, items, default_axis(axes))
        self.fold.setVisible(bool(axes))
        self.start.setEnabled(bool(axes) and self.progress.isHidden())
        self.start.setToolTip(text.PROPAGATE.tooltip if axes else text.NO_STACK)

    def show_key(self, key: str | None) -> None:
        """Name the key on the button."""
        title = text.PROPAGATE.title
        self.start.setText(panel_text.title_with_key(title, key))

    def show_running(self, running: bool) -> None:
        """Show or hide how far it is."""
        for part in (self.progress, self.stop):
            part.setVisible(running)
        for control in (self.direction, self.axis, self.gap):
            control.setEnabled(not running)
        self.start.setEnabled(not running and bool(self._axes))
        if running:
            self.progress.setValue(0)
        self._show_or_hide()

    def show_progress(self, share: float) -> None:
        """Show which share of the planes is passed, 0 to 1."""
        self.progress.setValue(round(STEPS * share))

    def show_result(self, said: str, *, failed: bool = False) -> None:
        """Show progress or result as a text; "" for none."""
        self.result.setText(said)
        self.result.setStyleSheet(ERROR_STYLE if failed else "")
        self.result.setVisible(bool(said))
        self._show_or_hide()

    # ------------------------------------------------------------------ inside

    def _on_gap(self, count: int) -> None:
        with signals_blocked(self.gap):
            self.gap.setSpecialValueText(text.NO_GAP)
            self.gap.setSuffix(text.bridged(count))
        self.chosen.emit()

    def _show_or_hide(self) -> None:
        """Take no room while there is nothing to show."""
        self.setVisible(not (self.progress.isHidden() and self.result.isHidden()))

    def _lay_out(self) -> None:
        inner = QWidget()
        rows = form()
        inner.setLayout(rows)
        for wording, control in (
            (text.DIRECTION, self.direction),
            (text.AXIS, self.axis),
            (text.GAP, self.gap),
        ):
            add_row(rows, wording.name, control)
        self.fold.fill(inner)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for column in (0, 1):
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.progress, 0, 0)
        grid.addWidget(self.stop, 0, 1)
        grid.addWidget(self.result, 1, 0, 1, 2)


def _combo(wording: panel_text.Wording) -> QComboBox:
    combo = make_combo(wording.tooltip)
    combo.setAccessibleName(wording.name)
    return combo
