"""Review area: a table of objects and candidates, with buttons for them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QModelIndex, QSize, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableView,
    QWidget,
)
from superqt import QLabeledDoubleRangeSlider, QLabeledRangeSlider
from superqt.utils import signals_blocked

from .controls import add_row, form, worded
from .focus import KeysPass
from .review_model import ReviewModel
from .text import review as text

__all__ = ["ReviewPanel"]


class ReviewPanel(QWidget):
    """Sliders, buttons and the table. Knows no session.

    Attributes
    ----------
    read_actions : dict of str to QAction
        Entries of the menu of `read`, by name.
    model : ReviewModel
        The rows.
    next, accept, drop, accept_all, drop_all, link, read : QPushButton
        What is done.
    filtered : Signal
        (float, float, int, int) The user moved a slider: ranges of score and area.
    row_chosen : Signal
        (int) The user chose a row.
    """

    filtered = Signal(float, float, int, int)
    row_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.next, self.accept = (
            worded(QPushButton(), text.NEXT),
            worded(QPushButton(), text.ACCEPT),
        )
        self.drop = worded(QPushButton(), text.DROP)
        self.accept_all = worded(QPushButton(), text.ACCEPT_ALL)
        self.drop_all = worded(QPushButton(), text.DROP_ALL)
        self.link, self.read = worded(QPushButton(), text.LINK), worded(QPushButton(), text.READ)
        self.read_actions: dict[str, Any] = {}
        menu = QMenu(self.read)
        for title, what in text.READ_CHOICES:
            self.read_actions[what] = menu.addAction(title)
        self.read.setMenu(menu)
        self.score = QLabeledDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.score.setRange(0, 1)
        self.score.setDecimals(2)
        self.score.setValue((0, 1))
        self.area = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.area.setRange(0, 1)
        for slider, wording in ((self.score, text.SCORE), (self.area, text.AREA)):
            slider.setEdgeLabelMode(slider.EdgeLabelMode.LabelIsValue)
            slider.setHandleLabelPosition(slider.LabelPosition.NoLabel)
            slider.setToolTip(wording.tooltip)
            slider.setAccessibleName(wording.name)
        self.count = QLabel()
        self.table, self.model = QTableView(), ReviewModel(self)
        self._set_up_table()
        # Moves of one event are drawn once.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._emit_filter)
        self.score.valueChanged.connect(lambda _value: self._soon.start())
        self.area.valueChanged.connect(lambda _value: self._soon.start())
        self._lay_out()
        self._keys_pass = KeysPass(self)

    def sizeHint(self) -> QSize:
        """Ask for little height: the image is above."""
        return QSize(700, 110)

    def show_filter(self, score: tuple[float, float], area: tuple[float, float], most: int) -> None:
        """Show the filter; no candidate is larger than `most` px."""
        with signals_blocked(self.score), signals_blocked(self.area):
            self.score.setValue(score)
            self.area.setRange(0, max(most, 1))
            self.area.setValue((int(area[0]), int(min(area[1], max(most, 1)))))

    def select(self, row: int | None) -> None:
        """Select a row, or none, without a signal."""
        selection = self.table.selectionModel()
        assert selection is not None
        with signals_blocked(selection):
            if row is None:
                self.table.clearSelection()
            else:
                self.table.selectRow(row)
                self.table.scrollTo(self.model.index(row, 0))
        viewport = self.table.viewport()
        assert viewport is not None
        viewport.update()

    def _emit_filter(self) -> None:
        (low, high), (small, large) = self.score.value(), self.area.value()
        self.filtered.emit(low, high, small, large)

    def _set_up_table(self) -> None:
        table = self.table
        table.setModel(self.model)
        table.setSortingEnabled(True)
        table.sortByColumn(1, Qt.SortOrder.AscendingOrder)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setToolTip(text.TABLE.tooltip)
        table.setAccessibleName(text.TABLE.name)
        header, rows = table.horizontalHeader(), table.verticalHeader()
        assert header is not None
        assert rows is not None
        rows.hide()
        rows.setDefaultSectionSize(22)
        # Fitting columns to their contents would measure all 10,000 rows.
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        selection = table.selectionModel()
        assert selection is not None
        # The current row changes by arrows as well; a click on it goes there once more.
        for chosen in (selection.currentRowChanged, table.clicked):
            chosen.connect(self._on_chosen)

    def _on_chosen(self, index: QModelIndex, _before: object = None) -> None:
        if index.isValid():
            self.row_chosen.emit(index.row())

    def _lay_out(self) -> None:
        sliders: QFormLayout = form()
        add_row(sliders, text.SCORE.title, self.score)
        add_row(sliders, text.AREA.title, self.area)
        grid = QGridLayout()
        buttons = (
            (self.next, self.accept, self.drop),
            (self.read, self.accept_all, self.drop_all),
            (self.link,),
        )
        for number, row in enumerate(buttons):
            for column, button in enumerate(row):
                grid.addWidget(button, number, column)
        grid.addWidget(self.count, 2, 1, 1, 2)
        # Side by side, so that little of the window's height is taken.
        whole = QHBoxLayout(self)
        whole.setContentsMargins(6, 2, 6, 2)
        whole.addLayout(sliders, 1)
        whole.addLayout(grid)
        whole.addWidget(self.table, 3)
