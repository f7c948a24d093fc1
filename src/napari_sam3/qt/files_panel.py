"""Buttons of the first view that save and open files. Knows no session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from .controls import worded
from .text import files as text
from .text import series as series_text

__all__ = ["FilesPanel"]


class FilesPanel(QWidget):
    """Two rows: save labels or the session; open something, and go to another image.

    Parameters
    ----------
    others : sequence of QWidget
        Controls to the right of *Open*.

    Attributes
    ----------
    save, save_session, open : QPushButton
    open_actions : dict of QAction
        What can be opened: "labels", "session", "folder", "elsewhere", "files", "table", "file".
    labels_wanted : Signal
        The user wants to open labels.
    source_chosen : Signal
        (object, object) The user chose a series of images: a source, and a folder for labels or
        None.
    save_chosen, open_chosen : Signal
        (str) The user chose a file for a session.
    """

    labels_wanted = Signal()
    source_chosen = Signal(object, object)
    save_chosen = Signal(str)
    open_chosen = Signal(str)

    def __init__(self, *others: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.save = worded(QPushButton(), text.SAVE)
        self.save_session = worded(QPushButton(), series_text.SAVE_SESSION)
        self.open = worded(QPushButton(), text.OPEN)
        menu = QMenu(self.open)
        self.open_actions: dict[str, Any] = {}
        for title, what in text.OPEN_CHOICES:
            if what == "folder":
                menu.addSeparator()
            self.open_actions[what] = action = menu.addAction(title)
            assert action is not None
            action.triggered.connect(self._opener(what))
        self.open.setMenu(menu)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for row in ((self.save, self.save_session), (self.open, *others)):
            line = QHBoxLayout()
            line.setSpacing(4)
            for part in row:
                line.addWidget(part, 1)
            column.addLayout(line)
        self.save_session.clicked.connect(self._on_save_session)

    # ------------------------------------------------------------------ inside

    def _opener(self, what: str) -> Callable[..., None]:
        if what == "labels":
            return lambda _checked=False: self.labels_wanted.emit()
        if what == "session":
            return self._on_open_session
        return lambda _checked=False: self._choose_images(what)

    def _choose_images(self, what: str) -> None:
        """Show the dialog for images, and the one for a folder of labels where it is needed."""
        labels = None
        source: str | list[str]
        if what in ("folder", "elsewhere"):
            source = QFileDialog.getExistingDirectory(self, series_text.FOLDER_DIALOG)
            if source and what == "elsewhere":
                labels = QFileDialog.getExistingDirectory(self, series_text.LABELS_DIALOG)
                source = source if labels else ""
        else:
            from napari_sam3.images.listing import IMAGE_SUFFIXES

            suffixes = " ".join(f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
            images = series_text.IMAGES_FILTER.format(suffixes=suffixes)
            if what == "files":
                source, _ = QFileDialog.getOpenFileNames(self, series_text.FILES_DIALOG, "", images)
            elif what == "table":
                source, _ = QFileDialog.getOpenFileName(
                    self, series_text.TABLE_DIALOG, "", series_text.TABLE_FILTER
                )
            else:
                source, _ = QFileDialog.getOpenFileName(self, series_text.FILE_DIALOG, "", images)
        if source:
            self.source_chosen.emit(source, labels)

    def _on_save_session(self, _checked: bool = False) -> None:
        title, names = series_text.SESSION_DIALOG, series_text.SESSION_FILTER
        name, _ = QFileDialog.getSaveFileName(self, title, "", names)
        if name:
            ends = Path(name).name.lower().endswith((".json", ".json.gz"))
            self.save_chosen.emit(name if ends else name + series_text.SESSION_ENDING)

    def _on_open_session(self, _checked: bool = False) -> None:
        title, names = series_text.SESSION_DIALOG, series_text.SESSION_FILTER
        name, _ = QFileDialog.getOpenFileName(self, title, "", names)
        if name:
            self.open_chosen.emit(name)
