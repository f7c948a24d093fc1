"""Journals that a crash left behind: found, read, and their labels written again."""

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
    """A journal of an image that no process holds.

    Parameters
    ----------
    path : Path
        The file.
    time : datetime
        When it was last written, in UTC.
    objects : int
        Accepted objects in effect.
    operations : int
        Operations in effect.
    closed : bool
        It was closed but not discarded; there was no crash.
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
        Image, labels and start; None if the file ends within its first line.
    operations : tuple of Operation
        In effect, net of undo and redo, oldest first.
    objects : tuple of AcceptedObject
        In effect, in the order of acceptance.
    stored : tuple of PackedWrite
        Every change of pixels in order, undone ones and their undoing included, still packed.
    closed : bool
        Whether the journal was ended in good order.
    damaged : bool
        Whether something after these could not be read.
    """

    header: JournalHeader | None
    operations: tuple[Operation, ...]
    objects: tuple[AcceptedObject, ...]
    stored: tuple[PackedWrite, ...] = field(repr=False)
    closed: bool
    damaged: bool

    def writes(self) -> Iterator[LabelWrite]:
        """Yield every change of pixels in order, unpacking one at a time."""
        return (write.unpack() for write in self.stored)

    def apply(self, write: WriteLabels) -> None:
        """Write all pixels in order.

        Parameters
        ----------
        write : callable
            Given the key of a plane, the region, and its labels (h x w). On labels that are what
            they were when the journal began, the result is what they were at its end.

        Raises
        ------
        RecordError
            If pixels cannot be unpacked, which no crash brings about.
        """
        for change in self.writes():
            write(change.plane, change.region, change.values)


class _History:
    """Operations done and undone."""

    def __init__(self) -> None:
        # None stands for an operation from before the journal, which was undone.
        self.done: list[Operation | None] = []
        self.undone: list[Operation | None] = []

    def take(self, direction: str, operation: Operation | None) -> None:
        """Follow one change; RecordError if it cannot have happened."""
        if direction == "do":
            self.done.append(operation)
            self.undone.clear()
        elif direction == "undo":
            self.undone.append(self.done.pop() if self.done else None)
        elif self.undone:
            self.done.append(self.undone.pop())
        else:
            raise RecordError("a change is redone that was not undone")


def find_journals(
    folder: str | os.PathLike[str] | None, image: ImageIdentity
) -> list[CrashedJournal]:
    """Find what can be restored for an image, the newest first.

    Reads these journals whole. One that some process holds is left out, as is one in which
    nothing is in effect; one that cannot be read is left out with a warning in the log.

    Parameters
    ----------
    folder : path-like or None
        Where to look; None for the user's cache folder.
    image : ImageIdentity
        The image.
    """
    found = []
    place = default_folder() if folder is None else Path(folder)
    try:
        paths = journals_in(place, image)
    except OSError as error:
        logger.warning("the journals in %s cannot be listed: %s", place, error)
        return []
    for path in reversed(paths):
        try:
            if is_held(path):
                continue
            time = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            restored = read_journal(path)
        except OSError as error:  # JournalError is one
            logger.warning("the journal %s is passed over: %s", path, error)
            continue
        if restored.header is not None and restored.header.image == image and restored.operations:
            # An object on many planes is one object.
            counts = len({one.id for one in restored.objects}), len(restored.operations)
            found.append(CrashedJournal(path, time, *counts, restored.closed))
    return found


def read_journal(path: str | os.PathLike[str], make_key: MakeKey = as_it_is) -> Restored:
    """Read a journal up to its last whole line.

    A torn last line is skipped. Reading stops at a damaged line with a warning in the log.

    Parameters
    ----------
    path : str or path-like
        The file.
    make_key : callable
        Makes the key of a plane out of a `PlaneIndex`, such as `PlaneSource.key`.

    Raises
    ------
    JournalError
        If the file cannot be opened, is not a journal, or is one of another version.
    """
    path = Path(path)
    history, stored, closed, unpacked = _History(), list[PackedWrite](), False, 0
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_JOURNAL_BYTES:
                raise JournalError(
                    f"the journal {str(path)!r} holds more than the {MAX_JOURNAL_BYTES} bytes of "
                    "the largest one; choose a file that napari-sam3 wrote"
                )
            lines = LineReader(file, path)
            for line in lines:
                try:
                    closed = line == {"closed": True}
                    unpacked += _unpacked(line)
                    if unpacked > MAX_UNPACKED_BYTES:
                        raise RecordError(f"masks up to there take {unpacked} bytes of memory")
                    if not closed:
                        stored += _take(line, lines.place, history, make_key)
                except RecordError as error:
                    lines.stop(error)
    except JournalError:
        raise
    except OSError as error:
        raise JournalError(
            f"the journal {str(path)!r} cannot be read ({error.strerror or error}); check that it "
            "exists and may be read"
        ) from error
    operations = tuple(operation for operation in history.done if operation is not None)
    objects = objects_in_effect(operations)
    return Restored(lines.header, operations, objects, tuple(stored), closed, lines.damaged)


def discard_journal(path: str | os.PathLike[str]) -> bool:
    """Delete a journal that was restored or is not wanted.

    Returns
    -------
    bool
        False if a process holds it; it stays then.

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
            f"the journal {str(path)!r} cannot be deleted ({error.strerror or error}); delete it "
            "by hand"
        ) from error
    return True


def _unpacked(line: Any) -> int:
    return unpacked_bytes(line.get("operation") if isinstance(line, dict) else None)


@record
class _ChangeRecord(TypedDict):
    direction: Literal["do", "undo", "redo"]
    operation: OperationPart | None
    #: None where they are those of the operation: a stroke is kept once.
    writes: Annotated[tuple[WritePart, ...], LIST] | None


_CHANGE: Schema[_ChangeRecord] = Schema(_ChangeRecord, "the change", lambda change: change)
_WRITES: Schema[tuple[PackedWrite, ...]] = Schema(
    Annotated[tuple[WritePart, ...], LIST], "the labels written", plain
)


def _take(line: Any, place: str, history: _History, make_key: MakeKey) -> tuple[PackedWrite, ...]:
    """Follow the change on a line; nothing has changed if it cannot be read."""
    change = _CHANGE.read(line, make_key, place)
    direction, operation, writes = change["direction"], change["operation"], change["writes"]
    if (direction == "do") != (operation is not None):
        raise RecordError(f"{place} is {direction!r}; expected an operation with 'do' alone")
    if writes is None:
        written = line["operation"]["writes"] if operation is not None else None
        writes = _WRITES.read(written, make_key, f"{place}.operation.writes")
    history.take(direction, operation)
    return writes
