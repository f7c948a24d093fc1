"""Consolidated metadata: copies of a Zarr's metadata in its parent groups.

Readers that find such a copy rely on it and read nothing else, so a change below the group must be
made in the copy as well. zarr 2 stores it in ``.zmetadata``, zarr 3 inside ``zarr.json``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sam3.files import write_whole

__all__ = ["attributes_of", "changing", "consolidated_groups", "update_copies", "ways_to"]

_UNFINISHED = re.compile(r"\..*\.partial")
_OLD, _NEW = ".zmetadata", "zarr.json"
_OLD_NAMES = (".zgroup", ".zarray", ".zattrs")
_NO_COPY = {"kind": "inline", "must_understand": False, "metadata": {}}


def attributes_of(folder: Path) -> dict[str, Any]:
    """Return the attributes of the group in a folder, of zarr 2 or 3; {} without a group."""
    attributes = _read(folder / _NEW).get("attributes") or _read(folder / ".zattrs")
    return attributes if isinstance(attributes, dict) else {}


def ways_to(path: Path) -> list[Path]:
    """Return a path as written, and its target if it contains symbolic links.

    An upper folder that is opened may reach it by either one.
    """
    return list(dict.fromkeys((path.absolute(), path.resolve())))


def consolidated_groups(folder: Path) -> list[Path]:
    """Return the groups with a copy of a folder's metadata: the folder itself or its parents."""
    folder = folder.absolute()
    # A folder that is still being written does not belong to a group yet.
    parents = () if _UNFINISHED.fullmatch(folder.name) else folder.parents
    return [group for group in (folder, *parents) if _has_copy(group)]


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Change the metadata of a folder and update the copies, while other processes wait.

    The lock is that of the outermost group, which all its content shares. Without support for
    locks, as on some file systems and for folders on Windows, there is no waiting.
    """
    ways = ways_to(folder)
    with ExitStack() as stack:
        for shared in sorted({_outermost(way).resolve() for way in ways}):
            stack.enter_context(_locked(shared))
        copies = [consolidated_groups(way) for way in ways]
        yield
        for groups, way in zip(copies, ways, strict=True):
            update_copies(groups, way)


def _outermost(folder: Path) -> Path:
    groups = [one for one in (folder, *folder.parents) if _is_group(one)]
    return groups[-1] if groups else folder.parent


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
    """Update the copies of a folder's metadata in its parent groups.

    Reads only the folder, its content, and the group that contains it, since the other groups may
    contain thousands of images.

    Parameters
    ----------
    groups : list of Path
        From `consolidated_groups` before the change, since zarr 3 drops the copy of a group on
        writing.
    folder : Path
        The changed folder.
    """
    folder = folder.absolute()
    for group in reversed(groups):
        if group == folder and not _is_group(folder):
            continue
        between = [parent for parent in reversed(folder.parents) if group in parent.parents]
        if not all(map(_is_group, between)):
            continue  # the group's copy does not include what is not in it
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
    consolidated = content.get("consolidated_metadata")
    copy = consolidated["metadata"] if consolidated else {}
    if not consolidated:  # dropped by the change, so that all nodes must be read
        folder = group
    for name in [name for name in copy if _inside(name, group, folder)]:
        del copy[name]
    for node in (*between, *_walk(folder)):
        if node == group:
            continue
        metadata = _read(node / _NEW)
        if metadata["node_type"] == "group":  # as zarr does: no copy inside the copy
            metadata["consolidated_metadata"] = _NO_COPY
        copy[node.relative_to(group).as_posix()] = metadata
    consolidated = {**(consolidated or _NO_COPY), "metadata": _sorted(copy)}
    content["consolidated_metadata"] = consolidated
    _write(group / _NEW, content)


def _sorted(copy: dict[str, Any]) -> dict[str, Any]:
    """Sort nodes by depth and then by group, as zarr requires."""
    names = sorted(copy, key=lambda name: (name.count("/"), name.split("/")))
    return {name: copy[name] for name in names}


def _inside(name: str, group: Path, folder: Path) -> bool:
    """Tell whether a node of the copy is the folder or inside it."""
    node = group / name
    return node == folder or folder in node.parents


def _walk(folder: Path) -> Iterator[Path]:
    """Yield a group or array and everything inside it."""
    if _is_group(folder):
        yield folder
        for inner in sorted(folder.iterdir()):
            if inner.is_dir() and not _UNFINISHED.fullmatch(inner.name):
                yield from _walk(inner)
    elif (folder / ".zarray").exists() or _read(folder / _NEW).get("node_type") == "array":
        yield folder  # an array contains chunks only


def _is_group(folder: Path) -> bool:
    return (folder / ".zgroup").exists() or _read(folder / _NEW).get("node_type") == "group"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):  # missing, or not zarr's
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2).encode())
