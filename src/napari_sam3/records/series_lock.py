"""A lock on the labels of a series, which says who has it open and since when."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .locks import try_hold
from .series import SeriesError

__all__ = ["SeriesInUseError", "SeriesLock"]

LOCK_NAME = ".napari-sam3-series.lock"
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_MOST_BYTES = 4096


class SeriesInUseError(SeriesError):
    """A series that somebody else has open."""


@dataclass(eq=False)
class SeriesLock:
    """Held from `take` until `release`, or until the process is gone, however it ends.

    Parameters
    ----------
    path : Path
        Of the lock's file.
    """

    path: Path
    _descriptor: int | None = None

    @classmethod
    def take(cls, folder: Path) -> SeriesLock:
        """Lock a folder of labels, which is made if need be.

        Raises
        ------
        SeriesInUseError
            If somebody has it; the message says who, on which computer, and since when.
        SeriesError
            If the folder cannot be written to.
        """
        lock = cls(folder / LOCK_NAME)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock.path, _FLAGS, 0o666)
        except OSError as error:
            raise SeriesError(
                f"the folder {_short(folder)!r} cannot be written to: {error.strerror or error}. "
                "Expected a folder for labels. Choose another one"
            ) from error
        try:
            lock._hold(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        lock._descriptor = descriptor
        return lock

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            # The file stays: another process may have opened it, and would lock a deleted one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _hold(self, descriptor: int) -> None:
        before = _read(descriptor)
        try:
            free = try_hold(descriptor)
        except OSError:  # the file system has no locks: what the file says must do
            free = not before or _is_gone(before)
        if not free:
            raise SeriesInUseError(
                f"{_short(self.path.parent)!r} is open elsewhere: {_who(before)}. Expected one "
                "person at a time. Choose another folder for your labels, or wait; if nobody has "
                f"it open, delete {self.path.name}"
            )
        about = {
            "user": _user(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(about).encode())
        except OSError as error:
            raise SeriesError(
                f"the folder {_short(self.path.parent)!r} cannot be written to: "
                f"{error.strerror or error}. Expected some free space. Choose another folder"
            ) from error


def _read(descriptor: int) -> dict[str, Any]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(descriptor, _MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(folder: Path) -> str:
    """Return the folder above that of the record, from the working directory if it lies there."""
    folder = folder.parent
    with contextlib.suppress(ValueError, OSError):
        folder = folder.relative_to(Path.cwd())
    return str(folder)


def _who(about: dict[str, Any]) -> str:
    since = str(about.get("since", ""))
    with contextlib.suppress(ValueError):
        since = f"{datetime.fromisoformat(since).astimezone():%Y-%m-%d %H:%M}"
    return (
        f"by {about.get('user', 'somebody')} on {about.get('host', 'a computer')} "
        f"(process {about.get('process', 'unknown')}) since {since or 'an unknown time'}"
    )


def _is_gone(about: dict[str, Any]) -> bool:
    """Whether the process that wrote a lock ran on this computer and has ended."""
    import psutil

    process = about.get("process")
    here = about.get("host") == socket.gethostname()
    return here and isinstance(process, int) and not psutil.pid_exists(process)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id
        return "somebody"
