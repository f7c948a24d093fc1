"""Labels of very large planes as a pyramid, so that viewers show them without a copy of it all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .masks import Region
from .planes import PlaneIndex

__all__ = ["LARGEST_SIDE", "finest", "make_levels", "write_levels"]

#: Planes with a longer side get a pyramid. Graphics cards take no larger texture: viewers would
#: copy the whole plane to leave out every other pixel of it.
LARGEST_SIDE = 16384
CHUNK = 512
#: The coarsest level fits on a screen.
SMALLEST_SIDE = 2048


def finest(data: Any, *, multiscale: bool) -> Any:
    """Return the labels themselves, of a pyramid or not."""
    return data[0] if multiscale else data


def make_levels(shape: Sequence[int], dtype: npt.DTypeLike = np.uint32) -> list[Any]:
    """Make a pyramid of background: zarr arrays in memory, which take room when written to.

    Parameters
    ----------
    shape : sequence of int
        Of the finest level; rows and columns are the last two axes.
    dtype : dtype
        Of the labels.

    Returns
    -------
    list of zarr.Array
        Finest first, each half as high and wide as the one before.
    """
    import zarr

    levels, lengths = [], [int(length) for length in shape]
    while True:
        chunks = (1,) * (len(lengths) - 2) + tuple(min(CHUNK, n) for n in lengths[-2:])
        store, kind = zarr.storage.MemoryStore(), np.dtype(dtype)
        levels.append(zarr.create_array(store, shape=lengths, chunks=chunks, dtype=kind))
        if max(lengths[-2:]) <= SMALLEST_SIDE:
            return levels
        lengths[-2:] = [-(-length // 2) for length in lengths[-2:]]


def write_levels(
    levels: Sequence[Any], plane: PlaneIndex, region: Region, values: npt.NDArray[Any]
) -> None:
    """Replace the labels in a region of a plane, on every level.

    Coarser levels hold the first label of each square, never a mixture.

    Parameters
    ----------
    levels : sequence of array-like
        Finest first; the place of a pixel of a coarse level is a multiple of its size.
    plane : PlaneIndex
        A plane of the finest level.
    region : tuple of slice
        Rows and columns in px of the finest level.
    values : ndarray of integers, h x w
        The new labels.
    """
    for level in levels:
        factors = _factors(levels[0].shape, level.shape)
        there = [factors[axis] for axis in plane.other_axes]
        if any(at % factor for at, factor in zip(plane.index, there, strict=True)):
            continue  # this level passes over the plane
        index = tuple(at // factor for at, factor in zip(plane.index, there, strict=True))
        spans, picks = [], []
        for axis, part in zip(plane.axes, region, strict=True):
            factor = factors[axis]
            start, stop = -(-part.start // factor), min(-(-part.stop // factor), level.shape[axis])
            spans.append(slice(start, stop))
            picks.append(slice(start * factor - part.start, None, factor))
        height, width = (max(0, span.stop - span.start) for span in spans)
        kept = values[tuple(picks)][:height, :width]
        if kept.size:
            level[PlaneIndex(plane.axes, index).slices(*spans)] = kept


def _factors(fine: Sequence[int], coarse: Sequence[int]) -> list[int]:
    """Return how many px of the finest level, along each axis, one of a coarse level stands for.

    Lengths were rounded when the pyramid was made, so the longest axis decides, and the others
    follow it if that can be.
    """
    longest = int(np.argmax(fine))
    shared = _factor(fine[longest], coarse[longest])
    return [
        shared
        if few != many and few in (many // shared, -(-many // shared))
        else _factor(many, few)
        for many, few in zip(fine, coarse, strict=True)
    ]


def _factor(fine: int, coarse: int) -> int:
    ratio = fine / coarse
    power = 2 ** round(float(np.log2(ratio)))
    for factor in (power, round(ratio), int(ratio), int(ratio) + 1):
        if factor and coarse in (fine // factor, -(-fine // factor)):
            return int(factor)
    return max(1, round(ratio))
