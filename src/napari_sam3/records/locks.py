"""Locks on files that belong to a running process; they end with the process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["is_held", "try_hold"]

# Testing a lock takes it for an instant; a few attempts outlast that.
_ATTEMPTS, _PAUSE_S = 5, 0.01

if sys.platform == "win32":
    import msvcrt

    # Far beyond the content, since other processes cannot read a locked range on Windows.
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
    """Lock an open file until it is closed or the process ends.

    Parameters
    ----------
    descriptor : int
        Descriptor of a file opened for writing.

    Returns
    -------
    bool
        False if another process has locked it.

    Raises
    ------
    OSError
        If the file system does not support locks.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S)
        if _try(descriptor, shared=False):
            return True
    return False


def is_held(path: Path) -> bool:
    """Tell whether a file is locked, by this process or another one.

    Raises
    ------
    OSError
        If the file cannot be opened, or the file system does not support locks.
    """
    # Windows cannot lock a file that is open for reading only.
    mode = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
    descriptor = os.open(path, mode | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        return not _try(descriptor, shared=True)
    finally:
        os.close(descriptor)  # also releases the lock of the test
