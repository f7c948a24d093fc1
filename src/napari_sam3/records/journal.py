"""A journal of all changes of labels, each on disk before the next is made."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_sam3.core.operations import LabelChange
from napari_sam3.images.identity import ImageIdentity

from .folder import DEFAULT_LIMIT_BYTES, JournalError, create_journal, default_folder, prune
from .lines import MAX_JOURNAL_BYTES, MAX_LINE, JournalHeader, encode_line
from .schema import OPERATION, WRITE
from .strict import RecordError, dump

__all__ = ["Journal", "JournalError"]

logger = logging.getLogger(__name__)

# The folder is pruned each time a journal has grown by this fraction of the limit.
_PRUNE_SHARE = 16


class Journal:
    """Write each change to a file that survives the process, even if it is killed.

    A file belongs to one journal of one process, which locks it until it is closed.

    Parameters
    ----------
    image : ImageIdentity
        Image whose labels change.
    shape, dtype : tuple of int, dtype
        Shape and data type of the whole label image.
    start : str
        State of the labels now: "empty", or a digest that the caller can compare.
    folder : path-like, optional
        Folder of the file; by default in the user's cache.
    limit_bytes : int
        Maximum total size of the journals in the folder. Above it the oldest unlocked ones are
        deleted; a journal in use is never deleted, and may exceed the limit.

    Attributes
    ----------
    path : Path
        Path of the file.
    problem : JournalError or None
        Reason why it is no longer written, if so.

    Raises
    ------
    JournalError
        If the file cannot be created.
    """

    def __init__(
        self,
        image: ImageIdentity,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        *,
        start: str = "empty",
        folder: str | os.PathLike[str] | None = None,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self._folder = default_folder() if folder is None else Path(folder)
        self._limit_bytes = limit_bytes
        self._end = 0, 0  # checksum and size after the last complete line
        self._pruned_at = self._changes = 0
        self.problem: JournalError | None = None
        lengths, now = tuple(int(n) for n in shape), datetime.now(UTC).isoformat()
        header = JournalHeader(image, lengths, np.dtype(dtype).name, start, now)
        try:
            body = header.to_body()
            self.path, descriptor = create_journal(self._folder, image)
        except (OSError, RecordError) as error:
            raise JournalError(
                f"no journal can be kept in {str(self._folder)!r}: {_reason(error)}. Expected a "
                "writable folder. Save the labels often."
            ) from error
        self._descriptor: int | None = descriptor
        try:
            self._write(body)
        except JournalError:
            self._close_file(delete=True)
            raise
        prune(self._folder, limit_bytes)

    def append(self, *changes: LabelChange) -> None:
        """Write changes, and return when they are on disk.

        Raises
        ------
        JournalError
            On the first failure; after that, nothing is written or raised. Changes written before
            can still be restored.
        """
        if self.problem is not None:
            return
        if self._descriptor is None:
            raise JournalError(
                f"the journal {str(self.path)!r} is closed. Expected an open one. Begin a new one."
            )
        try:
            bodies = [dump(_change_to_record(change), "the change") for change in changes]
        except RecordError as error:
            raise self._failed(error) from error
        self._write(*bodies)
        self._changes += len(bodies)
        if (self._end[1] - self._pruned_at) * _PRUNE_SHARE > self._limit_bytes:
            self._pruned_at = self._end[1]
            prune(self._folder, self._limit_bytes)

    def close(self, *, discard: bool = False) -> None:
        """Close the journal and release its lock. May be called repeatedly.

        Parameters
        ----------
        discard : bool
            Delete the file, because the labels are saved elsewhere. A journal without any change is
            always deleted.
        """
        if self._descriptor is None:
            return
        delete = discard or not self._changes
        if not delete and self.problem is None:
            with contextlib.suppress(JournalError):  # also valid without its last line
                self._write(dump({"closed": True}, "the last line"))
        self._close_file(delete)

    def _write(self, *bodies: bytes) -> None:
        """Append lines to the file, all or none."""
        assert self._descriptor is not None
        total, size = self._end
        lines, longest = b"", 0
        for body in bodies:
            line, total = encode_line(body, total)
            lines, longest = lines + line, max(longest, len(line))
        try:
            if longest > MAX_LINE or size + len(lines) > MAX_JOURNAL_BYTES:
                raise OSError(errno.EFBIG, "it would be too large to be read")
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            os.fsync(self._descriptor)
            self._end = total, size + len(lines)
        except OSError as error:
            with contextlib.suppress(OSError):  # a reader skips an incomplete line as well
                os.ftruncate(self._descriptor, size)
            raise self._failed(error) from error
        except BaseException:
            # On Ctrl+C: lines after an incomplete or uncounted line would be lost.
            os.ftruncate(self._descriptor, self._end[1])
            raise

    def _failed(self, error: Exception) -> JournalError:
        self.problem = JournalError(
            f"the journal {str(self.path)!r} cannot be written: {_reason(error)}. Expected a "
            "writable file with free space. Save the labels often."
        )
        return self.problem

    def _close_file(self, delete: bool) -> None:
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None
        try:
            if delete and os.name == "posix":  # before closing, so that it is never seen unlocked
                self.path.unlink(missing_ok=True)
            os.close(descriptor)
            if delete:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the journal %s cannot be closed: %s", self.path, error)


def _change_to_record(change: LabelChange) -> dict[str, object]:
    """Convert a change for JSON. Undo and redo need no operation, since it follows from history."""
    if change.direction not in ("do", "undo", "redo"):
        raise RecordError.unstorable(
            f"the direction is invalid: {change.direction!r}", "do, undo or redo"
        )
    operation = change.operation if change.direction == "do" else None
    # The pixels of a stroke are part of the operation, so they are not written twice.
    shared = operation is not None and (
        len(operation.writes) == len(change.writes) > 0
        and all(a is b for a, b in zip(operation.writes, change.writes, strict=True))
    )
    return {
        "direction": change.direction,
        "operation": None if operation is None else OPERATION.write(operation),
        "writes": None if shared else [WRITE.write(write) for write in change.writes],
    }


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
