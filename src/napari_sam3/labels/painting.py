"""Masks of a plane into labels, piece by piece: earlier objects keep their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import Region

from .measure import Measure, measure

if TYPE_CHECKING:
    from napari_sam3.core.objects import Instance

__all__ = ["Extent", "paint", "paint_plane"]

UInt32Array = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Extent:
    """The visible part of an object in the labels of a plane.

    Parameters
    ----------
    id : int
        Its label.
    area : int
        In px; 0 if others have all of its pixels.
    centroid : tuple of float
        (row, column) in px, pixel centres at integers.
    bbox : tuple of int
        (row, column, row, column): first and one past the last pixel.
    """

    id: int
    area: int
    centroid: tuple[float, float]
    bbox: tuple[int, int, int, int]


def paint(objects: Sequence[Instance], region: Region) -> UInt32Array:
    """Return the labels of a region (slices with start and stop) of a plane."""
    rows, columns = region
    labels = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint32)
    for one in objects:
        y0, x0, y1, x1 = one.mask.bbox
        top, left = max(y0, rows.start), max(x0, columns.start)
        bottom, right = min(y1, rows.stop), min(x1, columns.stop)
        if top >= bottom or left >= right:
            continue
        part = labels[
            top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
        ]
        part[one.mask.crop[top - y0 : bottom - y0, left - x0 : right - x0] & (part == 0)] = one.id
    return labels


def paint_plane(
    objects: Sequence[Instance],
    shape: tuple[int, int],
    chunk: tuple[int, int],
    write: Callable[[Region, UInt32Array], Any],
) -> tuple[Extent, ...]:
    """Paint a plane chunk by chunk.

    Parameters
    ----------
    objects : sequence of Instance
        The first keeps its pixels.
    shape : tuple of int
        (height, width) of the plane in px.
    chunk : tuple of int
        (height, width) of the pieces; no more than one of them is in memory.
    write : callable
        Given the region of each piece, and its labels.

    Returns
    -------
    tuple of Extent
        One for each object, in their order.
    """
    measured = {one.id: Measure() for one in objects}
    cells = _by_cell(objects, chunk)
    for region in _pieces(shape, chunk):
        inside = cells.get((region[0].start // chunk[0], region[1].start // chunk[1]), [])
        labels = paint(inside, region)
        write(region, labels)
        for one in inside:
            measured[one.id] += _measure(one, labels, region)
    extents = []
    for one in objects:
        seen = measured[one.id]
        centroid = seen.centroid if seen.area else (float(one.mask.row), float(one.mask.column))
        extents.append(Extent(one.id, seen.area, centroid, seen.bbox))
    return tuple(extents)


def _pieces(shape: tuple[int, int], chunk: tuple[int, int]) -> Iterator[Region]:
    for top in range(0, shape[0], chunk[0]):
        for left in range(0, shape[1], chunk[1]):
            yield (
                slice(top, min(top + chunk[0], shape[0])),
                slice(left, min(left + chunk[1], shape[1])),
            )


def _by_cell(
    objects: Sequence[Instance], chunk: tuple[int, int]
) -> dict[tuple[int, int], list[Instance]]:
    cells: dict[tuple[int, int], list[Instance]] = {}
    for one in objects:
        y0, x0, y1, x1 = one.mask.bbox
        for row in range(y0 // chunk[0], (y1 - 1) // chunk[0] + 1):
            for column in range(x0 // chunk[1], (x1 - 1) // chunk[1] + 1):
                cells.setdefault((row, column), []).append(one)
    return cells


def _measure(one: Instance, labels: UInt32Array, region: Region) -> Measure:
    """Measure the visible pixels of an object in a piece of its plane."""
    y0, x0, y1, x1 = one.mask.bbox
    top, left = max(y0 - region[0].start, 0), max(x0 - region[1].start, 0)
    window = labels[top : max(0, y1 - region[0].start), left : max(0, x1 - region[1].start)]
    return measure(window == one.id, top + region[0].start, left + region[1].start)
