"""Folder of a store: root file, fields, size and clean-up."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_sam3.records.strict import parse
from sam3.errors import Sam3Error
from sam3.files import read_bounded, write_whole

__all__ = ["FORMAT_VERSION", "StoreError", "discard", "field_files", "is_store"]
__all__ += ["open_root", "prune", "reason", "remove_abandoned"]

logger = logging.getLogger(__name__)

#: Version of the layout. Stores of other versions are refused.
FORMAT_VERSION = 2
MAX_JSON_BYTES = 1 << 20
SUFFIX = ".safetensors"
_ROOT = "store.json"
# Root file of version 1, whose fields were zarr groups.
_OLD_ROOT = "zarr.json"
_ABOUT = "napari_sam3_store"
_FIELD = re.compile(rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}")
_PARTIAL = ".*.partial"  # as `sam3.files.write_whole` names them
# Writing a field takes less than a second, so older partial files belong to killed processes.
_ABANDONED_S = 3600
# Clean-up frees 10% of the limit, so that the next field does not need another one.
_PRUNE_TO = 0.9


class StoreError(Sam3Error, OSError):
    """The store cannot be opened, read or written. Labelling continues without it."""


def is_store(path: Path) -> bool:
    """Return whether a folder holds an embedding store of any version."""
    return _read_root(path) is not None


def open_root(path: Path, limit_bytes: int, *, create: bool) -> int:
    """Open the folder of a store, or create it.

    Parameters
    ----------
    path : Path
        Folder of the store.
    limit_bytes : int
        Limit of a new store.
    create : bool
        Whether to create a missing store.

    Returns
    -------
    int
        Limit of the store in bytes.

    Raises
    ------
    StoreError
        If the folder cannot be created, is not a store, or has another version.
    """
    try:
        about = _read_root(path)
        if about is None:
            if not create and not path.exists():
                raise _not_a_store(path, "there is none")
            if create:
                path.mkdir(parents=True, exist_ok=True)
            others = [name for name in os.listdir(path) if not name.endswith(".partial")]
            if others and (about := _read_root(path)) is None:
                raise _not_a_store(path, "it holds other files")
            if about is None and not create:
                raise _not_a_store(path, "there is none")
            if about is None:
                about = {"version": FORMAT_VERSION, "limit_bytes": limit_bytes}
                # Several processes may write the root file: the last one wins.
                write_whole(path / _ROOT, json.dumps({_ABOUT: about}, indent=2).encode())
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the embedding store {str(path)!r} cannot be opened: {reason(error)}. Expected a "
            "writable folder. Choose another one."
        ) from error
    version, limit = about.get("version"), about.get("limit_bytes")
    if version != FORMAT_VERSION or type(limit) is not int:
        raise StoreError(
            f"the embedding store {str(path)!r} has version {version!r}. Expected version "
            f"{FORMAT_VERSION}. Choose another folder, or delete that one."
        )
    return limit


def reason(error: Exception) -> str:
    """Return the first line of the reason of an error."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]


def field_files(path: Path) -> Iterator[Path]:
    """Yield the files of all fields in any order."""
    for name in os.listdir(path):  # not os.scandir, since the folder may change meanwhile
        if _FIELD.fullmatch(name):
            yield path / name


def discard(file: Path) -> bool:
    """Delete a field. Return False if it is missing or cannot be deleted."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:  # on Windows, while another process reads it
        logger.warning("%s cannot be deleted from the embedding store: %s", file, error)
        return False
    return True


def remove_abandoned(path: Path) -> None:
    """Delete the partial files of killed processes."""
    for partial in path.glob(_PARTIAL):
        with contextlib.suppress(OSError):  # another process may delete it meanwhile
            if abs(time.time() - partial.stat().st_mtime) > _ABANDONED_S:
                logger.info("deleting %s, left by a process that was ended", partial)
                partial.unlink()


def prune(path: Path, limit_bytes: int, keep: Path) -> int:
    """Delete the least recently used fields of a store above its limit.

    Parameters
    ----------
    path : Path
        Folder of the store.
    limit_bytes : int
        Most bytes of all fields.
    keep : Path
        Newest field, which is never deleted.

    Returns
    -------
    int
        Bytes of the remaining fields.
    """
    used = []
    for file in field_files(path):
        with contextlib.suppress(OSError):  # another process may delete it meanwhile
            stat = file.stat()
            used.append((stat.st_mtime_ns, file, stat.st_size))
    total = sum(size for _, _, size in used)
    if total <= limit_bytes:
        return total
    for _, file, size in sorted(used):
        if file != keep and discard(file):
            total -= size
        if total <= limit_bytes * _PRUNE_TO:
            break
    return total


def _read_root(path: Path) -> dict[str, Any] | None:
    """Return the content of the root file of a store, or None."""
    for name, keys in ((_ROOT, (_ABOUT,)), (_OLD_ROOT, ("attributes", _ABOUT))):
        try:
            about = parse(read_bounded(path / name, MAX_JSON_BYTES), name)
            for key in keys:
                about = about[key]
        except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError):
            continue
        if isinstance(about, dict):
            return about
    return None


def _not_a_store(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{str(path)!r} is not an embedding store: {why}. Expected a folder of napari-sam3. Choose "
        "one, or a new folder."
    )
