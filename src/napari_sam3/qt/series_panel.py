"""The part of the panel for series of images and saved sessions. Knows no series' files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QListView,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_sam3.images.listing import IMAGE_SUFFIXES

from .controls import make_text, worded
from .fold import Fold
from .series_list import SeriesModel
from .text import series as series_text
from .text.panel import title_with_key, tooltip_with_key

if TYPE_CHECKING:
    from napari_sam3.session.series import SeriesItem

__all__ = ["SeriesPanel"]

LIST_HEIGHT = 200


class SeriesPanel(QWidget):
    """Opens series of images and sessions, goes through a series, and lists it.

    Attributes
    ----------
    open_button, close_button, next, previous, save_session, open_session : QPushButton
    only_open : QCheckBox
        Hide images that are done or skipped.
    model : SeriesModel
        The list's rows.
    view : QListView
        The list.
    source_chosen : Signal
        (object, object) The user chose images: a source, and a folder for labels or None.
    item_chosen : Signal
        (object) The user chose an image of the list.
    state_chosen : Signal
        (list, str) The user gave images a state.
    save_chosen, open_chosen : Signal
        (str) The user chose a file for a session.
    """

    source_chosen = Signal(object, object)
    item_chosen = Signal(object)
    state_chosen = Signal(list, str)
    save_chosen = Signal(str)
    open_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.open_button = worded(QPushButton(), series_text.OPEN)
        self.close_button = worded(QPushButton(), series_text.CLOSE)
        self.next = worded(QPushButton(), series_text.NEXT)
        self.previous = worded(QPushButton(), series_text.PREVIOUS)
        self.save_session = worded(QPushButton(), series_text.SAVE_SESSION)
        self.open_session = worded(QPushButton(), series_text.OPEN_SESSION)
        self.position = make_text("position")
        self.only_open = worded(QCheckBox(), series_text.ONLY_OPEN)
        self.state = worded(QPushButton(), series_text.STATE)
        self.model, self.view = SeriesModel(self), QListView()
        self.fold = Fold(series_text.LIST.title, series_text.LIST.tooltip)
        self._fill_menus()
        self._set_up_list()
        self._lay_out()
        self.only_open.toggled.connect(self.model.show_only_open)
        self.save_session.clicked.connect(self._on_save)
        self.open_session.clicked.connect(self._on_open)
        self.show_open(False)

    def show_open(self, is_open: bool) -> None:
        """Show the controls of a series, or those that open one."""
        for part in (self.close_button, self.next, self.previous, self.position, self.fold):
            part.setVisible(is_open)
        self.open_button.setVisible(not is_open)

    def show_position(self, text: str, *, first: bool, last: bool) -> None:
        """Show which image is open, and whether there are others before and after it."""
        self.position.setText(text)
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
        for button, wording, name in (
            (self.next, series_text.NEXT, "next_image"),
            (self.previous, series_text.PREVIOUS, "previous_image"),
        ):
            button.setText(title_with_key(wording.title, keys.get(name)))
            button.setToolTip(tooltip_with_key(wording.tooltip, keys.get(name)))

    def selected(self) -> list[SeriesItem]:
        """Return the images that are selected in the list."""
        rows = sorted(place.row() for place in self.view.selectedIndexes())
        return [self.model.items[row] for row in rows]

    # ------------------------------------------------------------------ inside

    def _fill_menus(self) -> None:
        menu = QMenu(self.open_button)
        for title, what in series_text.OPEN_CHOICES:
            _add_action(menu, title, partial(self._choose, what))
        self.open_button.setMenu(menu)
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
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for column in (0, 1):
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.open_button, 0, 0, 1, 2)
        grid.addWidget(self.position, 1, 0, 1, 2)
        grid.addWidget(self.previous, 2, 0)
        grid.addWidget(self.next, 2, 1)
        grid.addWidget(self.open_session, 3, 0)
        grid.addWidget(self.save_session, 3, 1)
        column_layout = QVBoxLayout(self)
        column_layout.setContentsMargins(0, 0, 0, 0)
        column_layout.addLayout(grid)
        column_layout.addWidget(self.fold)

    def _choose(self, what: str, _checked: bool = False) -> None:
        """Ask for images, and for a folder of labels where that was wanted."""
        text, labels = series_text, None
        source: str | list[str]
        if what in ("folder", "elsewhere"):
            source = QFileDialog.getExistingDirectory(self, text.FOLDER_DIALOG)
            if source and what == "elsewhere":
                labels = QFileDialog.getExistingDirectory(self, text.LABELS_DIALOG)
                source = source if labels else ""
        else:
            suffixes = " ".join(f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
            images = text.IMAGES_FILTER.format(suffixes=suffixes)
            if what == "files":
                source, _ = QFileDialog.getOpenFileNames(self, text.FILES_DIALOG, "", images)
            elif what == "table":
                source, _ = QFileDialog.getOpenFileName(
                    self, text.TABLE_DIALOG, "", text.TABLE_FILTER
                )
            else:
                source, _ = QFileDialog.getOpenFileName(self, text.FILE_DIALOG, "", images)
        if source:
            self.source_chosen.emit(source, labels)

    def _on_activated(self, place: QModelIndex) -> None:
        if 0 <= place.row() < len(self.model.items):
            self.item_chosen.emit(self.model.items[place.row()])

    def _on_state(self, state: str, _checked: bool = False) -> None:
        if items := self.selected():
            self.state_chosen.emit(items, state)

    def _on_save(self, _checked: bool = False) -> None:
        text = series_text
        name, _ = QFileDialog.getSaveFileName(self, text.SESSION_DIALOG, "", text.SESSION_FILTER)
        if name:
            ends = Path(name).name.lower().endswith((".json", ".json.gz"))
            self.save_chosen.emit(name if ends else name + text.SESSION_ENDING)

    def _on_open(self, _checked: bool = False) -> None:
        text = series_text
        name, _ = QFileDialog.getOpenFileName(self, text.SESSION_DIALOG, "", text.SESSION_FILTER)
        if name:
            self.open_chosen.emit(name)


def _add_action(menu: QMenu, title: str, run: Callable[..., None]) -> None:
    action = menu.addAction(title)
    assert action is not None
    action.triggered.connect(run)
