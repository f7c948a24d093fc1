"""Lock on the labels of a series, with the user and the time of opening."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
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
    """Another user or process has the series open."""


@dataclass(eq=False)
class SeriesLock:
    """Lock held from `take` until `release` or the end of the process, even by a crash.

    Parameters
    ----------
    path : Path
        Lock file.
    """

    path: Path
    _descriptor: int | None = None

    @classmethod
    def take(cls, folder: Path) -> SeriesLock:
        """Lock a folder of labels, created if it does not exist.

        Raises
        ------
        SeriesInUseError
            If another process holds the lock. The message names its user, computer and start.
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
                "Expected a writable folder. Choose another one."
            ) from error
        try:
            lock._hold(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        lock._descriptor = descriptor
        return lock

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            # Keep the file: a process that has opened it would otherwise lock a deleted file.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _hold(self, descriptor: int) -> None:
        before = _read(descriptor)
        try:
            free = try_hold(descriptor)
        except OSError:  # a file system without locks: decide by the content of the file
            free = not before or _is_gone(before)
        if not free:
            raise SeriesInUseError(
                f"{_short(self.path.parent)!r} is open elsewhere: {_who(before)}. Expected one "
                "person at a time. Wait, or choose another folder for your labels. If it is not "
                f"open anywhere, delete {self.path.name}."
            )
        about = {
            "user": _user(),
            "host": platform.node(),
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
                f"{error.strerror or error}. Expected some free space. Choose another folder."
            ) from error


def _read(descriptor: int) -> dict[str, Any]:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(descriptor, _MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _short(folder: Path) -> str:
    """Return the parent folder, relative to the working directory if it lies there."""
    folder = folder.parent
    with contextlib.suppress(ValueError, OSError):
        folder = folder.relative_to(Path.cwd())
    return str(folder)


def _who(about: dict[str, Any]) -> str:
    since = str(about.get("since", ""))
    with contextlib.suppress(ValueError):
        since = f"{datetime.fromisoformat(since).astimezone():%Y-%m-%d %H:%M}"
    return (
        f"by {about.get('user', 'an unknown user')} on {about.get('host', 'an unknown computer')} "
        f"(process {about.get('process', 'unknown')}) since {since or 'an unknown time'}"
    )


def _is_gone(about: dict[str, Any]) -> bool:
    """Whether the process that wrote a lock ran on this computer and has ended."""
    import psutil

    process = about.get("process")
    here = about.get("host") == platform.node()
    return here and isinstance(process, int) and not psutil.pid_exists(process)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no name for this user id
        return "an unknown user"
