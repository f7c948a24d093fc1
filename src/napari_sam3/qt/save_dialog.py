"""Dialog for saving labels: a layer, a format with its contents, and a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from .controls import add_row, form, make_combo, make_text, worded
from .text import files as text

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_sam3.labels.formats.choice import LabelFormat

__all__ = ["SaveDialog"]

SIZE = (900, 560)


class SaveDialog(QDialog):
    """Asks which labels are saved, in which format, and where.

    Parameters
    ----------
    layers : sequence of Labels
        Those that can be saved; the first is chosen.
    folder : Path
        Where new files go.
    stem : str
        The name of new files without its end, such as that of the image.

    Attributes
    ----------
    layer : QComboBox
    formats : QTableWidget
        A row for each format.
    file : QLineEdit
    replace : QCheckBox
        Shown where the file exists.
    buttons : QDialogButtonBox
    """

    def __init__(
        self, layers: Sequence[Labels], folder: Path, stem: str, parent: QWidget | None = None
    ) -> None:
        from napari_sam3.labels.formats.choice import FORMATS, TRACK_FORMATS

        super().__init__(parent)
        self.setWindowTitle(text.SAVE_TITLE)
        self._layers, self._folder, self._stem = tuple(layers), folder, stem
        tracked = any(layer.ndim > 2 for layer in layers)
        chosen = FORMATS | TRACK_FORMATS if tracked else FORMATS
        self._formats = tuple(chosen.values())
        self._own_name = ""
        names = [(layer.name, at) for at, layer in enumerate(self._layers)]
        self.layer = make_combo(text.LAYER.tooltip, names)
        self.formats = _table(self._formats)
        self.file = QLineEdit()
        self.file.setToolTip(text.FILE.tooltip)
        self.browse = worded(QPushButton(), text.BROWSE)
        self.replace = worded(QCheckBox(), text.REPLACE)
        kind = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(kind.Save | kind.Cancel)
        self.save: Any = self.buttons.button(kind.Save)
        self._lay_out()
        self.formats.itemSelectionChanged.connect(self._on_format)
        self.file.textChanged.connect(self._on_file)
        self.file.textEdited.connect(self._on_typed)
        self.browse.clicked.connect(self._on_browse)
        self.replace.toggled.connect(self._on_file)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.formats.selectRow(0)

    @property
    def chosen(self) -> tuple[Labels, Path, str]:
        """The layer, the file and the name of the format."""
        return self._layers[self.layer.currentData()], self._path(), self._format().name

    def _format(self) -> LabelFormat:
        return self._formats[max(self.formats.currentRow(), 0)]

    def _path(self) -> Path:
        path = Path(self.file.text().strip()).expanduser()
        return path if path.is_absolute() else self._folder / path

    def _on_format(self) -> None:
        """Give the file the end of the format; a name of the user's own keeps its stem."""
        suffix = self._format().suffixes[0]
        name = self.file.text().strip()
        if not name or name == self._own_name:
            name = str(self._folder / self._stem)
        ends = sorted((end for one in self._formats for end in one.suffixes), key=len)
        end = next((end for end in reversed(ends) if name.lower().endswith(end)), "")
        kept = name.removesuffix(name[len(name) - len(end) :]) if end else name
        own = name == str(self._folder / self._stem)
        self.file.setText(kept + suffix)
        self._own_name = kept + suffix if own else ""

    def _on_typed(self, name: str) -> None:
        """Choose the format that a typed name means."""
        ends = [(len(end), one) for one in self._formats for end in one.suffixes
                if name.lower().endswith(end)]  # fmt: skip
        if ends:
            meant = max(ends, key=lambda pair: pair[0])[1]
            with signals_blocked(self.formats):
                self.formats.selectRow(self._formats.index(meant))

    def _on_file(self) -> None:
        named = bool(self.file.text().strip()) and not self.file.text().endswith(("/", "\\"))
        exists = named and self._path().exists()
        self.replace.setVisible(exists)
        self.save.setEnabled(named and (not exists or self.replace.isChecked()))

    def _on_browse(self, _checked: bool = False) -> None:
        one = self._format()
        kinds = f"{one.title} ({' '.join(f'*{end}' for end in one.suffixes)});;{text.ALL_FILES}"
        # Ask here before overwriting, in the same way for files and folders.
        option = QFileDialog.Option.DontConfirmOverwrite
        path = str(self._path())
        chosen, _ = QFileDialog.getSaveFileName(self, text.SAVE_TITLE, path, kinds, options=option)
        if chosen:
            end = "" if chosen.lower().endswith(one.suffixes) else one.suffixes[0]
            self.file.setText(chosen + end)

    def _lay_out(self) -> None:
        where = QHBoxLayout()
        where.addWidget(self.file, 1)
        where.addWidget(self.browse)
        holder = QWidget()
        holder.setLayout(where)
        where.setContentsMargins(0, 0, 0, 0)
        holder.setToolTip(text.FILE.tooltip)
        rows = form()
        add_row(rows, text.LAYER.title, self.layer)
        below = form()
        add_row(below, text.FILE.title, holder)
        self.file.setAccessibleName(text.FILE.name)
        self.formats.setAccessibleName(text.FORMATS_NAME)
        legend = make_text("legend")
        legend.setText(text.LEGEND)
        column = QVBoxLayout(self)
        column.addLayout(rows)
        column.addWidget(self.formats, 1)
        column.addWidget(legend)
        column.addLayout(below)
        column.addWidget(self.replace)
        column.addWidget(self.buttons)
        self.resize(*SIZE)


def _table(formats: Sequence[LabelFormat]) -> QTableWidget:
    """Return a table of the contents of each format."""
    from napari_sam3.labels.formats.keeps import COLUMNS, MARKS

    titles = [text.FORMAT_COLUMN, text.FOR_COLUMN, *COLUMNS.values()]
    table = QTableWidget(len(formats), len(titles))
    table.setHorizontalHeaderLabels(titles)
    for row, one in enumerate(formats):
        marks = [MARKS[value] for value in asdict(one.keeps).values()]
        for column, words in enumerate((one.title, one.meaning, *marks)):
            item = QTableWidgetItem(words)
            if column > 1:
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            table.setItem(row, column, item)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setTabKeyNavigation(False)
    rows: Any = table.verticalHeader()
    rows.setVisible(False)
    header: Any = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    return table
