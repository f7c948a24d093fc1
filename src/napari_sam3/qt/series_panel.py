"""The part of the panel for a series of images. Knows no series' files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QGridLayout,
    QListView,
    QMenu,
    QPushButton,
    QWidget,
)

from .controls import worded
from .fold import Fold
from .series_list import SeriesModel
from .text import series as series_text
from .text.panel import title_with_key, tooltip_with_key

if TYPE_CHECKING:
    from napari_sam3.session.series import SeriesItem

__all__ = ["SeriesPanel"]

LIST_HEIGHT = 200


class SeriesPanel(QObject):
    """Buttons of the first view that go through a series, and a fold that lists it.

    Attributes
    ----------
    next, previous : QPushButton
        For the first view.
    fold : Fold
        The list, named after the image that is open; shown while a series is open.
    close_button : QPushButton
    only_open : QCheckBox
        Hide images that are done or skipped.
    model : SeriesModel
        The list's rows.
    view : QListView
        The list.
    item_chosen : Signal
        (object) The user chose an image of the list.
    state_chosen : Signal
        (list, str) The user gave images a state.
    """

    item_chosen = Signal(object)
    state_chosen = Signal(list, str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.close_button = worded(QPushButton(), series_text.CLOSE)
        self.next, self.previous = QPushButton(), QPushButton()
        self.previous.setAccessibleName(series_text.PREVIOUS.name)
        self.only_open = worded(QCheckBox(), series_text.ONLY_OPEN)
        self.state = worded(QPushButton(), series_text.STATE)
        self.model, self.view = SeriesModel(self), QListView()
        self.fold = Fold(series_text.LIST.title, series_text.LIST.tooltip)
        self._fill_menu()
        self._set_up_list()
        self._lay_out()
        self.only_open.toggled.connect(self.model.show_only_open)
        self.show_keys({})
        self.show_open(False)

    def show_open(self, is_open: bool) -> None:
        """Show the list of a series, or none."""
        self.fold.setVisible(is_open)
        if not is_open:
            self.next.setEnabled(False)
            self.previous.setEnabled(False)

    def show_position(self, text: str, *, first: bool, last: bool) -> None:
        """Show the position in the series, and enable the buttons for its neighbours."""
        self.fold.rename(text)
        self.previous.setEnabled(not first)
        self.next.setEnabled(not last)

    def show_current(self, item: SeriesItem | None) -> None:
        """Mark the image that is open, and scroll to it."""
        self.model.set_current(item)
        row = None if item is None else self.model.row_of(item)
        if row is not None:
            self.view.setCurrentIndex(self.model.index(row))
            self.view.scrollTo(self.model.index(row))

    def show_keys(self, keys: Mapping[str, str]) -> None:
        """Name the keys on the buttons, as `describe_keys` does."""
        self.previous.setText(series_text.PREVIOUS.title)
        self.next.setText(title_with_key(series_text.NEXT.title, keys.get("next_image")))
        for button, wording, name in (
            (self.next, series_text.NEXT, "next_image"),
            (self.previous, series_text.PREVIOUS, "previous_image"),
        ):
            button.setToolTip(tooltip_with_key(wording.tooltip, keys.get(name)))

    def selected(self) -> list[SeriesItem]:
        """Return the images that are selected in the list."""
        rows = sorted(place.row() for place in self.view.selectedIndexes())
        return [self.model.items[row] for row in rows]

    # ------------------------------------------------------------------ inside

    def _fill_menu(self) -> None:
        states = QMenu(self.state)
        for state, title in series_text.STATES.items():
            _add_action(states, title, partial(self._on_state, state))
        self.state.setMenu(states)

    def _set_up_list(self) -> None:
        view = self.view
        view.setModel(self.model)
        # All rows are alike, so that Qt need not ask each of ten thousand for its height.
        view.setUniformItemSizes(True)
        view.setLayoutMode(QListView.LayoutMode.Batched)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setFixedHeight(LIST_HEIGHT)
        view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        view.setAccessibleName(series_text.LIST.name)
        view.setToolTip(series_text.LIST.tooltip)
        view.activated.connect(self._on_activated)

    def _lay_out(self) -> None:
        inner = QWidget()
        rows = QGridLayout(inner)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.view, 0, 0, 1, 2)
        rows.addWidget(self.only_open, 1, 0)
        rows.addWidget(self.state, 1, 1)
        rows.addWidget(self.close_button, 2, 0, 1, 2)
        self.fold.fill(inner)

    def _on_activated(self, place: QModelIndex) -> None:
        if 0 <= place.row() < len(self.model.items):
            self.item_chosen.emit(self.model.items[place.row()])

    def _on_state(self, state: str, _checked: bool = False) -> None:
        if items := self.selected():
            self.state_chosen.emit(items, state)


def _add_action(menu: QMenu, title: str, run: Callable[..., None]) -> None:
    action = menu.addAction(title)
    assert action is not None
    action.triggered.connect(run)
