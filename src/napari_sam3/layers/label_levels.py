"""Labels of very large planes as a pyramid, so that viewers show them without a copy of it all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import Region
from napari_sam3.core.planes import PlaneIndex

__all__ = ["LARGEST_SIDE", "finest", "holds", "make_levels", "write_levels"]

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

    Coarser levels hold the first label of each square, never a mixture; where a pixel stands for
    no whole number of those of the finest level, such as 1.5, the label in its middle.

    Parameters
    ----------
    levels : sequence of array-like
        Finest first, with any ratio of lengths along each axis.
    plane : PlaneIndex
        A plane of the finest level.
    region : tuple of slice
        Rows and columns in px of the finest level.
    values : ndarray of integers, h x w
        The new labels.
    """
    for level in levels:
        ratios = _ratios(levels[0].shape, level.shape)
        fixed = dict(zip(plane.other_axes, plane.index, strict=True))
        index = [_taken(ratios[axis], at, at + 1) for axis, at in fixed.items()]
        if not all(there.size for there, _ in index):
            continue  # this level passes over the plane
        spans, picks = [], []
        for axis, part in zip(plane.axes, region, strict=True):
            there, source = _taken(ratios[axis], part.start, part.stop)
            spans.append(slice(int(there[0]), int(there[-1]) + 1) if there.size else slice(0, 0))
            picks.append(source - part.start)
        kept = values[np.ix_(*picks)]
        # A level that is longer along an axis than the finest one shows a plane several times.
        for place in itertools.product(*(there for there, _ in index)) if kept.size else ():
            level[PlaneIndex(plane.axes, tuple(map(int, place))).slices(*spans)] = kept


@dataclass(frozen=True)
class _Ratio:
    """How an axis of a coarse level stands to that of the finest one.

    Parameters
    ----------
    fine, coarse : int
        Their lengths in px.
    factor : int
        How many px of the finest level one px stands for, where that is a whole number and the
        length was rounded; 0 where the ratio of the lengths is the true one.
    """

    fine: int
    coarse: int
    factor: int

    def source(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the px of the finest level that are shown: first of each square, or its middle."""
        if self.factor:
            return at * self.factor
        return (2 * at + 1) * self.fine // (2 * self.coarse)


def _taken(
    ratio: _Ratio, start: int, stop: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the px of a coarse level whose label lies in a span of the finest, and where."""
    size = ratio.factor or ratio.fine / ratio.coarse
    first, last = int(start / size) - 1, int(stop / size) + 2
    there = np.arange(max(first, 0), min(last, ratio.coarse), dtype=np.int64)
    source = ratio.source(there)
    inside = (source >= start) & (source < stop)
    return there[inside], source[inside]


def _ratios(fine: Sequence[int], coarse: Sequence[int]) -> list[_Ratio]:
    """Return how each axis of a coarse level stands to the finest one.

    Lengths were rounded when the pyramid was made, so the longest axis decides, and the others
    follow it if that can be.
    """
    longest = int(np.argmax(fine))
    shared = _factor(fine[longest], coarse[longest])
    found = []
    for many, few in zip(fine, coarse, strict=True):
        follows = shared and few != many and few in (many // shared, -(-many // shared))
        found.append(_Ratio(int(many), int(few), shared if follows else _factor(many, few)))
    return found


def _factor(fine: int, coarse: int) -> int:
    """Return the whole factor whose rounding gives the length; 0 if there is none."""
    ratio = fine / coarse
    power = 2 ** max(0, round(float(np.log2(ratio))))
    for factor in (power, round(ratio), int(ratio), int(ratio) + 1):
        if factor and coarse in (fine // factor, -(-fine // factor)):
            return int(factor)
    return 0


def holds(data: Any, label: int) -> bool:
    """Whether a label is in an array, one plane at a time where the data are not in memory."""
    if isinstance(data, np.ndarray) or data.ndim <= 2:
        return bool((np.asarray(data) == label).any())
    return any(holds(np.asarray(data[i]), label) for i in range(data.shape[0]))
