"""Read no more of lazy data than needed: regions, pyramid levels and samples."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex, describe_image, read_plane
from sam3.errors import ImageError

__all__ = ["Span", "chunk_rows", "is_in_memory", "level_for", "read_pixels", "sample_plane"]
__all__ += ["origin_of", "reading_remedy", "shrink", "to_level", "unreadable"]

Span = tuple[int, int]
Pixels = npt.NDArray[Any]

#: Most bytes of pixels in a sample for contrast limits, and of the chunks read for it.
SAMPLE_BYTES = 4_000_000
READ_BYTES = 16_000_000
# Sampled blocks along each axis of a plane, for chunks of any size.
FEWEST_BLOCKS, MOST_BLOCKS = 4, 16
# The averaging in a level with fewer pixels hides the brightest and the darkest ones.
ENOUGH_PIXELS = 512 * 512
# Side of a block in data without chunks, such as memory-mapped files.
BLOCK_SIDE = 256
# Odd lengths are rounded in a pyramid, so its factors are not exact powers of two.
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
        Which plane of the level.
    rows, columns : tuple of int
        Start and stop in px of that level.
    rgb : bool
        Whether the last axis holds colours.
    name : str
        Name of the image in error messages.

    Raises
    ------
    sam3.errors.ImageError
        If the region cannot be read, or the plane has another size than the image states or holds
        no real numbers. The message names it and the reason.
    """
    try:
        pixels = read_plane(data, plane, rgb=rgb, rows=slice(*rows), columns=slice(*columns))
        return _checked(pixels, data, plane, (rows, columns), rgb, name)
    except ImageError:
        raise
    except Exception as error:  # each storage raises exceptions of its own
        raise unreadable(f"rows {rows[0]} to {rows[1] - 1}, columns {columns[0]} to "
                          f"{columns[1] - 1} of {plane}", data, name, error) from error  # fmt: skip


def level_for(levels: Sequence[Any], plane: PlaneIndex, step: int) -> int:
    """Return the coarsest level that still has a pixel for every `step` of the finest one.

    Parameters
    ----------
    levels : sequence of array-like
        A pyramid, finest first. Levels with fewer planes are skipped.
    plane : PlaneIndex
        Which plane of the pyramid.
    step : int
        Number of px of the finest level, along each axis, that one pixel may stand for.
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
    """Convert a region from px of the finest level to px of another level, rounded.

    ::

        finest level   |  rows[0] ........ rows[1]  |    H px
        level n        | rows[0]/f .. rows[1]/f |        H/f px

    A pixel of a level that `level_for` chose is no larger than a pixel of the model's view, so
    rounding shifts the view by half of its pixels at most.
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
    """Return a sample of the pixels of a plane, for its contrast limits.

    A small plane, or the coarsest level of a pyramid that is large enough, is returned whole.
    From any other plane the sample takes blocks on a regular grid, each from the middle of a
    chunk, so that few chunks are read::

        +-------+-------+-------+
        |       |       |       |     chunks of the plane
        |  ###  |       |  ###  |     ### blocks of the sample
        |       |       |       |
        +-------+-------+-------+

    Equal data in equal chunks give equal samples.

    Parameters
    ----------
    levels : sequence of array-like
        One array, or a pyramid, finest first.
    plane : PlaneIndex
        Position of the plane in the finest level.
    rgb : bool
        Whether the last axis holds colours.
    name : str
        Name of the image in error messages.
    planes : int
        Number of planes that are sampled. They share `SAMPLE_BYTES`.

    Returns
    -------
    ndarray
        N values, or N x C with `rgb`, of at most ``SAMPLE_BYTES / planes``.

    Raises
    ------
    sam3.errors.ImageError
        If the sample cannot be read.
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
    """Downsample a region too large for memory by the mean of squares, read in strips.

    Parameters
    ----------
    read : callable
        Function of a span of rows that returns their pixels, h x w or h x w x 3, in all
        columns of the region.
    rows : tuple of int
        Start and stop of the region.
    strip : int
        Number of rows to read at once. Strips start at its multiples, so that each chunk is read
        once.
    factor : int
        Side of the squares in px. Those at the edges of the region may be smaller.
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
    """Return the height and width of a pixel of a level, in px of the finest level."""
    ratios = []
    for fine, coarse in zip(
        plane.shape_of(levels[0].shape), plane.shape_of(levels[number].shape), strict=True
    ):
        ratio = fine / coarse
        # The pyramid's odd lengths were rounded, but its pixels are integer multiples.
        ratios.append(float(round(ratio)) if abs(round(ratio) * coarse - fine) < ratio else ratio)
    return ratios[0], ratios[1]


