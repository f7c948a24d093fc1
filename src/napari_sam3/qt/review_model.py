"""The rows of the review table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, Qt

from .text import review as review_text

if TYPE_CHECKING:
    from napari_sam3.session.reviewing import ReviewRow

__all__ = ["ReviewModel"]

_NO_PARENT = QModelIndex()
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class ReviewModel(QAbstractTableModel):
    """Table model of objects and candidates, of which the view only reads visible cells.

    napari's table of features uses row numbers as labels, and has neither planes nor candidates.

    Attributes
    ----------
    rows : tuple of ReviewRow
        In the order of the table.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: tuple[ReviewRow, ...] = ()
        self._places: dict[Hashable, int] = {}
        self._column, self._descending = 1, False

    def show_rows(self, rows: Sequence[ReviewRow]) -> None:
        """Show these rows, sorted as before."""
        self.beginResetModel()
        self._sort(rows)
        self.endResetModel()

    def place(self, identity: Hashable) -> int | None:
        """Return the row of an object or candidate, or None."""
        return self._places.get(identity)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; the selection follows."""
        self._column, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.layoutAboutToBeChanged.emit()
        kept = [(index, self.rows[index.row()].identity) for index in self.persistentIndexList()]
        self._sort(self.rows)
        for index, identity in kept:
            now = self.index(self._places[identity], index.column())
            self.changePersistentIndex(index, now)
        self.layoutChanged.emit()

    def _sort(self, rows: Sequence[ReviewRow]) -> None:
        self.rows = tuple(sorted(rows, key=self._key, reverse=self._descending))
        self._places = {row.identity: at for at, row in enumerate(self.rows)}

    def _key(self, row: ReviewRow) -> Any:
        return (row.label, row.score, row.area, row.category, _plane(row))[self._column]

    # ---------------------------------------------------- overrides of Qt

    def rowCount(self, parent: Any = _NO_PARENT) -> int:
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Any = _NO_PARENT) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(review_text.COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Return the name of a column."""
        if role != Qt.ItemDataRole.DisplayRole or orientation != Qt.Orientation.Horizontal:
            return None
        return review_text.COLUMNS[section]

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a text, or where it stands."""
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return None if index.column() == 3 else _RIGHT
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        row = self.rows[index.row()]
        texts = (
            str(row.label) if row.label else review_text.CANDIDATE,
            f"{row.score:.2f}",
            f"{row.area:,}",
            row.category,
            " ".join(map(str, _plane(row))) + (f" (+{n})" if (n := len(row.parts) - 1) else ""),
        )
        return texts[index.column()]


def _plane(row: ReviewRow) -> tuple[int, ...]:
    plane = getattr(row.plane, "plane", row.plane)
    return tuple(getattr(plane, "index", ()))
