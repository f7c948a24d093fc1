"""Files written so that a reader never meets half of one, and read up to a limit."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

__all__ = ["read_bounded", "write_whole"]

_PIECE = 1 << 20


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary name beside `path`, and rename it once it is on the disk."""
    # A name of its own: two processes may write at once, and long names leave no room for more.
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file, unless it holds more than is expected of its kind.

    Parameters
    ----------
    path : Path
        The file.
    most : int
        Largest size in bytes.

    Raises
    ------
    OSError
        If it cannot be read, or is larger (EFBIG); no more than the limit is in memory then.
    """
    content = bytearray()
    # In pieces: devices and pipes do not say how long they are.
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            content += piece
            if len(content) > most:
                raise OSError(errno.EFBIG, f"it holds more than {most} bytes", str(path))
    return bytes(content)
