"""The levels of a label image in OME-Zarr: coarser ones made from finer ones, labels kept apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes

if TYPE_CHECKING:
    import zarr

__all__ = ["add_level", "coarser", "halved", "refill"]


def add_level(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    chunks: Sequence[int],
    axes: ImageAxes,
) -> zarr.Array[Any]:
    """Make an array of labels that are all 0, as OME-Zarr of the group's version has it."""
    new = group.metadata.zarr_format == 3
    return group.create_array(
        name,
        shape=tuple(shape),
        dtype=dtype,
        chunks=tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True)),
        fill_value=0,
        dimension_names=axes.names if new else None,
        chunk_key_encoding={"name": "default" if new else "v2", "separator": "/"},
        overwrite=True,
    )


def coarser(
    group: zarr.Group, name: str, fine: zarr.Array[Any], axes: ImageAxes
) -> zarr.Array[Any]:
    """Make a level with half the rows and columns, a chunk at a time."""
    shape = (*fine.shape[:-2], *(-(-length // 2) for length in fine.shape[-2:]))
    coarse = add_level(group, name, shape, fine.dtype, fine.chunks, axes)
    refill(coarse, fine)
    return coarse


def refill(coarse: zarr.Array[Any], fine: zarr.Array[Any]) -> None:
    """Make the pixels of a level from those of the next finer one, a chunk at a time.

    Where it has half the rows and columns, by `halved`; in other pyramids, such as those that get
    flatter too, each pixel is the one of the finer level that lies at its centre.
    """
    half = (*fine.shape[:-2], *(-(-length // 2) for length in fine.shape[-2:]))
    for region in _chunks(coarse):
        if coarse.shape == half:
            rows, columns = (
                slice(2 * part.start, min(2 * part.stop, length))
                for part, length in zip(region[-2:], fine.shape[-2:], strict=True)
            )
            pixels = halved(np.asarray(fine[(*region[:-2], rows, columns)]))
        else:
            pixels = _centres(coarse, fine, region)
        # Nothing is written where nothing is and was.
        if pixels.any() or np.asarray(coarse[region]).any():
            coarse[region] = pixels


def _centres(
    coarse: zarr.Array[Any], fine: zarr.Array[Any], region: tuple[slice, ...]
) -> npt.NDArray[Any]:
    places = []
    for part, few, many in zip(region, coarse.shape, fine.shape, strict=True):
        # Lengths were rounded when the pyramid was made: 5 to 2 or 3 is a half.
        ratio = many / few
        factor = round(ratio) if few in (many // round(ratio), -(-many // round(ratio))) else ratio
        centres = (np.arange(part.start, part.stop) + 0.5) * factor
        places.append(np.minimum(centres.astype(int), many - 1))
    around = tuple(slice(int(one[0]), int(one[-1]) + 1) for one in places)
    pixels = np.asarray(fine[around])
    return pixels[np.ix_(*(one - one[0] for one in places))]


def _chunks(array: zarr.Array[Any]) -> Iterator[tuple[slice, ...]]:
    """Go through the regions of an array's chunks."""
    ranges = [
        [slice(at, min(at + step, length)) for at in range(0, length, step)]
        for step, length in zip(array.chunks, array.shape, strict=True)
    ]
    return itertools.product(*ranges)


def halved(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return labels with half the rows and columns (rounded up), by the mode of each 2 x 2 pixels.

    Parameters
    ----------
    labels : ndarray of integers, ... x H x W

    Notes
    -----
    The mode of four without sorting is W. Silversmith's COUNTLESS (2018): two equal pixels are a
    mode, so a few comparisons are enough. Of two pairs the one with the first pixel is taken, and
    the first pixel where all differ.
    """
    odd = [(0, 0)] * (labels.ndim - 2) + [(0, length % 2) for length in labels.shape[-2:]]
    if any(after for _, after in odd):
        labels = np.pad(labels, odd, mode="edge")
    a, b = labels[..., ::2, ::2], labels[..., ::2, 1::2]
    c, d = labels[..., 1::2, ::2], labels[..., 1::2, 1::2]
    alone = (a != b) & (a != c) & (a != d)
    others = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where(alone, others, a)
