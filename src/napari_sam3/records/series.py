"""Record of a series of images: the state of each image, and the one opened last."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from typing_extensions import TypedDict

from sam3.errors import Sam3Error
from sam3.files import read_bounded, write_whole

from .schema import check_version, plain
from .strict import Count, Int, Parts, RecordError, Schema, Text, dump, parse, record

__all__ = [
    "ImageEntry",
    "ImageState",
    "SeriesError",
    "SeriesRecord",
    "read_series_record",
    "write_series_record",
]

FORMAT = "napari-sam3 series"
VERSION = 1
MAX_BYTES = 1 << 28

ImageState = Literal["todo", "work", "done", "skipped"]


class SeriesError(Sam3Error, OSError):
    """The record or labels of a series cannot be read or written, or another user has it open."""


@dataclass(frozen=True)
class ImageEntry:
    """State of an image in a series.

    Parameters
    ----------
    state : {"todo", "work", "done", "skipped"}
        Progress on the image.
    note : str
        Why the image cannot be labelled, or a warning about it. Usually empty.
    labels : str
        Name of the label file, empty without one.
    objects : int
        Number of objects.
    time : str
        Time of the last change, ISO 8601 in UTC. Empty before the first change.
    """

    state: ImageState = "todo"
    note: str = ""
    labels: str = ""
    objects: int = 0
    time: str = ""


@dataclass(frozen=True)
class SeriesRecord:
    """Content of the record.

    Parameters
    ----------
    current : str
        Key of the image opened last, empty for none.
    images : mapping of str to ImageEntry
        States of images by their keys. Images without an entry are "todo".
    """

    current: str = ""
    images: Mapping[str, ImageEntry] = field(default_factory=dict)


@record
class _EntryRecord(TypedDict):
    state: ImageState
    note: Text
    labels: Text
    objects: Count
    time: Text


@record
class _SeriesRecord(TypedDict):
    format: Text
    version: Int
    current: Text
    images: dict[Text, Annotated[ImageEntry, Parts(_EntryRecord)]]


_SERIES: Schema[SeriesRecord] = Schema(
    Annotated[SeriesRecord, Parts(_SeriesRecord)], "the series", plain
)


def read_series_record(path: Path) -> SeriesRecord:
    """Read the record of a series. A missing file gives an empty record.

    Raises
    ------
    SeriesError
        If the file cannot be read, is damaged, or was written by another version.
    """
    try:
        content = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return SeriesRecord()
    except OSError as error:
        raise SeriesError(
            f"the record {str(path)!r} cannot be read: {error.strerror or error}. Expected a file "
            "of napari-sam3. Check its permissions."
        ) from error
    try:
        found = parse(content, "the series")
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise RecordError.unreadable(f"it is {reprlib.repr(found)}", f"a {FORMAT}")
        check_version(found.get("version"), "the series' version")
        return _SERIES.read(found)
    except RecordError as error:
        raise SeriesError(
            f"the record {str(path)!r} is damaged: {error} Or move it away to start a new one; "
            "the labels are kept."
        ) from error


def write_series_record(path: Path, series: SeriesRecord) -> None:
    """Write the record of a series atomically.

    Raises
    ------
    SeriesError
        If the record cannot be written.
    """
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION, **plain(series)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, dump(content, "the series"))
    except OSError as error:
        raise SeriesError(
            f"the record {str(path)!r} cannot be written: {error.strerror or error}. Expected a "
            "writable folder with free space. Free some space, or choose another folder for the "
            "labels."
        ) from error
