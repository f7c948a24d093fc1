"""The look of the dock widget: controls, texts, tooltips. Knows no session."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import QSize, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_sam3.layers.gestures import KEYS

from .advanced import Advanced
from .batch_panel import BatchPanel
from .class_bar import ClassBar
from .controls import LayerChoice, Offer, add_row, form, make_combo, make_text, put_items, worded
from .files_panel import FilesPanel
from .find_panel import FindPanel
from .focus import KeysPass
from .fold import Fold
from .learn_panel import LearnPanel
from .propagate_panel import PropagatePanel
from .series_panel import SeriesPanel
from .text import panel as panel_text
from .text.panel import BUTTONS, describe_keys, how_to, title_with_key, tooltip_with_key
from .text.status import time_left
from .theming import ERROR_STYLE, panel_style

__all__ = ["Panel", "put_items"]

STEPS = 1000
BLINK_MS, STOPPABLE_MS = 300, 2000
GAP = 4


class Panel(QScrollArea):
    """All controls of the dock widget: the first view, and folds below it.

    The first view needs no scrolling in the smallest window of napari.

    Parameters
    ----------
    viewer : ViewerModel, optional
        Has the theme, and the layers that are offered.
    parent : QWidget, optional
        Qt parent.

    Attributes
    ----------
    image, labels, model : QComboBox
        Choices; `image_choice` and `labels_choice` fill the first two with layers.
    click : QPushButton
        Makes clicks in the canvas prompts; checked while they are.
    buttons : dict of QPushButton
        "accept", "reject", "undo", "redo".
    next_mask : QPushButton
        Shows the next candidate mask.
    way_back, stop, stop_work : QPushButton
        Shown only where they apply: restore layers, stop a download, stop a prediction.
    offer, question : Offer
        Questions with two answers, hidden until they are asked: about a crash, and about
        the labels chosen.
    classes : ClassBar
        The classes.
    help : Fold
        Gestures and keys; "?" and a key unfold it.
    series : SeriesPanel
        Image after image.
    files : FilesPanel
        Saving and opening.
    finding : FindPanel
        Searches of the plane, and their candidates.
    review : QWidget
        Place in the first view for the buttons of candidates; empty by itself.
    propagation : PropagatePanel
        Objects followed to other planes.
    batch : BatchPanel
        The fold of batches, and their progress.
    learning : LearnPanel
        The fold that learns from labels.
    advanced : Advanced
        Fold of rarely used options.
    mode_chosen : Signal
        (str) The user chose "one" or "many".
    back : Signal
        The user wants deleted layers back, or clicks to be prompts again.
    """

    mode_chosen = Signal(str)
    back = Signal()

    def __init__(self, viewer: Any = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        if viewer is not None:
            self._follow_theme(viewer)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.image_choice = LayerChoice(Image, panel_text.IMAGE.tooltip, viewer)
        self.labels_choice = LayerChoice(
            Labels, panel_text.LABELS.tooltip, viewer, panel_text.LABELS_CHOICES
        )
        self.image, self.labels = self.image_choice.native, self.labels_choice.native
        self.model = make_combo(panel_text.MODEL.tooltip)
        self.status, self.object = make_text("status"), make_text("object")
        self.how_to = make_text("how_to")
        self.help = Fold(panel_text.HELP.title, panel_text.HELP.tooltip)
        self.help_button = worded(QPushButton(), panel_text.HELP_BUTTON)
        self.busy = _bar()
        # While an error is to be read, progress is shown by the bar alone.
        self.holds_error = False
        self._busy_soon, self._stop_soon = QTimer(self), QTimer(self)
        for timer in (self._busy_soon, self._stop_soon):
            timer.setSingleShot(True)
        self._busy_soon.timeout.connect(self.busy.show)
        self._stop_soon.timeout.connect(lambda: self.show_stop(True))
        self.buttons = {name: QPushButton() for name in BUTTONS}
        self.click = worded(QPushButton(), panel_text.CLICK)
        self.click.setCheckable(True)
        self.next_mask = QPushButton()
        self.way_back = worded(QPushButton(), panel_text.RESTORE_LAYERS)
        self.stop = worded(QPushButton(), panel_text.STOP_DOWNLOAD)
        self.stop_work = worded(QPushButton(), panel_text.STOP_WORK)
        self.offer, self.question = Offer(), Offer()
        self.classes, self.review = ClassBar(), QWidget()
        self.finding, self.propagation = FindPanel(), PropagatePanel()
        self.series = SeriesPanel(self)
        self.files = FilesPanel(self.series.previous, self.series.next)
        self.batch, self.learning, self.advanced = BatchPanel(), LearnPanel(), Advanced(viewer)
        self.modes = self.advanced.modes
        self._name_controls()
        inner = QWidget()
        self._lay_out(inner)
        self.setWidget(inner)
        self._keys_pass = KeysPass(self)
        self.show_keys(KEYS)
        self.show_candidates(0)
        self.show_way_back(restore=False, listening=None)
        self.stop.hide()
        self.stop_work.hide()

    # ------------------------------------------------------------------ Qt

    def sizeHint(self) -> QSize:
        """Ask for the width that the texts were made for."""
        return QSize(300, 420)

    def minimumSizeHint(self) -> QSize:
        """Ask for the width of the controls; the window never grows for their height."""
        inner, bar = self.widget(), self.verticalScrollBar()
        width = 0 if inner is None or bar is None else inner.minimumSizeHint().width()
        return QSize(max(220, width + (0 if bar is None else bar.sizeHint().width())), 120)

    def showEvent(self, event: Any) -> None:
        """Reserve two lines, so that a change of text does not move the controls below."""
        for label in (self.status, self.object):
            # Only now is the font known that the viewer's style sheet asks for.
            label.ensurePolished()
            label.setMinimumHeight(2 * label.fontMetrics().lineSpacing() + label.margin())
        super().showEvent(event)

    def first_view_height(self) -> int:
        """Return the height in px down to the last control of the first view."""
        return self.files.y() + self.files.height()

    # ------------------------------------------------------------------ values in

    def _follow_theme(self, viewer: Any) -> None:
        """Style the panel, before there are controls: each change styles all of them."""
        self.setStyleSheet(panel_style(viewer.theme))
        viewer.events.theme.connect(self._on_theme)

    def _on_theme(self, event: Any) -> None:
        with suppress(RuntimeError):  # Qt may have deleted the panel
            self.setStyleSheet(panel_style(event.value))

    def show_status(self, text: str, *, error: bool = False) -> None:
        """Show the state or an error."""
        # Qt lays out and repaints even if the text is the same.
        if text != self.status.text():
            self.status.setText(text)
        style = ERROR_STYLE if error else ""
        if style != self.status.styleSheet():
            self.status.setStyleSheet(style)

    def show_busy(self, busy: bool, *, stoppable: bool = False) -> None:
        """Show or hide the busy bar, which only appears for work that is not instant.

        For long stoppable work, such as reading from a network, "Stop" is shown as well.
        """
        if stoppable and not self._stop_soon.isActive():
            self._stop_soon.start(STOPPABLE_MS)
        if busy:
            if not self.busy.isVisible() and not self._busy_soon.isActive():
                self._busy_soon.start(BLINK_MS)
            return
        self._busy_soon.stop()
        self._stop_soon.stop()
        if self.busy.isVisible():
            self.busy.setRange(0, 0)
            self.busy.hide()
            self.show_stop(False)

    def show_stop(self, offered: bool) -> None:
        """Show or hide the button that stops the model."""
        self._stop_soon.stop()
        self.stop_work.setVisible(offered)

    def show_progress(
        self, text: str, fraction: float | None = None, seconds_left: float | None = None
    ) -> None:
        """Show the progress and the remaining time.

        Parameters
        ----------
        text : str
            What is being done; "" leaves the status line as it is.
        fraction : float, optional
            From 0 to 1; a running bar without it.
        seconds_left : float, optional
            Added to the text.
        """
        if text and not self.holds_error:
            self.show_status(" ".join(filter(None, (text, time_left(seconds_left)))))
        self.busy.setRange(0, 0 if fraction is None else STEPS)
        if fraction is not None:
            self.busy.setValue(round(STEPS * min(max(fraction, 0.0), 1.0)))
        self.busy.show()

    def show_way_back(self, *, restore: bool, listening: bool | None) -> None:
        """Offer to restore deleted layers, and show whether clicks are prompts.

        Parameters
        ----------
        restore : bool
            Whether layers were deleted.
        listening : bool or None
            Whether clicks in the canvas are prompts; None without an image.
        """
        self.way_back.setVisible(restore)
        self.click.setEnabled(listening is not None and not restore)
        self.click.setChecked(bool(listening))
        worded(self.click, panel_text.CLICK if listening is not False else panel_text.RESUME)

    def show_mode(self, mode: str | None) -> None:
        """Show the mode, "one" or "many"; None where there is no choice."""
        for name, button in self.modes.items():
            button.setVisible(mode is not None)
            with signals_blocked(button):
                button.setChecked(name == mode)

    def show_candidates(self, count: int) -> None:
        """Offer to show the next of several candidate masks."""
        self.next_mask.setVisible(count > 1)

    def toggle_help(self) -> None:
        """Unfold the gestures and keys and scroll to them, or fold them."""
        self.help.unfold(not self.help.isExpanded())
        if self.help.isExpanded():
            QTimer.singleShot(0, lambda: self.ensureWidgetVisible(self.how_to))
        elif (bar := self.verticalScrollBar()) is not None:
            bar.setValue(0)

    def show_keys(self, keys: Mapping[str, str]) -> None:
        """Show the keys of commands in napari's notation; commands without one are left out."""
        shown = describe_keys(keys)
        for name, button in self.buttons.items():
            button.setText(title_with_key(BUTTONS[name].title, shown.get(name)))
            button.setToolTip(tooltip_with_key(BUTTONS[name].tooltip, shown.get(name)))
        key = shown.get("next_candidate")
        self.next_mask.setText(title_with_key(panel_text.NEXT_MASK.title, key))
        self.finding.show_keys(shown.get("find_similar"), shown.get("accept_candidates"))
        self.propagation.show_key(shown.get("propagate"))
        self.series.show_keys(shown)
        self.help_button.setToolTip(
            tooltip_with_key(panel_text.HELP_BUTTON.tooltip, shown.get("help"))
        )
        self.how_to.setText(how_to(shown))

    # ------------------------------------------------------------------ inside

    def _name_controls(self) -> None:
        for name, button in self.buttons.items():
            button.setEnabled(False)
            button.setAccessibleName(BUTTONS[name].title.replace("&", ""))
        for name, radio in self.modes.items():
            radio.toggled.connect(lambda on, name=name: on and self.mode_chosen.emit(name))
        for button in (self.way_back, self.click):
            button.clicked.connect(lambda _checked=False: self.back.emit())
        self.next_mask.setToolTip(panel_text.NEXT_MASK.tooltip)
        self.help_button.setAccessibleName(panel_text.HELP.title)
        self.help_button.setFixedWidth(30)
        self.help_button.clicked.connect(lambda _checked=False: self.toggle_help())
        self.status.setAccessibleName(panel_text.STATUS_NAME)
        self.busy.setAccessibleName(panel_text.PROGRESS_NAME)
        self.how_to.setTextFormat(Qt.TextFormat.RichText)
        self.help.fill(_page(self.how_to))

    def _lay_out(self, inner: QWidget) -> None:
        choices = form()
        choices.setVerticalSpacing(GAP)
        add_row(choices, panel_text.IMAGE.title, self.image)
        add_row(choices, panel_text.MODEL.title, self.model)
        add_row(choices, panel_text.LABELS.title, self.labels)
        tools = self.click, self.finding.similar, self.finding.everything, self.propagation.start
        stack = QVBoxLayout(inner)
        stack.setSpacing(GAP)
        stack.setContentsMargins(6, 2, 6, 2)
        stack.addLayout(choices)
        stack.addWidget(self.offer)
        stack.addWidget(self.question)
        stack.addLayout(_line(self.status, self.help_button))
        for news in (self.busy, self.stop, self.stop_work, self.way_back):
            stack.addWidget(news)
        stack.addLayout(_grid(*tools))
        for part in (self.finding, self.review, self.propagation):
            stack.addWidget(part)
        stack.addSpacing(GAP)
        stack.addWidget(self.classes)
        stack.addLayout(_line(self.object, self.next_mask))
        stack.addLayout(_grid(*self.buttons.values()))
        stack.addSpacing(GAP)
        stack.addWidget(self.files)
        folds = self.help, self.series.fold, self.propagation.fold, self.batch
        for fold in (*folds, self.learning, self.advanced):
            stack.addWidget(fold)
        stack.addStretch(1)


def _page(text: QWidget) -> QWidget:
    """Return a widget of which a text that wraps takes the whole width."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(text)
    return page


def _bar() -> QProgressBar:
    bar = QProgressBar()
    bar.setRange(0, 0)
    bar.setTextVisible(False)
    bar.setMaximumHeight(5)
    _keep_room(bar)
    bar.hide()
    return bar


def _keep_room(part: QWidget) -> None:
    """Keep the controls below in place when a part is hidden."""
    policy = part.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    part.setSizePolicy(policy)


def _grid(*parts: QWidget) -> QGridLayout:
    """Lay out two columns of the same width."""
    grid = QGridLayout()
    grid.setSpacing(GAP)
    for column in (0, 1):
        grid.setColumnStretch(column, 1)
    for number, part in enumerate(parts):
        grid.addWidget(part, number // 2, number % 2)
    return grid


def _line(text: QWidget, button: QWidget) -> QHBoxLayout:
    """Lay out a text, and a button at its upper right."""
    row = QHBoxLayout()
    row.setSpacing(GAP)
    row.addWidget(text, 1)
    row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
    return row
