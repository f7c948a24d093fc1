"""A trial of whether a zarr array gives back the label ids that are written into it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

__all__ = ["check_exact", "is_exact"]

#: Codecs that give back what was put into them, in the names of zarr 2 and 3.
_EXACT = {
    *("blosc", "bytes", "bz2", "crc32c", "endian", "gzip", "lz4", "lzma", "packbits", "shuffle"),
    *("sharding_indexed", "transpose", "vlen-bytes", "zlib", "zstd"),
}
#: Most ids on trial, and the most that one axis of the trial has.
MOST, LONGEST = 1 << 22, 256
#: Largest id on trial: more than a half-precision float counts, and less than a single one does.
LARGEST = 1 << 20


def check_exact(data: Any, what: str) -> None:
    """Raise ImageError if the codecs of a zarr array change label ids.

    Parameters
    ----------
    data : array-like
        Labels; arrays that are not of zarr are exact.
    what : str
        Name of the labels in the message.
    """
    if not is_exact(data):
        names = ", ".join(name for name in _codecs(data.metadata) if name not in _EXACT)
        raise ImageError(
            f"{what} is not a label image: its compression ({names}) changes the label ids. "
            "Expected lossless compression. Write the labels again, for example with zstd."
        )


def is_exact(data: Any) -> bool:
    """Return whether label ids survive the codecs of an array.

    Codecs that are not known to be exact, of any package, are tried on ids in memory.
    One that cannot be tried, because it only reads, counts as exact.
    """
    metadata = getattr(data, "metadata", None)
    if metadata is None or all(name in _EXACT for name in _codecs(metadata)):
        return True
    kind = np.dtype(data.dtype)
    if kind.kind not in "biuf":
        return True
    shape = _trial_shape(metadata)
    try:
        return all(np.array_equal(_round_trip(metadata, ids), ids) for ids in _trials(shape, kind))
    except Exception:  # each codec raises exceptions of its own
        return True


def _codecs(metadata: Any) -> list[str]:
    """Return the names of all codecs of an array, those inside of shards too."""
    if metadata.zarr_format == 2:
        parts = [*(metadata.filters or ()), metadata.compressor]
        return [_name(part) for part in parts if part is not None]
    return [name for codec in metadata.codecs for name in _names(codec.to_dict())]


def _names(codec: Any) -> list[str]:
    inside = codec.get("configuration", {}).get("codecs", ())
    return [codec["name"], *(name for one in inside for name in _names(one))]


def _name(codec: Any) -> str:
    known = getattr(codec, "codec_id", None)
    return str(known or codec.to_dict()["name"])


def _largest(kind: np.dtype[Any]) -> int:
    if kind.kind == "b":
        return 1
    if kind.kind == "f":
        return min(LARGEST, 1 << (np.finfo(kind).nmant + 1))
    return min(LARGEST, int(np.iinfo(kind).max))


def _trials(shape: tuple[int, ...], kind: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield ids at random, and ids that rise slowly: codecs that predict values keep the former."""
    largest = _largest(kind)
    yield np.random.default_rng(0).integers(0, largest, shape, endpoint=True).astype(kind)
    yield (np.arange(math.prod(shape)).reshape(shape) // 3 % (largest + 1)).astype(kind)


def _chunk(metadata: Any) -> tuple[int, ...]:
    grid = metadata.chunks if metadata.zarr_format == 2 else metadata.chunk_grid.chunk_shape
    return tuple(int(length) for length in grid)


def _trial_shape(metadata: Any) -> tuple[int, ...]:
    """Return the shape of a chunk; of a part if it is large, which in a shard is an inner chunk."""
    shape = _chunk(metadata)
    if math.prod(shape) <= MOST:
        return shape
    if "sharding_indexed" in _codecs(metadata):
        outer = metadata.codecs[0].to_dict()  # a transposition before the shard permutes the axes
        inner = outer["configuration"]["chunk_shape"] if "sharding" in outer["name"] else shape
        return tuple(int(length) for length in inner)
    return tuple(min(length, LONGEST) for length in shape)


def _round_trip(metadata: Any, ids: npt.NDArray[Any]) -> Any:
    """Write ids into an array in memory that has the same codecs, and read them back."""
    import zarr
    from zarr.storage import MemoryStore, StorePath

    about = replace(metadata, shape=ids.shape)
    if metadata.zarr_format == 2:
        about = replace(about, chunks=ids.shape)
    elif _chunk(metadata) != ids.shape:
        about = replace(about, chunk_grid=replace(metadata.chunk_grid, chunk_shape=ids.shape))
    store: Any = StorePath(MemoryStore())
    trial = zarr.Array(zarr.AsyncArray(about, store))
    trial[...] = ids
    return trial[...]
