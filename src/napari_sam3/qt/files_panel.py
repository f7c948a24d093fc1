"""Buttons of the first view that save and open labels. Knows no session."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from .controls import worded
from .text import files as text

__all__ = ["FilesPanel"]


class FilesPanel(QWidget):
    """Two buttons of the first view.

    Attributes
    ----------
    save, open : QPushButton
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.save, self.open = worded(QPushButton(), text.SAVE), worded(QPushButton(), text.OPEN)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.save, 1)
        row.addWidget(self.open, 1)
