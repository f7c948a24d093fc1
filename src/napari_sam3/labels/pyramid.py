"""Levels of a label image in OME-Zarr: coarser levels that keep labels apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import zarr

    from napari_sam3.core.axes import ImageAxes

__all__ = ["add_level", "coarser", "halved", "refill"]


def add_level(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    chunks: Sequence[int],
    axes: ImageAxes,
) -> zarr.Array[Any]:
    """Create an array of labels that are all 0, in the OME-Zarr version of the group."""
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
    """Create a level with half the rows and columns, chunk by chunk."""
    shape = (*fine.shape[:-2], *(-(-length // 2) for length in fine.shape[-2:]))
    coarse = add_level(group, name, shape, fine.dtype, fine.chunks, axes)
    refill(coarse, fine)
    return coarse


def refill(coarse: zarr.Array[Any], fine: zarr.Array[Any]) -> None:
    """Compute the pixels of a level from the next finer one, chunk by chunk.

    For half the rows and columns, by `halved`. In other pyramids, such as those that are also
    reduced along z, each pixel is the mode of those it covers, with ties against the background.
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
            pixels = _modes(coarse, fine, region)
        # Skip chunks that are and remain empty.
        if pixels.any() or np.asarray(coarse[region]).any():
            coarse[region] = pixels


def _modes(
    coarse: zarr.Array[Any], fine: zarr.Array[Any], region: tuple[slice, ...]
) -> npt.NDArray[Any]:
    """Return the mode of the pixels that each pixel of a region of the coarser level covers."""
    indices = []
    for part, few, many in zip(region, coarse.shape, fine.shape, strict=True):
        # Lengths were rounded when the pyramid was made: from 5 to 2 or 3 is a factor of 2.
        ratio = many / few
        whole = max(round(ratio), 1)
        factor = whole if few in (many // whole, -(-many // whole)) else ratio
        edges = np.arange(part.start, part.stop + 1) * factor
        first = np.minimum((edges[:-1] + 0.5).astype(int), many - 1)
        last = np.clip((edges[1:] + 0.5).astype(int) - 1, first, many - 1)
        steps = np.arange(int((last - first).max()) + 1)
        # The last pixel of a shorter block is repeated.
        indices.append(np.minimum(first[:, None] + steps, last[:, None]))
    around = tuple(slice(int(index.min()), int(index.max()) + 1) for index in indices)
    pixels = np.asarray(fine[around])
    pixels = pixels[np.ix_(*(index.ravel() - index.min() for index in indices))]
    pixels = pixels.reshape([length for index in indices for length in index.shape])
    ndim = len(indices)
    blocks = pixels.transpose(*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2))
    return _mode(blocks.reshape(*blocks.shape[:ndim], -1))


def _mode(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the most frequent value along the last axis, the largest in a tie."""
    values = np.sort(values, axis=-1)
    best = values[..., 0].copy()
    most, count = np.ones(best.shape, int), np.ones(best.shape, int)
    for at in range(1, values.shape[-1]):
        count = np.where(values[..., at] == values[..., at - 1], count + 1, 1)
        better = count >= most
        best[better], most[better] = values[..., at][better], count[better]
    return best


def _chunks(array: zarr.Array[Any]) -> Iterator[tuple[slice, ...]]:
    """Yield the regions of an array's chunks."""
    ranges = [
        [slice(at, min(at + step, length)) for at in range(0, length, step)]
        for step, length in zip(array.chunks, array.shape, strict=True)
    ]
    return itertools.product(*ranges)


def halved(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Halve the rows and columns of labels (rounding up) by the mode of each 2 x 2 pixels.

    Parameters
    ----------
    labels : ndarray of integers, ... x H x W

    Notes
    -----
    The mode of four values without sorting is COUNTLESS by W. Silversmith (2018): any two equal
    pixels are a mode, so a few comparisons suffice. Of two pairs, the one with the first pixel is
    chosen; if all differ, the first pixel.
    """
    odd = [(0, 0)] * (labels.ndim - 2) + [(0, length % 2) for length in labels.shape[-2:]]
    if any(after for _, after in odd):
        labels = np.pad(labels, odd, mode="edge")
    a, b = labels[..., ::2, ::2], labels[..., ::2, 1::2]
    c, d = labels[..., 1::2, ::2], labels[..., 1::2, 1::2]
    alone = (a != b) & (a != c) & (a != d)
    others = np.where((b == c) | (b == d), b, np.where(c == d, c, a))
    return np.where(alone, others, a)
