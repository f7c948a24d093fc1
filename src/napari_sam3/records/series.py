"""The record of a series of images: what became of each, and which one was open last."""

from __future__ import annotations

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
    """A series whose record or labels cannot be read or written, or that somebody else has open."""


@dataclass(frozen=True)
class ImageEntry:
    """What is known of an image.

    Parameters
    ----------
    state : {"todo", "work", "done", "skipped"}
        What became of it.
    note : str
        Why it cannot be labelled, or what is odd about it; mostly empty.
    labels : str
        Name of its file of labels; empty before there is one.
    objects : int
        How many objects it has.
    time : str
        Of the last change, ISO 8601 in UTC; empty before there was one.
    """

    state: ImageState = "todo"
    note: str = ""
    labels: str = ""
    objects: int = 0
    time: str = ""


@dataclass(frozen=True)
class SeriesRecord:
    """The content of the record.

    Parameters
    ----------
    current : str
        Key of the image that was open last; empty for none.
    images : mapping of str to ImageEntry
        By key; images without an entry are to do.
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
    """Read the record of a series; an empty one where there is none.

    Raises
    ------
    SeriesError
        If the file cannot be read, is damaged, or another version wrote it.
    """
    try:
        content = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        return SeriesRecord()
    except OSError as error:
        raise SeriesError(
            f"the record {str(path)!r} cannot be read: {error.strerror or error}. Expected a file "
            "of napari-sam3. Check its permissions"
        ) from error
    try:
        found = parse(content, "the series")
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise RecordError(f"it does not hold a {FORMAT}")
        check_version(found.get("version"), "the series' version")
        return _SERIES.read(found)
    except RecordError as error:
        raise SeriesError(
            f"the record {str(path)!r} is damaged: {error}. Move it away to begin a new one; the "
            "labels are not touched"
        ) from error


def write_series_record(path: Path, series: SeriesRecord) -> None:
    """Write the record of a series, whole or not at all.

    Raises
    ------
    SeriesError
        If it cannot be written.
    """
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION, **plain(series)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, dump(content, "the series"))
    except OSError as error:
        raise SeriesError(
            f"the record {str(path)!r} cannot be written: {error.strerror or error}. Expected a "
            "folder with room that may be written to. Free some space, or choose another folder "
            "for the labels"
        ) from error
