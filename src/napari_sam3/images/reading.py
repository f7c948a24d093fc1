"""Which pixels of lazy data are read, and no others: regions, pyramid levels, samples."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex, read_plane
from sam3.errors import ImageError

__all__ = ["Span", "chunk_rows", "is_in_memory", "level_for", "read_pixels", "sample_plane"]
__all__ += ["origin_of", "shrink", "to_level", "unreadable"]

Span = tuple[int, int]
Pixels = npt.NDArray[Any]

#: Most bytes that a contrast is found from, and the bytes of chunks that may be read for them.
SAMPLE_BYTES = 4_000_000
READ_BYTES = 16_000_000
# Blocks along each axis of a plane: enough to sample all content, with chunks of any size.
FEWEST_BLOCKS, MOST_BLOCKS = 4, 16
# A level with fewer pixels says too little about the brightest and the darkest ones.
ENOUGH_PIXELS = 512 * 512
# Block side for data that are not cut into chunks, such as memory-mapped files.
BLOCK_SIDE = 256
# Pyramids of odd lengths are rounded, so their factors are not quite powers of two.
ROUNDING = 1.01


def is_in_memory(data: Any) -> bool:
    """Return whether pixels are in memory: a numpy array that is not a memory map."""
    if not isinstance(data, np.ndarray):
        return False
    base: Any = data
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return False
        base = base.base
    return not isinstance(base, mmap.mmap)


def read_pixels(
    data: Any, plane: PlaneIndex, rows: Span, columns: Span, *, rgb: bool = False, name: str = ""
) -> Pixels:
    """Read a region of a plane, in one request.

    Parameters
    ----------
    data : array-like
        One level; see `napari_sam3.core.planes.read_plane`.
    plane : PlaneIndex
        Which plane of it.
    rows, columns : tuple of int
        Start and stop in px of that level.
    rgb : bool
        The last axis holds colours.
    name : str
        What to call the image.

    Raises
    ------
    sam3.errors.ImageError
        Naming the region and the reason, if it cannot be read.
    """
    try:
        return read_plane(data, plane, rgb=rgb, rows=slice(*rows), columns=slice(*columns))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # every kind of storage raises what it likes
        raise unreadable(f"rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to "
                          f"{columns[1] - 1} of {plane}", data, name, error) from error  # fmt: skip


def level_for(levels: Sequence[Any], plane: PlaneIndex, step: int) -> int:
    """Return the coarsest level that still has a pixel for every `step` of the finest one.

    Parameters
    ----------
    levels : sequence of array-like
        A pyramid, finest first. Levels that have fewer planes are passed over.
    plane : PlaneIndex
        Which plane of it.
    step : int
        Pixels of the finest level, along each axis, that may become one.
    """
    best = 0
    for number, level in enumerate(levels):
        same = all(level.shape[axis] == levels[0].shape[axis] for axis in plane.other_axes)
        if same and max(_factors(levels, number, plane)) <= step * ROUNDING:
            best = number
    return best


def to_level(
    levels: Sequence[Any], number: int, plane: PlaneIndex, rows: Span, columns: Span
) -> tuple[Span, Span]:
    """Bring a region from px of the finest level into px of another one, rounded to the nearest.

    A pixel of a level that `level_for` chose is no larger than one of the model, so rounding
    moves the picture by no more than half a pixel of what the model sees.
    """
    spans = []
    shape = plane.shape_of(levels[number].shape)
    for span, factor, length in zip(
        (rows, columns), _factors(levels, number, plane), shape, strict=True
    ):
        start = min(round(span[0] / factor), length - 1)
        spans.append((start, max(start + 1, min(round(span[1] / factor), length))))
    return spans[0], spans[1]


def sample_plane(
    levels: Sequence[Any],
    plane: PlaneIndex,
    *,
    rgb: bool = False,
    name: str = "",
    planes: int = 1,
) -> Pixels:
    """Return a sample of pixels of a plane, to find its contrast limits.

    All of a small plane, or of the coarsest level of a pyramid that is not too small; otherwise
    blocks on a regular grid, each from the middle of a chunk, so that few chunks are read. The
    same data in the same chunks give the same sample.

    Parameters
    ----------
    levels : sequence of array-like
        One array, or a pyramid, finest first.
    plane : PlaneIndex
        Which plane, by its position in the finest level.
    rgb : bool
        The last axis holds colours.
    name : str
        What to call the image.
    planes : int
        How many planes are sampled; they share the number of bytes.

    Returns
    -------
    ndarray
        N values, or N x C with `rgb`; at most `SAMPLE_BYTES` of all planes.

    Raises
    ------
    sam3.errors.ImageError
        If it cannot be read.
    """
    data, plane = _contrast_level(levels, plane)
    height, width = plane.shape_of(data.shape)
    colours = int(data.shape[-1]) if rgb else 1
    pixel = np.dtype(data.dtype).itemsize * colours
    most = SAMPLE_BYTES // planes
    if height * width * pixel <= most:
        whole = read_pixels(data, plane, (0, height), (0, width), rgb=rgb, name=name)
        return whole.reshape(-1, colours) if rgb else whole.reshape(-1)
    edges = [_chunk_edges(data, axis) for axis in plane.axes]
    fewest = max(1, round(FEWEST_BLOCKS / planes**0.5))
    affordable = (READ_BYTES / planes / _chunk_bytes(data, plane)) ** 0.5
    count = int(np.clip(affordable, fewest, MOST_BLOCKS))
    chosen = [_spread(along, count) for along in edges]
    side = max(1, int((most / (len(chosen[0]) * len(chosen[1]) * pixel)) ** 0.5))
    rows, columns = ([_middle(span, side) for span in along] for along in chosen)
    places = [(r, c) for r in rows for c in columns]
    blocks = _read_blocks(data, plane, places, rgb, name)
    return np.concatenate([b.reshape(-1, colours) if rgb else b.reshape(-1) for b in blocks])


def shrink(
    read: Callable[[Span], npt.NDArray[np.uint8]], rows: Span, strip: int, factor: int
) -> npt.NDArray[np.uint8]:
    """Average squares of pixels while a region too large for memory is read strip by strip.

    Parameters
    ----------
    read : callable
        Returns the pixels (h x w or h x w x 3) of a span of rows, all columns of the region.
    rows : tuple of int
        Start and stop of the region.
    strip : int
        Rows to read at once; strips begin at its multiples, so that chunks are read once.
    factor : int
        Side of the squares in px; those at the end of the region may be smaller.
    """
    bounds = [rows[0], *range((rows[0] // strip + 1) * strip, rows[1], strip), rows[1]]
    total: npt.NDArray[np.float64] | None = None
    height = -(-(rows[1] - rows[0]) // factor)
    for start, stop in pairwise(bounds):
        pixels = read((start, stop))
        width = pixels.shape[1]
        groups = (np.arange(start, stop) - rows[0]) // factor
        firsts = np.flatnonzero(np.r_[True, np.diff(groups) > 0])
        sums = np.add.reduceat(pixels, firsts, axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, np.arange(0, width, factor), axis=1)
        if total is None:
            total = np.zeros((height, *sums.shape[1:]))
        total[groups[firsts]] += sums
    assert total is not None, "a region has rows"
    high, wide = (
        np.minimum(factor, length - np.arange(0, length, factor))
        for length in (rows[1] - rows[0], width)
    )
    area = np.multiply.outer(high, wide)
    return np.rint(total / area.reshape(area.shape + (1,) * (total.ndim - 2))).astype(np.uint8)


def _factors(levels: Sequence[Any], number: int, plane: PlaneIndex) -> tuple[float, float]:
    """Return how many px of the finest level a pixel of a level is high and wide."""
    ratios = []
    for fine, coarse in zip(
        plane.shape_of(levels[0].shape), plane.shape_of(levels[number].shape), strict=True
    ):
        ratio = fine / coarse
        # Odd lengths were rounded when the pyramid was made; its pixels are whole multiples.
        ratios.append(float(round(ratio)) if abs(round(ratio) * coarse - fine) < ratio else ratio)
    return ratios[0], ratios[1]


def _contrast_level(levels: Sequence[Any], plane: PlaneIndex) -> tuple[Any, PlaneIndex]:
    """Return the coarsest level that is large enough, and the plane's place in it."""
    chosen = 0
    for number, level in enumerate(levels):
        if np.prod(plane.shape_of(level.shape), dtype=float) >= ENOUGH_PIXELS:
            chosen = number
    finest, data = levels[0].shape, levels[chosen]
    index = tuple(
        min(at * data.shape[axis] // finest[axis], data.shape[axis] - 1)
        for axis, at in zip(plane.other_axes, plane.index, strict=True)
    )
    return data, PlaneIndex(plane.axes, index)


def _chunks(data: Any) -> tuple[Any, ...] | None:
    """Return the chunk lengths of each axis: one number (zarr, HDF5) or all of them (dask)."""
    chunks = getattr(data, "chunks", None)
    fits = isinstance(chunks, tuple) and len(chunks) == len(data.shape)
    return chunks if fits else None


def chunk_rows(data: Any, plane: PlaneIndex) -> int:
    """Return how many rows of a plane lie in one chunk, the largest where they differ."""
    chunks = _chunks(data)
    if chunks is None:
        return BLOCK_SIDE
    along = chunks[plane.axes[0]]
    return int(max(along)) if isinstance(along, tuple) else int(along)


def _chunk_edges(data: Any, axis: int) -> npt.NDArray[np.int64]:
    chunks, length = _chunks(data), int(data.shape[axis])
    along = BLOCK_SIDE if chunks is None else chunks[axis]
    if isinstance(along, tuple):
        return np.cumsum((0, *along), dtype=np.int64)
    return np.append(np.arange(0, length, int(along), dtype=np.int64), length)


def _chunk_bytes(data: Any, plane: PlaneIndex) -> int:
    itemsize = int(np.dtype(data.dtype).itemsize)
    chunks = _chunks(data)
    if chunks is None:
        colours = int(np.prod(data.shape[plane.ndim :], dtype=np.int64))
        return BLOCK_SIDE * BLOCK_SIDE * itemsize * colours
    sides = [int(max(along)) if isinstance(along, tuple) else int(along) for along in chunks]
    return int(np.prod(sides, dtype=np.int64)) * itemsize


def _spread(edges: npt.NDArray[np.int64], count: int) -> list[Span]:
    """Take up to `count` chunks, evenly spread."""
    chunks = len(edges) - 1
    places = np.unique((np.arange(count) * 2 + 1) * chunks // (2 * count))
    return [(int(edges[i]), int(edges[i + 1])) for i in places]


def _middle(span: Span, side: int) -> Span:
    start = span[0] + max(0, (span[1] - span[0] - side) // 2)
    return start, min(span[1], start + side)


def _read_blocks(
    data: Any, plane: PlaneIndex, places: list[tuple[Span, Span]], rgb: bool, name: str
) -> list[Pixels]:
    if not hasattr(data, "__dask_graph__"):
        return [read_pixels(data, plane, r, c, rgb=rgb, name=name) for r, c in places]
    from dask.base import compute

    colours = (slice(None),) if rgb else ()
    blocks = [data[plane.slices(slice(*r), slice(*c)) + colours] for r, c in places]
    try:
        return [np.asarray(block) for block in compute(*blocks)]  # all at once: in parallel
    except MemoryError:
        raise
    except Exception as error:
        where = f"a sample of {len(places)} blocks of {plane}"
        raise unreadable(where, data, name, error) from error


def origin_of(data: Any) -> str:
    """Return the file or folder that an array is read from; "" where it is not known."""
    store = getattr(data, "store", None)
    names = (getattr(data, "filename", None), getattr(store, "origin", None),
             getattr(store, "root", None))  # fmt: skip
    return next((str(name) for name in names if isinstance(name, str | os.PathLike)), "")


def unreadable(where: str, data: Any, name: str, error: Exception) -> ImageError:
    """Return the error for pixels that cannot be read: where, of which file, why, and the remedy.

    Parameters
    ----------
    where : str
        Which pixels.
    data : array-like
        What they belong to.
    name : str
        What to call it, together with its file where that is known; may be empty.
    error : Exception
        Why they cannot be read.
    """
    reason = (str(error) or type(error).__name__).splitlines()[0]
    shape, file = tuple(int(n) for n in data.shape), origin_of(data)
    remedy = "check the file or the connection and try again"
    if isinstance(error, ImportError) or "imagecodecs" in reason:
        remedy = "pip install imagecodecs, which reads more kinds of compression"
    elif file and os.path.exists(file):
        remedy = "the file is damaged or incomplete; copy or write it again"
    called = " ".join(filter(None, (name, repr(file) if file else ""))) or "the image"
    return ImageError(f"{where} of {called} (shape {shape}) cannot be read: {reason}; {remedy}")
