"""The folder of a store: its root, the room where fields are written, its size and clean-up."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

from napari_sam3.records.checks import parse
from napari_sam3.records.locks import is_held, try_hold
from sam3.errors import Sam3Error
from sam3.files import read_bounded

__all__ = ["FORMAT_VERSION", "StoreError", "Workroom", "field_folders", "folder_bytes"]
__all__ += ["is_store", "open_root", "prune", "reason"]

logger = logging.getLogger(__name__)

#: Grows when the layout changes; a store of another version is not used.
FORMAT_VERSION = 1
# zarr's metadata of a group: about a hundredth of that.
MAX_JSON_BYTES = 1 << 20
_ROOT = "zarr.json"
_ABOUT = "napari_sam3_store"
_KEY = re.compile("[0-9a-f]{32}")
_TEMPORARY = ".tmp-"
_LOCK = "lock"
_ATTEMPTS = 5
# Where the file system knows no locks, what is older than this is taken for abandoned.
_ABANDONED_S = 24 * 3600
# Clean-up goes a little below the limit, so that it need not come back at once.
_PRUNE_TO = 0.9


class StoreError(Sam3Error, OSError):
    """A store that cannot be opened, read or written. Labelling goes on without it."""


def is_store(path: Path) -> bool:
    """Say whether a folder holds an embedding store, of any version."""
    try:
        content = read_bounded(path / _ROOT, MAX_JSON_BYTES)
        attributes = parse(content, _ROOT).value["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(attributes, dict) and _ABOUT in attributes


def open_root(path: Path, limit_bytes: int, *, create: bool) -> int:
    """Open a store's folder, or make it.

    Parameters
    ----------
    path : Path
        The folder.
    limit_bytes : int
        Written into a new store.
    create : bool
        Make it if there is none.

    Returns
    -------
    int
        The limit in bytes that the store was made with.

    Raises
    ------
    StoreError
        If it cannot be made, or is something else, or of another version.
    """
    root = path / _ROOT
    try:
        if create and not root.exists():
            path.mkdir(parents=True, exist_ok=True)
            others = [name for name in os.listdir(path) if not name.startswith(_TEMPORARY)]
            if others and not root.exists():  # another process may have made it just now
                raise _no_store(path, "it holds other files")
            if not others:
                _create_root(root, limit_bytes)
        attributes = parse(read_bounded(root, MAX_JSON_BYTES), _ROOT).value["attributes"]
        version, limit = attributes[_ABOUT]["version"], attributes[_ABOUT]["limit_bytes"]
    except FileNotFoundError as error:
        raise _no_store(path, "there is none") from error
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the embedding store {str(path)!r} cannot be opened ({reason(error)}); choose another "
            "folder"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _no_store(path, f"its {_ROOT} is another one's or damaged") from error
    if version != FORMAT_VERSION or type(limit) is not int:
        raise StoreError(
            f"the embedding store {str(path)!r} has version {version!r}, this napari-sam3 uses "
            f"version {FORMAT_VERSION}; choose another folder, or delete that one"
        )
    return limit


def reason(error: Exception) -> str:
    """Return why something failed, in few words."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]


def _no_store(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{str(path)!r} is no embedding store ({why}); choose a folder made by napari-sam3, or a "
        "new one"
    )


def _create_root(root: Path, limit_bytes: int) -> None:
    about = {"version": FORMAT_VERSION, "limit_bytes": limit_bytes}
    content = {"zarr_format": 3, "node_type": "group", "attributes": {_ABOUT: about}}
    partial = root.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}.json")
    try:
        partial.write_text(json.dumps(content, indent=2), encoding="ascii")
        partial.replace(root)  # of several processes, the last one wins: all write the same kind
    finally:
        partial.unlink(missing_ok=True)


def field_folders(path: Path) -> Iterator[Path]:
    """Go through the folders of whole fields, in no order."""
    for name in os.listdir(path):  # at once: the folder changes while it is gone through
        if _KEY.fullmatch(name):
            yield path / name


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder; of those still there, if it is being deleted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


class Workroom:
    """A folder inside a store in which one process writes what is then moved into place.

    It is held by a lock that ends with the process, so that others can tell what a killed one
    left behind, and take it away.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._close: weakref.finalize[..., Workroom] | None = None

    def new_folder(self) -> Path:
        """Return the name of a folder that does not exist yet, in one that does; raises OSError."""
        with self._lock:
            if self._folder is None or not self._folder.is_dir():
                self._open()
            assert self._folder is not None
            return self._folder / secrets.token_hex(8)

    def discard(self, folder: Path) -> bool:
        """Delete a field in one go, so that nobody finds half of it.

        False if somebody else did, or if it cannot be deleted.
        """
        try:
            away = self.new_folder()
            folder.rename(away)
        except FileNotFoundError:
            return False
        except OSError as error:  # on Windows, while another process reads it
            logger.warning("%s cannot be deleted from the embedding store: %s", folder, error)
            return False
        shutil.rmtree(away, ignore_errors=True)
        return True

    def close(self) -> None:
        """Take the folder away."""
        with self._lock:
            if self._close is not None:
                self._close()
            self._folder = self._close = None

    def _open(self) -> None:
        self._remove_abandoned()
        for attempt in range(_ATTEMPTS):
            folder = self._path / f"{_TEMPORARY}{secrets.token_hex(8)}"
            folder.mkdir()
            try:
                descriptor = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            except FileNotFoundError:  # taken away before it was locked: by a process like this
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            with contextlib.suppress(OSError):  # a file system without locks
                try_hold(descriptor)
            if (folder / _LOCK).exists():
                self._folder = folder
                self._close = weakref.finalize(self, _close, descriptor, folder)
                return
            os.close(descriptor)
        raise OSError("temporary folders are taken away by another process")

    def _remove_abandoned(self) -> None:
        for folder in self._path.glob(f"{_TEMPORARY}*"):
            with contextlib.suppress(OSError):  # among others, because it is no longer there
                if _is_abandoned(folder):
                    logger.info("removing %s, left by a process that was ended", folder)
                    shutil.rmtree(folder, ignore_errors=True)


def _close(descriptor: int, folder: Path) -> None:
    os.close(descriptor)
    shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    names = os.listdir(folder)
    if not names:
        # Its owner was killed, or is about to make the lock, and then makes another folder.
        folder.rmdir()
        return False
    if _LOCK not in names:  # which is the first thing in it: somebody was killed while deleting
        return True
    try:
        return not is_held(folder / _LOCK)
    except OSError:
        return time.time() - folder.stat().st_mtime > _ABANDONED_S


def prune(path: Path, limit_bytes: int, workroom: Workroom, keep: Path) -> int:
    """Delete the fields used longest ago until a store keeps its limit.

    Parameters
    ----------
    path : Path
        The store.
    limit_bytes : int
        Most bytes of all fields.
    workroom : Workroom
        Where they are moved first.
    keep : Path
        A field that stays in any case: the newest.

    Returns
    -------
    int
        Bytes of the fields that are left.
    """
    found = []
    for folder in field_folders(path):
        with contextlib.suppress(OSError):  # another process deletes, too
            found.append((folder.stat().st_mtime_ns, folder, folder_bytes(folder)))
    total = sum(size for _, _, size in found)
    if total <= limit_bytes:
        return total
    for _, folder, size in sorted(found):
        if folder != keep and workroom.discard(folder):
            total -= size
        if total <= limit_bytes * _PRUNE_TO:
            break
    return total
