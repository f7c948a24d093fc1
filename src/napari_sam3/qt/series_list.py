"""The images of a series as a list: names, states, and pictures that are read when they show."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, QSize, Qt
from qtpy.QtGui import QColor, QFont, QImage, QPixmap

from .background import Background
from .text import series as series_text

if TYPE_CHECKING:
    from napari_sam3.session.series import ImageSeries, SeriesItem

__all__ = ["THUMBNAIL", "SeriesModel"]

#: Side of a thumbnail in px.
THUMBNAIL = 40
KEPT_PICTURES = 600
_COLORS = {"work": "#e5a50a", "done": "#26a269", "skipped": "#9a9996"}
_NO_PARENT = QModelIndex()


class SeriesModel(QAbstractListModel):
    """Rows of a list view; only those on the screen are read.

    Attributes
    ----------
    items : tuple of SeriesItem
        The images in the list, in their order.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.items: tuple[SeriesItem, ...] = ()
        self._series: ImageSeries | None = None
        self._rows: dict[str, int] = {}
        self._current: str | None = None
        self._only_open = False
        self._pictures: OrderedDict[str, QPixmap] = OrderedDict()
        self._wanted: set[str] = set()
        self._reader = Background(self, newest_first=True)
        self._empty = QPixmap(THUMBNAIL, THUMBNAIL)
        self._empty.fill(Qt.GlobalColor.transparent)

    def show_series(self, series: ImageSeries | None) -> None:
        """Show the images of a series, or of none."""
        self._series, self._current = series, None
        self._pictures.clear()
        self._wanted.clear()
        self._choose()

    def show_only_open(self, only: bool) -> None:
        """Hide images that are done or skipped, or show them."""
        self._only_open = only
        self._choose()

    def set_current(self, item: SeriesItem | None) -> None:
        """Mark the image that is open."""
        before, self._current = self._current, None if item is None else item.key
        for key in (before, self._current):
            self.refresh(key)

    def refresh(self, key: str | None) -> None:
        """Show an image as it is now."""
        row = self._rows.get(key) if key is not None else None
        if row is not None:
            place = self.index(row)
            self.dataChanged.emit(place, place)

    def row_of(self, item: SeriesItem) -> int | None:
        """Return the row of an image; None if it is hidden."""
        return self._rows.get(item.key)

    def close(self) -> None:
        """Read no more pictures."""
        self._reader.close()

    # ---------------------------------------------------- overrides of Qt

    def rowCount(self, parent: QModelIndex = _NO_PARENT) -> int:
        """Count the rows."""
        return 0 if parent.isValid() else len(self.items)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the value of a row for a role of Qt."""
        if self._series is None or not 0 <= index.row() < len(self.items):
            return None
        item = self.items[index.row()]
        entry = self._series.entry(item)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return series_text.entry(item.key, entry.state, entry.objects)
        if role == Qt.ItemDataRole.ToolTipRole:
            return entry.note or item.key
        if role == Qt.ItemDataRole.DecorationRole:
            return self._picture(item)
        if role == Qt.ItemDataRole.ForegroundRole and entry.state in _COLORS:
            return QColor(_COLORS[entry.state])
        if role == Qt.ItemDataRole.FontRole and item.key == self._current:
            font = QFont()
            font.setBold(True)
            return font
        return QSize(0, THUMBNAIL + 4) if role == Qt.ItemDataRole.SizeHintRole else None

    # ------------------------------------------------------------------ inside

    def _choose(self) -> None:
        series = self._series
        items: Sequence[SeriesItem] = () if series is None else series.items
        if series is not None and self._only_open:
            items = [one for one in items if series.is_open(one) or one.key == self._current]
        self.beginResetModel()
        self.items = tuple(items)
        self._rows = {item.key: row for row, item in enumerate(self.items)}
        self.endResetModel()

    def _picture(self, item: SeriesItem) -> QPixmap:
        found = self._pictures.get(item.key)
        if found is not None:
            self._pictures.move_to_end(item.key)
            return found
        if item.key not in self._wanted:
            self._wanted.add(item.key)
            self._reader.call(partial(_read, item), partial(self._on_picture, item.key))
        return self._empty

    def _on_picture(self, key: str, found: Any) -> None:
        self._wanted.discard(key)
        self._pictures[key] = _pixmap(found) if isinstance(found, np.ndarray) else self._empty
        while len(self._pictures) > KEPT_PICTURES:
            self._pictures.popitem(last=False)
        self.refresh(key)


def _read(item: SeriesItem) -> Any:
    from napari_sam3.images.thumbnails import read_thumbnail

    return read_thumbnail(item.path, item.scene, THUMBNAIL)


def _pixmap(pixels: Any) -> QPixmap:
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image).scaled(
        THUMBNAIL,
        THUMBNAIL,
        Qt.AspectRatioMode.KeepAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
