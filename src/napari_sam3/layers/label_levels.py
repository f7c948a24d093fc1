"""Labels of very large planes as a pyramid, which viewers show without copying whole planes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex

if TYPE_CHECKING:
    from napari_sam3.core.masks import Region

__all__ = ["LARGEST_SIDE", "finest", "holds", "make_levels", "write_levels"]

#: Planes with a longer side get a pyramid. This is the largest texture of graphics cards: beyond
#: it, viewers copy the whole plane and subsample it.
LARGEST_SIDE = 16384
CHUNK = 512
#: The coarsest level fits on a screen.
SMALLEST_SIDE = 2048


def finest(data: Any, *, multiscale: bool) -> Any:
    """Return the finest level of labels."""
    return data[0] if multiscale else data


def make_levels(shape: Sequence[int]) -> list[Any]:
    """Create an empty pyramid of uint32 zarr arrays in memory, which grow when written to.

    Parameters
    ----------
    shape : sequence of int
        Shape of the finest level; rows and columns are the last two axes.

    Returns
    -------
    list of zarr.Array
        Finest first, each half as high and wide as the one before.
    """
    import zarr

    levels, lengths = [], [int(length) for length in shape]
    while True:
        chunks = (1,) * (len(lengths) - 2) + tuple(min(CHUNK, n) for n in lengths[-2:])
        store = zarr.storage.MemoryStore()
        levels.append(zarr.create_array(store, shape=lengths, chunks=chunks, dtype=np.uint32))
        if max(lengths[-2:]) <= SMALLEST_SIDE:
            return levels
        lengths[-2:] = [-(-length // 2) for length in lengths[-2:]]


def write_levels(
    levels: Sequence[Any], plane: PlaneIndex, region: Region, values: npt.NDArray[Any]
) -> None:
    """Replace the labels in a region of a plane, on every level.

    A pixel of a coarser level holds the first label of its square, never a mixture; with a
    fractional ratio, such as 1.5, the label at its centre.

    Parameters
    ----------
    levels : sequence of array-like
        Levels, finest first, with any ratio of lengths along each axis.
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
            continue  # this level skips the plane
        spans, picks = [], []
        for axis, part in zip(plane.axes, region, strict=True):
            there, source = _taken(ratios[axis], part.start, part.stop)
            spans.append(slice(int(there[0]), int(there[-1]) + 1) if there.size else slice(0, 0))
            picks.append(source - part.start)
        kept = values[np.ix_(*picks)]
        # A level that is longer along an axis than the finest one repeats planes.
        for place in itertools.product(*(there for there, _ in index)) if kept.size else ():
            level[PlaneIndex(plane.axes, tuple(map(int, place))).slices(*spans)] = kept


@dataclass(frozen=True)
class _Ratio:
    """Ratio between an axis of a coarse level and of the finest one.

    Parameters
    ----------
    fine, coarse : int
        Lengths in px.
    factor : int
        Integer downsampling factor, if the coarse length is its rounded quotient; 0 if the ratio
        of the lengths is exact.
    """

    fine: int
    coarse: int
    factor: int

    def source(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the px of the finest level that is shown: the first, or the central one."""
        if self.factor:
            return at * self.factor
        return (2 * at + 1) * self.fine // (2 * self.coarse)


def _taken(
    ratio: _Ratio, start: int, stop: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the px of a coarse level that show a span of the finest, and their sources."""
    size = ratio.factor or ratio.fine / ratio.coarse
    first, last = int(start / size) - 1, int(stop / size) + 2
    there = np.arange(max(first, 0), min(last, ratio.coarse), dtype=np.int64)
    source = ratio.source(there)
    inside = (source >= start) & (source < stop)
    return there[inside], source[inside]


def _ratios(fine: Sequence[int], coarse: Sequence[int]) -> list[_Ratio]:
    """Return the ratio of each axis of a coarse level to the finest one.

    Lengths of pyramids are rounded, so the longest axis decides the factor, and the others use
    the same one if possible.
    """
    longest = int(np.argmax(fine))
    shared = _factor(fine[longest], coarse[longest])
    found = []
    for many, few in zip(fine, coarse, strict=True):
        follows = shared and few != many and few in (many // shared, -(-many // shared))
        found.append(_Ratio(int(many), int(few), shared if follows else _factor(many, few)))
    return found


def _factor(fine: int, coarse: int) -> int:
    """Return the integer factor whose rounded quotient is the length; 0 if there is none."""
    ratio = fine / coarse
    power = 2 ** max(0, round(float(np.log2(ratio))))
    for factor in (power, round(ratio), int(ratio), int(ratio) + 1):
        if factor and coarse in (fine // factor, -(-fine // factor)):
            return int(factor)
    return 0


def holds(data: Any, label: int) -> bool:
    """Whether a label is in an array; lazy arrays are read plane by plane."""
    if isinstance(data, np.ndarray) or data.ndim <= 2:
        return bool((np.asarray(data) == label).any())
    return any(holds(np.asarray(data[i]), label) for i in range(data.shape[0]))
