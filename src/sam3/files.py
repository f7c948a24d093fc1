"""Atomic writes and bounded reads of files."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

__all__ = ["read_bounded", "write_whole"]

_CHUNK = 1 << 20


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file in the same folder, sync it to disk, and rename it to `path`."""
    # A random name: processes may write at the same time, and a long name could exceed the limit.
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
    """Read a file of at most a given size.

    Parameters
    ----------
    path : Path
        The file.
    most : int
        Maximum size in bytes.

    Raises
    ------
    OSError
        If the file cannot be read or is larger (EFBIG); it is never read beyond the maximum.
    """
    content = bytearray()
    # In chunks: devices and pipes do not report their size.
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            content += chunk
            if len(content) > most:
                raise OSError(errno.EFBIG, f"it holds more than {most} bytes", str(path))
    return bytes(content)
