"""The largest label of an array that other programs write to, read again on each call."""

from __future__ import annotations

import itertools
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LargestLabel"]

#: Files in the folder of a zarr array that are not chunks.
METADATA = ("zarr.json", ".zarray", ".zattrs")
#: Bytes from which on an array is read on several cores, and of the part that one reads at once.
LARGE, PART = 1 << 26, 1 << 24
CORES = 4


class LargestLabel:
    """Find the largest label without relying on its earlier value.

    Other tools and widgets write to the same array without notice, so an earlier value could give
    the same id to a second object. Arrays in memory are read completely, on several cores (about
    5 ms for 16 million px of uint32 on one), zarr arrays chunk by chunk, and only the chunks
    rewritten since the last call.
    """

    def __init__(self) -> None:
        # By name of a chunk: its stamp, which changes with each write, and its largest label.
        self._chunks: dict[str, tuple[Any, int]] = {}

    def of(self, data: Any) -> int:
        """Return the largest label of an array; 0 for background alone.

        Parameters
        ----------
        data : array-like of integers
            numpy, zarr, or anything with ``shape``, ``ndim`` and basic indexing.
        """
        stamps = None if isinstance(data, np.ndarray) else _stamps(data)
        if stamps is None:
            self._chunks = {}
            return _whole(data)
        previous, self._chunks = self._chunks, {}
        for name, (stamp, slices) in stamps.items():
            before = previous.get(name)
            if before is not None and _same(before[0], stamp):
                self._chunks[name] = before
            else:
                self._chunks[name] = stamp, int(np.max(np.asarray(data[slices]), initial=0))
        background = int(data.fill_value or 0)
        return max((largest for _, largest in self._chunks.values()), default=background)


def _whole(data: Any) -> int:
    """Return the largest value, reading one plane at a time from disk."""
    if isinstance(data, np.ndarray):
        return _of_array(data)
    if data.ndim <= 2:
        return int(np.max(np.asarray(data), initial=0))
    return max((_whole(np.asarray(data[i])) for i in range(data.shape[0])), default=0)


def _of_array(data: npt.NDArray[Any]) -> int:
    """Return the largest value of an array, of a large one on several cores."""
    if data.nbytes < LARGE:
        return int(np.max(data, initial=0))
    data = data.reshape(-1) if data.flags.c_contiguous else data
    step = max(1, len(data) * PART // data.nbytes)
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    with ThreadPoolExecutor(min(CORES, os.cpu_count() or 1), "napari-sam3-labels") as pool:
        return max(pool.map(lambda part: int(np.max(part, initial=0)), parts))


def _stamps(data: Any) -> dict[str, tuple[Any, tuple[slice, ...]]] | None:
    """Return a stamp and the slices of each stored chunk; None if chunks cannot be identified."""
    if not type(data).__module__.startswith("zarr."):
        return None
    stored = _stored(data)
    if stored is None:
        return None
    lengths = data.shards or data.chunks
    stamps = {}
    for name, stamp in stored:
        # "c/0/12/3", "0/12/3" or "0.12.3", depending on the array's metadata.
        numbers = [int(number) for number in re.findall(r"\d+", name)]
        if len(numbers) != data.ndim:
            return None
        spans = zip(numbers, lengths, strict=True)
        slices = tuple(slice(number * length, (number + 1) * length) for number, length in spans)
        stamps[f"{id(data.store)} {data.path} {lengths} {name}"] = stamp, slices
    return stamps


def _stored(data: Any) -> list[tuple[str, Any]] | None:
    """List the chunks of a zarr array by name, each with a stamp that changes on writing."""
    from zarr.storage import LocalStore, MemoryStore

    if isinstance(data.store, MemoryStore):
        # The buffers themselves, since a rewritten chunk has another buffer.
        buffers = getattr(data.store, "_store_dict", None)
        prefix = f"{data.path}/" if data.path else ""
        if buffers is None:
            return None
        names = [name for name in buffers if name.startswith(prefix)]
        chunks = [(name.removeprefix(prefix), buffers[name]) for name in names]
        return [(name, stamp) for name, stamp in chunks if name not in METADATA]
    if isinstance(data.store, LocalStore):
        folder = Path(data.store.root) / data.path
        files = (
            Path(place, name)
            for place, _, names in os.walk(folder)
            for name in itertools.filterfalse(METADATA.__contains__, names)
        )
        return [(file.relative_to(folder).as_posix(), _file_stamp(file)) for file in files]
    return None


def _file_stamp(file: Path) -> tuple[int, ...]:
    try:
        stat = file.stat()
    except FileNotFoundError:  # being replaced: a stamp that equals no other
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _same(before: Any, now: Any) -> bool:
    if isinstance(now, tuple):
        return bool(now) and bool(before == now)
    return before is now
