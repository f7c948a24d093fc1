"""Consolidated metadata: the copies of a Zarr's metadata that its upper groups may keep.

Readers that find such a copy believe it and read nothing else, so a change below the group has to
be made in the copy as well. zarr 2 keeps it in ``.zmetadata``, zarr 3 inside ``zarr.json``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sam3.files import write_whole

__all__ = ["attributes_of", "changing", "consolidated_groups", "update_copies"]

_UNFINISHED = re.compile(r"\..*\.partial")
_OLD, _NEW = ".zmetadata", "zarr.json"
_OLD_NAMES = (".zgroup", ".zarray", ".zattrs")
_NO_COPY = {"kind": "inline", "must_understand": False, "metadata": {}}


def attributes_of(folder: Path) -> dict[str, Any]:
    """Return the attributes of the group in a folder, of zarr 2 or 3; {} if it is no group."""
    found = _read(folder / _NEW).get("attributes") or _read(folder / ".zattrs")
    return found if isinstance(found, dict) else {}


def consolidated_groups(folder: Path) -> list[Path]:
    """Return the groups that keep a copy of a folder's metadata: itself, or folders above it."""
    folder = folder.absolute()
    # A folder that is still being written is not part of a group yet.
    above = () if _UNFINISHED.fullmatch(folder.name) else folder.parents
    return [one for one in (folder, *above) if _has_copy(one)]


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Change the metadata of a folder, and bring the copies in step, while no other process does.

    The lock is that of the outermost group, whose metadata all inside it share. File systems
    without locks, and Windows, which locks no folders, go without.
    """
    folder = folder.absolute()
    shared = [one for one in (folder, *folder.parents) if _is_group(one)] or [folder.parent]
    with _locked(shared[-1]):
        copies = consolidated_groups(folder)
        yield
        update_copies(copies, folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def update_copies(groups: list[Path], folder: Path) -> None:
    """Update the copies of a folder's metadata in the groups above it.

    Only the folder itself, what is below it, and the group that holds it are read again: the
    groups above may hold thousands of other images.

    Parameters
    ----------
    groups : list of Path
        By `consolidated_groups`, from before the change: writing to a group of zarr 3 drops its
        copy.
    folder : Path
        What changed.
    """
    folder = folder.absolute()
    for group in reversed(groups):
        if group == folder and not _is_group(folder):
            continue
        between = [one for one in reversed(folder.parents) if group in one.parents]
        if not all(map(_is_group, between)):
            continue  # what the group cannot reach is not in its copy
        if (group / _OLD).exists():
            _update_old(group, between, folder)
        else:
            _update_new(group, between, folder)


def _has_copy(folder: Path) -> bool:
    return (folder / _OLD).is_file() or bool(_read(folder / _NEW).get("consolidated_metadata"))


def _update_old(group: Path, between: list[Path], folder: Path) -> None:
    content = _read(group / _OLD)
    copy = content.setdefault("metadata", {})
    for name in [name for name in copy if _inside(name.rpartition("/")[0], group, folder)]:
        del copy[name]
    for node in (group, *between, *_walk(folder)):
        for name in _OLD_NAMES:
            if (node / name).is_file():
                copy[(node / name).relative_to(group).as_posix()] = _read(node / name)
    content["metadata"] = _sorted(copy)
    _write(group / _OLD, content)


def _update_new(group: Path, between: list[Path], folder: Path) -> None:
    content = _read(group / _NEW)
    kept = content.get("consolidated_metadata")
    copy = kept["metadata"] if kept else {}
    if not kept:  # dropped by the change itself, with what it said of all others
        folder = group
    for name in [name for name in copy if _inside(name, group, folder)]:
        del copy[name]
    for node in (*between, *_walk(folder)):
        if node == group:
            continue
        about = _read(node / _NEW)
        if about["node_type"] == "group":  # as zarr has it: no copy inside the copy
            about["consolidated_metadata"] = _NO_COPY
        copy[node.relative_to(group).as_posix()] = about
    content["consolidated_metadata"] = {**(kept or _NO_COPY), "metadata": _sorted(copy)}
    _write(group / _NEW, content)


def _sorted(copy: dict[str, Any]) -> dict[str, Any]:
    """Order nodes by depth, those of a group together: zarr finds them only so."""
    names = sorted(copy, key=lambda name: (name.count("/"), name.split("/")))
    return {name: copy[name] for name in names}


def _inside(name: str, group: Path, folder: Path) -> bool:
    """Return whether a node of the copy is the folder, or lies in it."""
    node = group / name
    return node == folder or folder in node.parents


def _walk(folder: Path) -> Iterator[Path]:
    """Go through a group or array and all inside it."""
    if _is_group(folder):
        yield folder
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not _UNFINISHED.fullmatch(inner.name):
                yield from _walk(inner)
    elif (folder / ".zarray").exists() or _read(folder / _NEW).get("node_type") == "array":
        yield folder  # below are chunks only


def _is_group(folder: Path) -> bool:
    return (folder / ".zgroup").exists() or _read(folder / _NEW).get("node_type") == "group"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):  # no such file, or none of zarr's
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2).encode())
