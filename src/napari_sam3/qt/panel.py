"""The look of the dock widget: controls, texts, tooltips. Knows no session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import QSize, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_sam3.layers.gestures import KEYS

from .advanced import Advanced
from .batch_panel import BatchPanel
from .controls import LayerChoice, Offer, add_row, form, make_combo, make_text, put_items, worded
from .files_panel import FilesPanel
from .find_panel import FindPanel
from .focus import KeysPass
from .propagate_panel import PropagatePanel
from .series_panel import SeriesPanel
from .text import panel as panel_text
from .text.panel import BUTTONS, MODES, describe_keys, how_to, title_with_key, tooltip_with_key
from .text.status import candidate, time_left

__all__ = ["Panel", "put_items"]

LABEL_PADDING = 14
STEPS = 1000
BLINK_MS, STOPPABLE_MS = 300, 2000
ERROR_STYLE = "color: #e5484d; font-weight: bold;"


class Panel(QScrollArea):
    """All controls of the dock widget, in a scroll area that is readable at 300 px.

    Attributes
    ----------
    image, labels, model : QComboBox
        Choices; `image_choice` and `labels_choice` fill the first two with layers.
    buttons : dict of QPushButton
        "accept", "reject", "undo", "redo".
    next_mask : QPushButton
        Asks for the next of the masks offered.
    way_back, stop, stop_work : QPushButton
        Offered only where they apply: restoring layers, ending a download, ending a prediction.
    offer, question : Offer
        Questions with two answers, shown only when there are any: about what a crash left, and
        about the labels chosen.
    series : SeriesPanel
        Image after image, and saved sessions.
    files : FilesPanel
        Saving and opening labels.
    finding : FindPanel
        Searches of the plane, and their candidates.
    propagation : PropagatePanel
        Objects followed to other planes.
    batch : BatchPanel
        The fold of batches, and how far one is.
    advanced : Advanced
        The fold of what is seldom needed.
    mode_chosen : Signal
        (str) The user chose "one" or "many".
    """

    mode_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.image_choice = LayerChoice(Image, panel_text.IMAGE.tooltip)
        self.labels_choice = LayerChoice(
            Labels, panel_text.LABELS.tooltip, panel_text.LABELS_CHOICES
        )
        self.image, self.labels = self.image_choice.native, self.labels_choice.native
        self.model = make_combo(panel_text.MODEL.tooltip)
        self.modes = {name: worded(QRadioButton(), one) for name, one in MODES.items()}
        self.status, self.object = make_text("status"), make_text("object")
        self.candidate = make_text("candidate")
        self.how_to = make_text("how_to")
        self.busy = _bar()
        self._busy_soon = QTimer(self)
        self._busy_soon.setSingleShot(True)
        self._busy_soon.timeout.connect(self.busy.show)
        self._stop_soon = QTimer(self)
        self._stop_soon.setSingleShot(True)
        self._stop_soon.timeout.connect(lambda: self.show_stop(True))
        self.buttons = {name: QPushButton() for name in BUTTONS}
        self.next_mask, self.way_back = QPushButton(), QPushButton()
        self.stop = worded(QPushButton(), panel_text.STOP_DOWNLOAD)
        self.stop_work = worded(QPushButton(), panel_text.STOP_WORK)
        self.offer, self.question = Offer(), Offer()
        self.finding, self.propagation, self.series = FindPanel(), PropagatePanel(), SeriesPanel()
        self.batch, self.advanced = BatchPanel(), Advanced()
        self.files = FilesPanel()
        self._name_controls()
        inner = QWidget()
        self._lay_out(inner)
        self.setWidget(inner)
        self._keys_pass = KeysPass(self)
        self.show_keys(KEYS)
        self.show_candidates(0, 0, 0.0)
        self.show_way_back(restore=False, listen=False)
        self.stop.hide()
        self.stop_work.hide()

    # ------------------------------------------------------------------ Qt

    def sizeHint(self) -> QSize:
        """Ask for the width that the texts were made for."""
        return QSize(300, 420)

    def minimumSizeHint(self) -> QSize:
        """Never force the window to grow."""
        return QSize(220, 120)

    def showEvent(self, event: Any) -> None:
        """Keep room for two lines, so that what lies below stays put when texts change."""
        for label in (self.status, self.object):
            # Only now is the font known that the viewer's style sheet asks for.
            label.ensurePolished()
            label.setMinimumHeight(2 * label.fontMetrics().lineSpacing() + LABEL_PADDING)
        super().showEvent(event)

    # ------------------------------------------------------------------ values in

    def look_at(self, viewer: Any) -> None:
        """Offer the layers of a viewer."""
        advanced = self.advanced
        for choice in (self.image_choice, self.labels_choice, advanced.points, advanced.boxes):
            choice.look_at(viewer)

    def show_status(self, text: str, *, error: bool = False) -> None:
        """Show what is going on, or what went wrong."""
        # Qt lays out and paints anew whatever it is told, be it the same as before.
        if text != self.status.text():
            self.status.setText(text)
        style = ERROR_STYLE if error else ""
        if style != self.status.styleSheet():
            self.status.setStyleSheet(style)

    def show_busy(self, busy: bool, *, stoppable: bool = False) -> None:
        """Show or hide the running bar; what takes no longer than a blink shows none.

        What can be stopped is offered to be so when it takes long, such as reading from far away.
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
        """Offer to stop what the model does."""
        self._stop_soon.stop()
        self.stop_work.setVisible(offered)

    def show_progress(
        self, text: str, fraction: float | None = None, seconds_left: float | None = None
    ) -> None:
        """Show how far something is, and how long it will still take.

        Parameters
        ----------
        text : str
            What is being done.
        fraction : float, optional
            From 0 to 1; a running bar without it.
        seconds_left : float, optional
            Added to the text.
        """
        self.show_status(" ".join(filter(None, (text, time_left(seconds_left)))))
        self.busy.setRange(0, 0 if fraction is None else STEPS)
        if fraction is not None:
            self.busy.setValue(round(STEPS * min(max(fraction, 0.0), 1.0)))
        self.busy.show()

    def show_way_back(self, *, restore: bool, listen: bool) -> None:
        """Offer to make deleted layers anew, or else to turn clicks into prompts again."""
        self.way_back.setVisible(restore or listen)
        worded(self.way_back, panel_text.RESTORE_LAYERS if restore else panel_text.GO_ON)

    def show_mode(self, mode: str | None) -> None:
        """Show the mode, "one" or "many"; None where there is no choice."""
        for name, button in self.modes.items():
            button.setVisible(mode is not None)
            with signals_blocked(button):
                button.setChecked(name == mode)

    def show_candidates(self, index: int, count: int, score: float) -> None:
        """Show which of the masks offered is in hand, the first being 0; a count of 0 hides it."""
        several = count > 1
        for part in (self.candidate, self.next_mask):
            part.setVisible(several)
        if several:
            self.candidate.setText(candidate(index + 1, count, score))

    def show_keys(self, keys: Mapping[str, str]) -> None:
        """Name the keys of commands, as napari names them; what has none is not mentioned."""
        shown = describe_keys(keys)
        for name, button in self.buttons.items():
            button.setText(title_with_key(BUTTONS[name].title, shown.get(name)))
            button.setToolTip(tooltip_with_key(BUTTONS[name].tooltip, shown.get(name)))
        key = shown.get("next_candidate")
        self.next_mask.setText(title_with_key(panel_text.NEXT_MASK.title, key))
        self.finding.show_keys(shown.get("find_similar"), shown.get("accept_candidates"))
        self.propagation.show_key(shown.get("propagate"))
        self.series.show_keys(shown)
        self.how_to.setText(how_to(shown))

    # ------------------------------------------------------------------ inside

    def _name_controls(self) -> None:
        for name, button in self.buttons.items():
            button.setEnabled(False)
            button.setAccessibleName(BUTTONS[name].title.replace("&", ""))
        for name, radio in self.modes.items():
            radio.toggled.connect(lambda on, name=name: on and self.mode_chosen.emit(name))
        self.next_mask.setToolTip(panel_text.NEXT_MASK.tooltip)
        _keep_room(self.next_mask)
        self.status.setAccessibleName(panel_text.STATUS_NAME)
        self.busy.setAccessibleName(panel_text.PROGRESS_NAME)
        self.how_to.setTextFormat(Qt.TextFormat.RichText)

    def _lay_out(self, inner: QWidget) -> None:
        choices = form()
        add_row(choices, panel_text.IMAGE.title, self.image)
        add_row(choices, panel_text.MODEL.title, self.model)
        add_row(choices, panel_text.LABELS.title, self.labels)
        grid = QGridLayout()
        for column in (0, 1):
            grid.setColumnStretch(column, 1)
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, number // 2, number % 2)
        stack = QVBoxLayout(inner)
        stack.addLayout(choices)
        stack.addLayout(_row(*self.modes.values()))
        stack.addWidget(self.offer)
        stack.addWidget(self.question)
        for part in (
            *(self.status, self.busy, self.stop, self.stop_work),
            *(self.way_back, self.object),
        ):
            stack.addWidget(part)
        stack.addLayout(_row(self.candidate, self.next_mask))
        stack.addLayout(grid)
        for below in (self.files, self.finding, self.propagation, self.series, self.how_to):
            stack.addWidget(below)
        stack.addWidget(self.batch)
        stack.addWidget(self.advanced)
        stack.addStretch(1)


def _bar() -> QProgressBar:
    bar = QProgressBar()
    bar.setRange(0, 0)
    bar.setTextVisible(False)
    bar.setMaximumHeight(5)
    _keep_room(bar)
    bar.hide()
    return bar


def _keep_room(part: QWidget) -> None:
    """Have what lies below stay put when a part is hidden."""
    policy = part.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    part.setSizePolicy(policy)


def _row(*parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    for part in parts:
        row.addWidget(part, 1 if isinstance(part, QLabel) else 0)
    if not any(isinstance(part, QLabel) for part in parts):
        row.addStretch(1)
    return row
