"""Recovery after a crash: listing and reading journals, and writing their labels again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy.typing as npt
from typing_extensions import TypedDict

from napari_sam3.core.masks import Region
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, objects_in_effect
from napari_sam3.images.identity import ImageIdentity

from .folder import JournalError, default_folder, journals_in
from .lines import MAX_JOURNAL_BYTES, JournalHeader, LineReader
from .locks import is_held
from .packed import MAX_UNPACKED_BYTES, PackedWrite, unpacked_bytes
from .schema import OperationPart, WritePart, plain
from .strict import LIST, MakeKey, RecordError, Schema, as_it_is, record

__all__ = ["CrashedJournal", "Restored", "discard_journal", "find_journals", "read_journal"]

logger = logging.getLogger(__name__)

WriteLabels = Callable[[Hashable, Region, npt.NDArray[Any]], None]


@dataclass(frozen=True)
class CrashedJournal:
    """A journal of an image that no process has locked.

    Parameters
    ----------
    path : Path
        Path of the file.
    time : datetime
        Time of its last change, in UTC.
    objects : int
        Number of accepted objects in effect.
    operations : int
        Number of operations in effect.
    closed : bool
        Whether it was closed but not discarded, so that there was no crash.
    """

    path: Path
    time: datetime
    objects: int
    operations: int
    closed: bool


@dataclass(frozen=True, eq=False)
class Restored:
    """The content of a journal, up to its last complete line.

    Parameters
    ----------
    header : JournalHeader or None
        Image, labels and start; None if the file ends in its first line.
    operations : tuple of Operation
        Operations in effect after undo and redo, oldest first.
    objects : tuple of AcceptedObject
        Objects in effect, in the order of acceptance.
    stored : tuple of PackedWrite
        All changes of pixels in order, including undone ones and their undo, still compressed.
    closed : bool
        Whether the journal was closed.
    damaged : bool
        Whether a later part could not be read.
    """

    header: JournalHeader | None
    operations: tuple[Operation, ...]
    objects: tuple[AcceptedObject, ...]
    stored: tuple[PackedWrite, ...] = field(repr=False)
    closed: bool
    damaged: bool

    def writes(self) -> Iterator[LabelWrite]:
        """Yield all changes of pixels in order, decompressing one at a time."""
        return (write.unpack() for write in self.stored)

    def apply(self, write: WriteLabels) -> None:
        """Write all pixels in order.

        Parameters
        ----------
        write : callable
            Called with the key of a plane, the region, and its labels (h x w). Starting from the
            labels at the start of the journal, the result is the labels at its end.

        Raises
        ------
        RecordError
            If pixels cannot be decompressed; a crash cannot cause this.
        """
        for change in self.writes():
            write(change.plane, change.region, change.values)


class _History:
    """Operations done and undone so far."""

    def __init__(self) -> None:
        # None is an operation from before the journal that was undone.
        self.done: list[Operation | None] = []
        self.undone: list[Operation | None] = []

    def apply(self, direction: str, operation: Operation | None) -> None:
        """Apply one change; raises RecordError if it is impossible."""
        if direction == "do":
            self.done.append(operation)
            self.undone.clear()
        elif direction == "undo":
            self.undone.append(self.done.pop() if self.done else None)
        elif self.undone:
            self.done.append(self.undone.pop())
        else:
            raise RecordError.unreadable("a redo has nothing to redo", "an undo before it")


def find_journals(
    folder: str | os.PathLike[str] | None, image: ImageIdentity
) -> list[CrashedJournal]:
    """List the journals of an image that can be restored, newest first.

    Reads these journals completely. Locked journals and those without an operation in effect are
    skipped; unreadable ones too, with a warning in the log.

    Parameters
    ----------
    folder : path-like or None
        The folder; None for the one in the user's cache.
    image : ImageIdentity
        The image.
    """
    journals = []
    location = default_folder() if folder is None else Path(folder)
    try:
        paths = journals_in(location, image)
    except OSError as error:
        logger.warning("the journals in %s cannot be listed: %s", location, error)
        return []
    for path in reversed(paths):
        try:
            if is_held(path):
                continue
            time = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            restored = read_journal(path)
        except OSError as error:  # including JournalError
            logger.warning("skipped the journal %s: %s", path, error)
            continue
        if restored.header is not None and restored.header.image == image and restored.operations:
            # An object on several planes counts once.
            counts = len({one.id for one in restored.objects}), len(restored.operations)
            journals.append(CrashedJournal(path, time, *counts, restored.closed))
    return journals


def read_journal(path: str | os.PathLike[str], make_key: MakeKey = as_it_is) -> Restored:
    """Read a journal up to its last complete line.

    An incomplete last line is skipped. At a damaged line reading stops, with a warning in the log.

    Parameters
    ----------
    path : str or path-like
        The file.
    make_key : callable
        Converts a `PlaneIndex` to the key of a plane, such as `PlaneSource.key`.

    Raises
    ------
    JournalError
        If the file cannot be opened, is not a journal, or has another version.
    """
    path = Path(path)
    history, stored, closed, unpacked = _History(), list[PackedWrite](), False, 0
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_JOURNAL_BYTES:
                raise JournalError(
                    f"the journal {str(path)!r} is too large. Expected at most "
                    f"{MAX_JOURNAL_BYTES} bytes. Choose a file of napari-sam3."
                )
            lines = LineReader(file, path)
            for line in lines:
                try:
                    closed = line == {"closed": True}
                    unpacked += _unpacked(line)
                    if unpacked > MAX_UNPACKED_BYTES:
                        raise RecordError.unreadable(
                            f"the masks so far take {unpacked} bytes of memory",
                            f"at most {MAX_UNPACKED_BYTES}",
                        )
                    if not closed:
                        stored += _apply_line(line, lines.place, history, make_key)
                except RecordError as error:
                    lines.stop(error)
    except JournalError:
        raise
    except OSError as error:
        raise JournalError(
            f"the journal {str(path)!r} cannot be read: {error.strerror or error}. Expected a "
            "readable file. Check that it exists, and its permissions."
        ) from error
    operations = tuple(operation for operation in history.done if operation is not None)
    objects = objects_in_effect(operations)
    return Restored(lines.header, operations, objects, tuple(stored), closed, lines.damaged)


def discard_journal(path: str | os.PathLike[str]) -> bool:
    """Delete a journal that was restored or is not needed.

    Returns
    -------
    bool
        False if a process has locked it, so that it was not deleted.

    Raises
    ------
    JournalError
        If it cannot be deleted.
    """
    path = Path(path)
    try:
        if is_held(path):
            return False
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise JournalError(
            f"the journal {str(path)!r} cannot be deleted: {error.strerror or error}. Expected a "
            "writable folder. Delete the file by hand."
        ) from error
    return True


def _unpacked(line: Any) -> int:
    return unpacked_bytes(line.get("operation") if isinstance(line, dict) else None)


@record
class _ChangeRecord(TypedDict):
    direction: Literal["do", "undo", "redo"]
    operation: OperationPart | None
    #: None if they are those of the operation, since a stroke is stored once.
    writes: Annotated[tuple[WritePart, ...], LIST] | None


_CHANGE: Schema[_ChangeRecord] = Schema(_ChangeRecord, "the change", lambda change: change)
_WRITES: Schema[tuple[PackedWrite, ...]] = Schema(
    Annotated[tuple[WritePart, ...], LIST], "the labels written", plain
)


def _apply_line(
    line: Any, place: str, history: _History, make_key: MakeKey
) -> tuple[PackedWrite, ...]:
    """Apply the change on a line; an unreadable line changes nothing."""
    change = _CHANGE.read(line, make_key, place)
    direction, operation, writes = change["direction"], change["operation"], change["writes"]
    if (direction == "do") != (operation is not None):
        raise RecordError.unreadable(
            f"{place} is {direction!r}", "an operation with 'do', and none with 'undo' or 'redo'"
        )
    if writes is None:
        written = line["operation"]["writes"] if operation is not None else None
        writes = _WRITES.read(written, make_key, f"{place}.operation.writes")
    history.apply(direction, operation)
    return writes
