"""The folder of a store: its root file, its fields, its size and its clean-up."""

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

#: Grows when the layout changes; a store of another version is refused.
FORMAT_VERSION = 2
MAX_JSON_BYTES = 1 << 20
SUFFIX = ".safetensors"
_ROOT = "store.json"
# The root of version 1, in which a field was a zarr group.
_OLD_ROOT = "zarr.json"
_ABOUT = "napari_sam3_store"
_FIELD = re.compile(rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}")
_PARTIAL = ".*.partial"  # as `sam3.files.write_whole` names them
# A field is written in less than a second; older ones were left by a killed process.
_ABANDONED_S = 3600
# Clean-up goes a little below the limit, so that it is not needed again at once.
_PRUNE_TO = 0.9


class StoreError(Sam3Error, OSError):
    """A store that cannot be opened, read or written. Labelling continues without it."""


def is_store(path: Path) -> bool:
    """Say whether a folder holds an embedding store, of any version."""
    return _read_root(path) is not None


def open_root(path: Path, limit_bytes: int, *, create: bool) -> int:
    """Open a store's folder, or make it.

    Parameters
    ----------
    path : Path
        The folder.
    limit_bytes : int
        Written into a new store.
    create : bool
        Make the store if there is none.

    Returns
    -------
    int
        The limit in bytes that the store was made with.

    Raises
    ------
    StoreError
        If it cannot be made, is something else, or has another version.
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
                # Of several processes the last one wins: all write the same kind.
                write_whole(path / _ROOT, json.dumps({_ABOUT: about}, indent=2).encode())
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the embedding store {str(path)!r} cannot be opened ({reason(error)}); choose another "
            "folder"
        ) from error
    version, limit = about.get("version"), about.get("limit_bytes")
    if version != FORMAT_VERSION or type(limit) is not int:
        raise StoreError(
            f"the embedding store {str(path)!r} has version {version!r}, this napari-sam3 uses "
            f"version {FORMAT_VERSION}; choose another folder, or delete that one"
        )
    return limit


def reason(error: Exception) -> str:
    """Return why something failed, in few words."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]


def field_files(path: Path) -> Iterator[Path]:
    """Yield the files of all fields, in no order."""
    for name in os.listdir(path):  # at once: the folder changes meanwhile
        if _FIELD.fullmatch(name):
            yield path / name


def discard(file: Path) -> bool:
    """Delete a field; False if another process did, or if it cannot be deleted."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:  # on Windows, while another process reads it
        logger.warning("%s cannot be deleted from the embedding store: %s", file, error)
        return False
    return True


def remove_abandoned(path: Path) -> None:
    """Delete the partly written files that killed processes left behind."""
    for partial in path.glob(_PARTIAL):
        with contextlib.suppress(OSError):  # another process deletes, too
            if abs(time.time() - partial.stat().st_mtime) > _ABANDONED_S:
                logger.info("deleting %s, left by a process that was ended", partial)
                partial.unlink()


def prune(path: Path, limit_bytes: int, keep: Path) -> int:
    """Delete the least recently used fields until a store keeps its limit.

    Parameters
    ----------
    path : Path
        The store.
    limit_bytes : int
        Most bytes of all fields.
    keep : Path
        A field that stays in any case: the newest.

    Returns
    -------
    int
        Bytes of the fields that are left.
    """
    used = []
    for file in field_files(path):
        with contextlib.suppress(OSError):  # another process deletes, too
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
    """Return the content of a store's root file; None if it has none."""
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
        f"{str(path)!r} is not an embedding store ({why}); choose a folder made by napari-sam3, "
        "or a new one"
    )
