"""Rendering of a plane's masks into labels, chunk by chunk; earlier objects keep their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .measure import Measure, measure

if TYPE_CHECKING:
    from napari_sam3.core.masks import Region
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
        In px; 0 if other objects cover it completely.
    centroid : tuple of float
        (row, column) in px, with pixel centres at integers.
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
    for instance in objects:
        y0, x0, y1, x1 = instance.mask.bbox
        top, left = max(y0, rows.start), max(x0, columns.start)
        bottom, right = min(y1, rows.stop), min(x1, columns.stop)
        if top >= bottom or left >= right:
            continue
        part = labels[
            top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
        ]
        crop = instance.mask.crop[top - y0 : bottom - y0, left - x0 : right - x0]
        part[crop & (part == 0)] = instance.id
    return labels


def paint_plane(
    objects: Sequence[Instance],
    shape: tuple[int, int],
    chunk: tuple[int, int],
    write: Callable[[Region, UInt32Array], Any],
) -> tuple[Extent, ...]:
    """Paint a plane in chunks.

    Parameters
    ----------
    objects : sequence of Instance
        In order of precedence: earlier ones keep their pixels.
    shape : tuple of int
        (height, width) of the plane in px.
    chunk : tuple of int
        (height, width) of a chunk; only one is in memory at a time.
    write : callable
        Called with the region and the labels of each chunk.

    Returns
    -------
    tuple of Extent
        One per object, in their order.
    """
    measures = {instance.id: Measure() for instance in objects}
    cells = _by_cell(objects, chunk)
    for region in _chunks(shape, chunk):
        inside = cells.get((region[0].start // chunk[0], region[1].start // chunk[1]), [])
        labels = paint(inside, region)
        write(region, labels)
        for instance in inside:
            measures[instance.id] += _measure(instance, labels, region)
    extents = []
    for instance in objects:
        visible, mask = measures[instance.id], instance.mask
        centroid = visible.centroid if visible.area else (float(mask.row), float(mask.column))
        extents.append(Extent(instance.id, visible.area, centroid, visible.bbox))
    return tuple(extents)


def _chunks(shape: tuple[int, int], chunk: tuple[int, int]) -> Iterator[Region]:
    for top in range(0, shape[0], chunk[0]):
        for left in range(0, shape[1], chunk[1]):
            yield (
                slice(top, min(top + chunk[0], shape[0])),
                slice(left, min(left + chunk[1], shape[1])),
            )


def _by_cell(
    objects: Sequence[Instance], chunk: tuple[int, int]
) -> dict[tuple[int, int], list[Instance]]:
    """Group objects by the chunks, as (row, column), that their bounding boxes intersect."""
    cells: dict[tuple[int, int], list[Instance]] = {}
    for instance in objects:
        y0, x0, y1, x1 = instance.mask.bbox
        for row in range(y0 // chunk[0], (y1 - 1) // chunk[0] + 1):
            for column in range(x0 // chunk[1], (x1 - 1) // chunk[1] + 1):
                cells.setdefault((row, column), []).append(instance)
    return cells


def _measure(instance: Instance, labels: UInt32Array, region: Region) -> Measure:
    """Measure the visible pixels of an object in a chunk of its plane."""
    y0, x0, y1, x1 = instance.mask.bbox
    top, left = max(y0 - region[0].start, 0), max(x0 - region[1].start, 0)
    window = labels[top : max(0, y1 - region[0].start), left : max(0, x1 - region[1].start)]
    return measure(window == instance.id, top + region[0].start, left + region[1].start)
