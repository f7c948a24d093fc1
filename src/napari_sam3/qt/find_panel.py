"""Find similar, find all and find by name, in the first view of the panel. Knows no session."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QGridLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSlider,
    QWidget,
)
from superqt.utils import signals_blocked

from .controls import worded
from .text import find as find_text
from .text import review as review_text

__all__ = ["FindPanel"]

STEPS = 100


class FindPanel(QWidget):
    """Buttons that start a search, its progress, and buttons for the candidates.

    The buttons that start one are laid out by the panel; the rest hides while it is not needed.

    Attributes
    ----------
    similar, everything, accept, clear, stop, review : QPushButton
        Start a search; accept all candidates shown, or drop all; end a search; open the table.
    name : QLineEdit
        Text prompt; hidden if the weights have no text encoder.
    slider : QSlider
        Least score in hundredths.
    threshold_chosen : Signal
        (float) The user moved the slider.
    """

    threshold_chosen = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.similar = worded(QPushButton(), find_text.SIMILAR)
        self.everything = worded(QPushButton(), find_text.EVERYTHING)
        self.accept = worded(QPushButton(), find_text.ACCEPT)
        self.clear = worded(QPushButton(), find_text.CLEAR)
        self.stop = worded(QPushButton(), find_text.STOP)
        self.review = worded(QPushButton(), review_text.OPEN)
        self.name = QLineEdit()
        self.name.setPlaceholderText(find_text.NAME.title)
        self.name.setToolTip(find_text.NAME.tooltip)
        self.name.setAccessibleName(find_text.NAME.name)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip(find_text.LEAST_SCORE.tooltip)
        self.slider.setAccessibleName(find_text.LEAST_SCORE.name)
        self.count = QLabel()
        self.count.setWordWrap(True)
        self.progress = QProgressBar()
        self.progress.setRange(0, STEPS)
        self.progress.setAccessibleName(find_text.PROGRESS_NAME)
        # Moves of one event are drawn once.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(lambda: self.threshold_chosen.emit(self.slider.value() / STEPS))
        self.slider.valueChanged.connect(lambda _value: self._soon.start())
        self._lay_out()
        # Nothing may show by itself before the panel holds it: it would be a window.
        for part in (self, self.name, self.progress, self.stop):
            part.hide()
        self.show_candidates(0, 0, 0.0)

    def offer_searches(self, offered: bool) -> None:
        """Enable or disable all that starts a search."""
        for control in (self.similar, self.everything, self.name):
            control.setEnabled(offered)

    def offer_names(self, offered: bool) -> None:
        """Show or hide the field for a name."""
        self.name.setVisible(offered)
        self._show_or_hide()

    def show_keys(self, similar: str | None, accept: str | None) -> None:
        """Name the keys on the buttons."""
        for button, wording, key in (
            (self.similar, find_text.SIMILAR, similar),
            (self.accept, find_text.ACCEPT, accept),
        ):
            title = wording.title.replace("&", "")
            button.setText(f"{title}  ({key})" if key else wording.title)

    def show_running(self, running: bool) -> None:
        """Show or hide the progress of a search."""
        for part in (self.progress, self.stop):
            part.setVisible(running)
        if running:
            self.progress.setValue(0)
        self._show_or_hide()

    def show_progress(self, share: float) -> None:
        """Show which share of a search is done, 0 to 1."""
        self.progress.setValue(round(STEPS * share))

    def show_candidates(self, shown: int, kept: int, threshold: float, elsewhere: int = 0) -> None:
        """Show the number of candidates here and on other planes, or nothing without any."""
        for part in (self.slider, self.count, self.accept, self.clear):
            part.setVisible(kept + elsewhere > 0)
        self.accept.setEnabled(shown + elsewhere > 0)
        with signals_blocked(self.slider):
            self.slider.setValue(round(STEPS * threshold))
        self.count.setText(find_text.count(shown, kept, threshold, elsewhere))
        self._show_or_hide()

    def _show_or_hide(self) -> None:
        """Hide the panel while it has nothing to show."""
        parts = (self.name, self.progress, self.slider)
        self.setVisible(not all(part.isHidden() for part in parts))

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for column in (0, 1):
            grid.setColumnStretch(column, 1)
        grid.setSpacing(4)
        grid.addWidget(self.name, 1, 0, 1, 2)
        grid.addWidget(self.progress, 2, 0)
        grid.addWidget(self.stop, 2, 1)
        grid.addWidget(self.slider, 3, 0)
        grid.addWidget(self.count, 3, 1)
        grid.addWidget(self.accept, 4, 0)
        grid.addWidget(self.clear, 4, 1)
        grid.addWidget(self.review, 5, 0, 1, 2)
