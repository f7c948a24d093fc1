"""Files that belong to a running process. The lock ends with the process, however it ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["is_held", "try_hold"]

# Whoever asks whether a file is held holds it for an instant; a few attempts outlast that.
_ATTEMPTS, _PAUSE_S = 5, 0.01

if sys.platform == "win32":
    import msvcrt

    # Far beyond the content: on Windows, others cannot read a locked range.
    _FAR = 1 << 40

    def _try(descriptor: int, shared: bool) -> bool:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)
        return True
else:
    import fcntl

    def _try(descriptor: int, shared: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def try_hold(descriptor: int) -> bool:
    """Hold an open file until it is closed or the process is gone.

    Parameters
    ----------
    descriptor : int
        Of a file opened for writing.

    Returns
    -------
    bool
        False if somebody else holds it.

    Raises
    ------
    OSError
        If the file system knows no locks.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S)
        if _try(descriptor, shared=False):
            return True
    return False


def is_held(path: Path) -> bool:
    """Return whether a file is locked, by this process or another one.

    Raises
    ------
    OSError
        If the file cannot be opened, or the file system knows no locks.
    """
    # Windows locks no file that is open for reading only.
    mode = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
    descriptor = os.open(path, mode | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        return not _try(descriptor, shared=True)
    finally:
        os.close(descriptor)  # and with it what was held for an instant
