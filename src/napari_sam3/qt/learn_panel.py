"""Learning from labels: a fold with a button, a limit of time, and how far it is. No session."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QSpinBox, QWidget

from .controls import make_text, worded
from .fold import Fold
from .text import learn as text

__all__ = ["LearnPanel"]

STEPS = 1000
MINUTES, MOST_MINUTES = 5, 600


class LearnPanel(Fold):
    """The fold that learns from labels.

    Attributes
    ----------
    start, stop : QPushButton
    minutes : QSpinBox
        Longest time.
    result : QLabel
        Progress or result.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(text.FOLD.title, text.FOLD.tooltip, parent)
        self.start = worded(QPushButton(), text.START)
        self.stop = worded(QPushButton(), text.STOP)
        self.minutes = QSpinBox()
        self.minutes.setRange(1, MOST_MINUTES)
        self.minutes.setValue(MINUTES)
        self.minutes.setToolTip(text.MINUTES.tooltip)
        self.minutes.setAccessibleName(text.MINUTES.title)
        self.progress = QProgressBar()
        self.progress.setRange(0, STEPS)
        self.progress.setAccessibleName(text.PROGRESS_NAME)
        self.result = make_text("learn_result")
        self._lay_out()
        self.show_running(False)
        self.show_result("")

    def show_running(self, running: bool) -> None:
        """Show or hide the progress."""
        for part in (self.progress, self.stop):
            part.setVisible(running)
        for control in (self.start, self.minutes):
            control.setEnabled(not running)
        if running:
            self.progress.setValue(0)

    def show_progress(self, share: float) -> None:
        """Show the fraction of the time that has passed, 0 to 1."""
        self.progress.setValue(round(STEPS * share))

    def show_result(self, said: str) -> None:
        """Show progress or a result; hidden if empty."""
        self.result.setText(said)
        self.result.setVisible(bool(said))

    def _lay_out(self) -> None:
        inner = QWidget()
        grid = QGridLayout(inner)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(0, 1)
        grid.addWidget(self.start, 0, 0, 1, 3)
        label = QLabel(text.MINUTES.title)
        label.setBuddy(self.minutes)
        grid.addWidget(label, 1, 0)
        grid.addWidget(self.minutes, 1, 1, 1, 2)
        grid.addWidget(self.progress, 2, 0, 1, 2)
        grid.addWidget(self.stop, 2, 2)
        grid.addWidget(self.result, 3, 0, 1, 3)
        self.fill(inner)
