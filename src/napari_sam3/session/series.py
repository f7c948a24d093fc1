"""A series of images: its entries, their states, and their labels on disk."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.images.listing import SeriesItem, Source, list_images
from napari_sam3.labels.beside_images import ENDINGS, LabelFiles
from napari_sam3.records.saved_session import SavedSession, write_saved_session
from napari_sam3.records.series import (
    ImageEntry,
    ImageState,
    SeriesError,
    SeriesRecord,
    read_series_record,
    write_series_record,
)
from napari_sam3.records.series_lock import SeriesLock

from .series_images import OpenedImage, read_opened

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.labels.formats.object_table import ObjectTable

__all__ = ["ImageSeries", "SeriesItem"]

#: Folder for the record of a series, its lock and its sessions, where the labels are.
FOLDER = "napari-sam3-series"
OPEN_STATES = ("todo", "work")


class ImageSeries:
    """Label a series of images, over several days if needed. Needs no viewer.

    Labels are written atomically, and never over a file that another program changed. A record
    keeps the state of each image, so that a series can be resumed at any time.

    Parameters
    ----------
    source : path, str or sequence of paths
        A folder, a pattern, a table, one file with several images, or paths; see `list_images`.
    labels : path-like, optional
        Folder for the labels, with the same subfolders as the images; by default labels are
        written next to the images.
    format : {"ome-tiff", "tiff", "ome-zarr"}
        Format of the labels.

    Attributes
    ----------
    items : tuple of SeriesItem
        The images, in order.
    folder : Path
        Folder of the labels.

    Raises
    ------
    ListingError
        If no image was found.
    SeriesInUseError
        If another process has the series open; the message says which, and since when.
    SeriesError
        If the folder of the labels cannot be written to, or the record is damaged.

    Examples
    --------
    >>> with ImageSeries("images", labels="labels") as series:  # doctest: +SKIP
    ...     for item in series.remaining:
    ...         opened = series.read(item)
    ...         series.save(item, segment(opened.image.data), state="done")
    """

    def __init__(
        self,
        source: Source,
        labels: str | os.PathLike[str] | None = None,
        *,
        format: str = "ome-tiff",
    ) -> None:
        if format not in ENDINGS:
            raise SeriesError(
                f"unknown format for labels of a series: {format!r}. Expected one of "
                f"{', '.join(ENDINGS)}. Choose one."
            )
        images = list_images(source)
        self.items, self._images = images.items, images
        self._chosen = None if labels is None else Path(os.path.abspath(labels))
        self.folder = self._chosen or images.folder
        self._files, self._ending = LabelFiles(format), ENDINGS[format]
        self._places = {item.key: number for number, item in enumerate(self.items)}
        self._own = self.folder / FOLDER
        self._lock = SeriesLock.take(self._own)
        try:
            kept = read_series_record(self._record_path)
        except BaseException:
            self._lock.release()
            raise
        self._entries, self._current = dict(kept.images), kept.current

    def close(self) -> None:
        """Release the series for other processes."""
        self._lock.release()

    def __enter__(self) -> ImageSeries:
        """Return the series; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    # ------------------------------------------------------------------ states

    def entry(self, item: SeriesItem) -> ImageEntry:
        """Return the record of an image."""
        return self._entries.get(item.key, ImageEntry())

    def counts(self) -> Counter[str]:
        """Count the images by state."""
        return Counter(self.entry(item).state for item in self.items)

    def place(self, item: SeriesItem) -> int:
        """Return the index of an image, from 0."""
        return self._places[item.key]

    @property
    def remaining(self) -> tuple[SeriesItem, ...]:
        """The images that are neither done nor skipped, in order."""
        return tuple(item for item in self.items if self.is_open(item))

    def is_open(self, item: SeriesItem) -> bool:
        """Whether an image is neither done nor skipped."""
        return self.entry(item).state in OPEN_STATES

    @property
    def current(self) -> SeriesItem | None:
        """The image to resume at: the last one open, or else the first remaining one."""
        place = self._places.get(self._current)
        if place is not None:
            return self.items[place]
        return next(iter(self.remaining), None)

    def neighbour(
        self, item: SeriesItem, step: int = 1, *, only_open: bool = False
    ) -> SeriesItem | None:
        """Return the next image, or with a step of -1 the previous one; None at the end.

        Images that could not be read are skipped.

        Parameters
        ----------
        item : SeriesItem
            Image to start from.
        step : {1, -1}
            Direction.
        only_open : bool
            Skip images that are done or skipped.
        """
        at = self._places[item.key] + step
        while 0 <= at < len(self.items):
            entry = self.entry(self.items[at])
            unreadable = entry.state == "skipped" and entry.note
            if not unreadable and not (only_open and not self.is_open(self.items[at])):
                return self.items[at]
            at += step
        return None

    def set_current(self, item: SeriesItem, *, flush: bool = True) -> None:
        """Record which image is open, to resume there."""
        self._current = item.key
        if flush:
            self.flush()

    def set_state(
        self,
        item: SeriesItem,
        state: ImageState,
        *,
        note: str | None = None,
        objects: int | None = None,
        flush: bool = True,
    ) -> None:
        """Record the state of an image.

        Parameters
        ----------
        item : SeriesItem
            The image.
        state : {"todo", "work", "done", "skipped"}
            Its state.
        note : str, optional
            Reason why it cannot be labelled, or a warning.
        objects : int, optional
            Number of its objects.
        flush : bool
            Write the record now; otherwise call `flush` later.
        """
        self._change(item, state=state, note=note, objects=objects)
        if flush:
            self.flush()

    def flush(self) -> None:
        """Write the record, on any thread; raises SeriesError."""
        write_series_record(self._record_path, SeriesRecord(self._current, dict(self._entries)))

    # ------------------------------------------------------------------- files

    def labels_path(self, item: SeriesItem) -> Path:
        """Return the file of labels of an image; it need not exist."""
        path = self._images.labels_path(item, self._ending, self._chosen)
        known = self.entry(item).labels
        return path.with_name(known) if known and Path(known).name == known else path

    def read(self, item: SeriesItem) -> OpenedImage:
        """Read an image with its saved labels and session, on any thread.

        Labels that cannot be used are not touched, and named in the notes.

        Raises
        ------
        sam3.errors.ImageError
            If the image cannot be read.
        """
        return read_opened(item, self._files, self.labels_path(item), self._session_path(item))

    def save(
        self,
        item: SeriesItem,
        labels: Any,
        *,
        axes: ImageAxes | None = None,
        table: ObjectTable | None = None,
        state: ImageState = "work",
    ) -> Path:
        """Write the labels of an image, and record its state.

        Parameters
        ----------
        item : SeriesItem
            The image.
        labels : array-like of integers
            Labels of the image's shape.
        axes : ImageAxes, optional
            Units and scale; `OpenedImage.image.axes`.
        table : ObjectTable, optional
            Classes, scores and other columns of the objects.
        state : {"todo", "work", "done", "skipped"}
            State of the image.

        Returns
        -------
        Path
            The file: `labels_path`, or a similar name if another program changed that.

        Raises
        ------
        ExportError
            If they cannot be written; an existing file is unchanged.
        """
        path = self.write(item, labels, axes=axes, table=table)
        count = int(np.count_nonzero(np.unique(np.asarray(labels))))
        self.note_labels(item, path)
        self.set_state(item, state, objects=count)
        return path

    def write(
        self,
        item: SeriesItem,
        labels: Any,
        *,
        axes: ImageAxes | None = None,
        table: ObjectTable | None = None,
        session: SavedSession | None = None,
    ) -> Path:
        """Write labels and session, on any thread; see `save`. The record is not touched."""
        path = self._files.write(self.labels_path(item), labels, axes=axes, table=table)
        if session is not None:
            write_saved_session(self._session_path(item), session)
        return path

    def note_labels(self, item: SeriesItem, path: Path) -> None:
        """Record the file of labels of an image."""
        self._change(item, labels=path.name)

    # ------------------------------------------------------------------ inside

    @property
    def _record_path(self) -> Path:
        return self._own / "series.json"

    def _session_path(self, item: SeriesItem) -> Path:
        digest = hashlib.blake2b(item.key.encode(errors="replace"), digest_size=6).hexdigest()
        return self._own / f"{item.stem[:80]}-{digest}.session.json.gz"

    def _change(self, item: SeriesItem, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._entries[item.key] = replace(self.entry(item), time=now, **given)
