"""Iteration over the planes and objects of label images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam3.core.masks import PlaneMask
from napari_sam3.images.reading import unreadable
from sam3.errors import ImageError, Sam3Error

__all__ = ["check_labels", "id_range", "objects", "plane_positions", "read_region"]

#: Planes above this size are read in tiles.
WHOLE_PIXELS = 1 << 26
TILE = 4096
# find_objects returns a list as long as the largest label.
_MANY_LABELS = 1 << 20

Position = tuple[int, ...]
Box = tuple[int, int, int, int]


def check_labels(labels: Any) -> None:
    """Raise if data are not a label image.

    Parameters
    ----------
    labels : array-like, ... x H x W
        numpy, dask, zarr or anything with ``shape``, ``dtype`` and basic indexing.

    Raises
    ------
    sam3.errors.ImageError
        If they are not an array, or there are fewer than two axes, no pixels, or values that are
        not integers.
    """
    try:
        shape, dtype = tuple(labels.shape), np.dtype(labels.dtype)
    except (AttributeError, TypeError) as error:
        kind = type(labels)
        raise ImageError(
            f"labels are not an array: {kind.__module__}.{kind.__qualname__}. Expected a numpy, "
            "dask or zarr array of integers. Convert them with numpy.asarray, or open a file with "
            "napari_sam3.read_labels."
        ) from error
    if len(shape) < 2 or not math.prod(shape):
        raise ImageError(
            f"labels of shape {shape} have no pixels. Expected at least rows and columns. Choose "
            "other labels."
        )
    if dtype.kind not in "iub":
        raise ImageError(
            f"labels of type {dtype} cannot be exported. Expected integers, one per "
            "object. Convert them."
        )


def plane_positions(labels: Any) -> Iterator[Position]:
    """Iterate over the indices of all planes, along the axes before rows and columns."""
    return itertools.product(*(range(int(length)) for length in labels.shape[:-2]))


def read_region(
    labels: Any, position: Position, rows: slice = slice(None), columns: slice = slice(None)
) -> npt.NDArray[Any]:
    """Read a region of a plane, h x w; booleans become 0 and 1."""
    try:
        pixels = np.asarray(labels[(*position, rows, columns)])
    except Sam3Error:
        raise
    except Exception as error:  # decoders raise any kind
        at = f"plane {' '.join(map(str, position))}" if position else "the plane"
        raise unreadable(at, labels, "the labels", error) from error
    return pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels


def objects(labels: Any, position: Position) -> Iterator[tuple[int, PlaneMask]]:
    """Iterate over the objects of a plane.

    Small planes are read whole. Of a large plane, only one tile and the objects that start in it
    are in memory.

    Parameters
    ----------
    labels : array-like, ... x H x W
        0 is background.
    position : tuple of int
        Index of the plane along the axes before rows and columns.

    Yields
    ------
    (int, PlaneMask)
        Label and pixels; each label once per plane.
    """
    height, width = (int(length) for length in labels.shape[-2:])
    if height * width <= WHOLE_PIXELS:
        yield from _cut_out(read_region(labels, position))
        return
    boxes: dict[int, Box] = {}
    for rows, columns in _tiles(height, width):
        for label, box in _boxes(read_region(labels, position, rows, columns)):
            found = _moved(box, rows.start, columns.start)
            known = boxes.get(label, found)
            top, left = min(known[0], found[0]), min(known[1], found[1])
            boxes[label] = top, left, max(known[2], found[2]), max(known[3], found[3])
    yield from _by_tiles(labels, position, boxes)


def id_range(labels: Any) -> tuple[int, int]:
    """Return the lowest and the highest label including 0, reading one tile at a time."""
    lowest = highest = 0
    for position in plane_positions(labels):
        for rows, columns in _tiles(*labels.shape[-2:]):
            part = read_region(labels, position, rows, columns)
            lowest = min(lowest, int(part.min(initial=0)))
            highest = max(highest, int(part.max(initial=0)))
    return lowest, highest


def _by_tiles(
    labels: Any, position: Position, boxes: dict[int, Box]
) -> Iterator[tuple[int, PlaneMask]]:
    """Yield objects from regions that are read once for all objects starting in a tile."""
    groups: dict[tuple[int, int], list[int]] = {}
    for label, box in boxes.items():
        groups.setdefault((box[0] // TILE, box[1] // TILE), []).append(label)
    for group in sorted(groups):
        small = [label for label in groups[group] if _is_small(boxes[label])]
        large = [[label] for label in groups[group] if not _is_small(boxes[label])]
        for together in ([small] if small else []) + large:
            around = np.array([boxes[label] for label in together])
            (top, left), (bottom, right) = around[:, :2].min(axis=0), around[:, 2:].max(axis=0)
            pixels = read_region(labels, position, slice(top, bottom), slice(left, right))
            for label in together:
                box = _moved(boxes[label], -top, -left)
                mask = pixels[box[0] : box[2], box[1] : box[3]] == label
                yield label, PlaneMask(boxes[label][0], boxes[label][1], mask)


def _is_small(box: Box) -> bool:
    return max(box[2] - box[0], box[3] - box[1]) <= TILE


def _cut_out(plane: npt.NDArray[Any]) -> Iterator[tuple[int, PlaneMask]]:
    for label, (top, left, bottom, right) in _boxes(plane):
        yield label, PlaneMask(top, left, plane[top:bottom, left:right] == label)


def _boxes(plane: npt.NDArray[Any]) -> Iterator[tuple[int, Box]]:
    """Find the bounding boxes of labels: rows and columns, first and one past the last."""
    values: npt.NDArray[Any] | None = None
    if plane.min(initial=0) < 0 or plane.max(initial=0) > _MANY_LABELS:
        values, numbered = np.unique(plane, return_inverse=True)
        plane = (
            numbered.reshape(plane.shape) + 1
        )  # including the background, which is skipped below
    for number, found in enumerate(ndimage.find_objects(plane), 1):
        label = number if values is None else int(values[number - 1])
        if found is not None and label != 0:
            rows, columns = found
            yield label, (rows.start, columns.start, rows.stop, columns.stop)


def _moved(box: Box, rows: int, columns: int) -> Box:
    return box[0] + rows, box[1] + columns, box[2] + rows, box[3] + columns


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            yield slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width))
