"""The folder of journals: its location, the names of its files, and its size limit."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from napari_sam3.images.identity import ImageIdentity
from sam3.errors import Sam3Error

from .locks import is_held, try_hold

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "JournalError",
    "create_journal",
    "default_folder",
    "journals_in",
    "prune",
]

logger = logging.getLogger(__name__)

DEFAULT_LIMIT_BYTES = 1 << 30
_SUFFIX = ".journal"
_ATTEMPTS = 5
_FLAGS = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND
_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class JournalError(Sam3Error, OSError):
    """A journal that cannot be written or read; labels and objects in memory are not affected."""


def default_folder() -> Path:
    """Return the folder of journals in the user's cache; it may not exist yet."""
    return platformdirs.user_cache_path("napari-sam3", appauthor=False) / "journals"


def journals_in(folder: Path, identity: ImageIdentity | None = None) -> list[Path]:
    """List the journals in a folder, of all images or of one, oldest first."""
    prefix = "" if identity is None else _prefix(identity)
    with contextlib.suppress(FileNotFoundError):
        journals = [
            (entry.stat().st_mtime_ns, entry.name)
            for entry in os.scandir(folder)
            if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX) and entry.is_file()
        ]
        return [folder / name for _, name in sorted(journals)]
    return []


def create_journal(folder: Path, identity: ImageIdentity) -> tuple[Path, int]:
    """Create an empty journal readable by the user alone, and lock it.

    Returns
    -------
    path, descriptor
        A file open for appending, locked until it is closed.

    Raises
    ------
    OSError
        If it cannot be created or locked.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        name = f"{_prefix(identity)}{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        path = folder / f"{name}{_SUFFIX}"
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            # Meanwhile another process may have deleted the file as an abandoned one.
            if try_hold(descriptor) and os.fstat(descriptor).st_nlink:
                _sync_folder(folder)
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)
        path.unlink(missing_ok=True)
    raise OSError("another process deletes new journals")


def prune(folder: Path, limit_bytes: int) -> None:
    """Delete the oldest unlocked journals until a folder is within its limit.

    Journals that cannot be deleted stay, with a warning in the log.
    """
    try:
        sizes = {path: path.stat().st_size for path in journals_in(folder)}
    except OSError as error:
        logger.warning("the journals in %s cannot be counted: %s", folder, error)
        return
    total = sum(sizes.values())
    for path, size in sizes.items():
        if total <= limit_bytes:
            return
        try:
            if is_held(path):
                continue
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the old journal %s cannot be deleted: %s", path, error)
        else:
            total -= size


def _prefix(identity: ImageIdentity) -> str:
    """Return the prefix of an image's journals: a hash, since the image's name may be long."""
    content = repr((identity.shape, identity.dtype, identity.digest)).encode(errors="replace")
    return hashlib.blake2b(content, digest_size=8).hexdigest() + "-"


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a new file survives a power failure, if the system supports it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