def _contrast_level(levels: Sequence[Any], plane: PlaneIndex) -> tuple[Any, PlaneIndex]:
    """Return the coarsest level that is large enough, and the plane's position in it."""
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
    """Return the chunk length (zarr, HDF5) or all chunk lengths (dask) of each axis."""
    chunks = getattr(data, "chunks", None)
    fits = isinstance(chunks, tuple) and len(chunks) == len(data.shape)
    return chunks if fits else None


def chunk_rows(data: Any, plane: PlaneIndex) -> int:
    """Return the number of rows of a plane in its largest chunk."""
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
    """Return the spans of up to `count` evenly spaced chunks."""
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
        read = [np.asarray(block) for block in compute(*blocks)]  # all at once: in parallel
        return [
            _checked(block, data, plane, place, rgb, name)
            for block, place in zip(read, places, strict=True)
        ]
    except ImageError:
        raise
    except Exception as error:
        where = f"a sample of {len(places)} blocks of {plane}"
        raise unreadable(where, data, name, error) from error


def _checked(
    pixels: Pixels, data: Any, plane: PlaneIndex, place: tuple[Span, Span], rgb: bool, name: str
) -> Pixels:
    """Return pixels read from a region; raise ImageError unless they are as the image states.

    A stack that states one shape and data type for all its files reads each file as it is.
    """
    expected = tuple(stop - start for start, stop in place)
    colours = (int(data.shape[-1]),) if rgb else ()
    whole = expected == plane.shape_of(data.shape)
    (top, bottom), (left, right) = place
    region = "" if whole else f"rows {top} to {bottom - 1}, columns {left} to {right - 1} of "
    where = f"{region}{plane} of {describe_image(data.shape, name)}"
    if pixels.shape != (*expected, *colours):
        raise ImageError(
            f"{where} has a different size: {_lengths(pixels.shape)}. Expected "
            f"{_lengths((*expected, *colours))}, as the image states. Pad or crop the plane."
        )
    if pixels.dtype.kind not in "biuf":
        raise ImageError(
            f"{where} has the data type {pixels.dtype}. Expected real numbers. Convert the plane."
        )
    return pixels


def _lengths(shape: Sequence[int]) -> str:
    return f"{' x '.join(map(str, shape))} px" if shape else "a single value"


def origin_of(data: Any) -> str:
    """Return the file or folder that an array is read from, "" if unknown."""
    store = getattr(data, "store", None)
    names = (getattr(data, "filename", None), getattr(store, "origin", None),
             getattr(store, "root", None))  # fmt: skip
    return next((str(name) for name in names if isinstance(name, str | os.PathLike)), "")


def unreadable(where: str, data: Any, name: str, error: Exception) -> ImageError:
    """Return the error for pixels that cannot be read, with the file, the reason and a remedy.

    Parameters
    ----------
    where : str
        Which pixels.
    data : array-like
        Array that they belong to.
    name : str
        Name of the image, which may be empty. The message adds its file if that is known.
    error : Exception
        Why they cannot be read.
    """
    reason = (str(error) or type(error).__name__).splitlines()[0]
    shape, file = tuple(int(n) for n in data.shape), origin_of(data)
    remedy = reading_remedy(error, file)
    called = " ".join(filter(None, (name, repr(file) if file else ""))) or "the image"
    return ImageError(
        f"{where} of {called} (shape {shape}) cannot be read: {reason}. Expected pixels. {remedy}"
    )


def reading_remedy(error: Exception, file: str = "") -> str:
    """Return the remedy for an error of reading, from a file if that is known."""
    if isinstance(error, ImportError) or "imagecodecs" in str(error):
        return "pip install imagecodecs, which reads more kinds of compression."
    if isinstance(error, MemoryError):
        return "Free memory, or save the image in chunks, as OME-Zarr."
    if file and os.path.exists(file):
        return "The file is damaged or incomplete. Copy or write it again."
    return "Check the file or the connection and try again."
