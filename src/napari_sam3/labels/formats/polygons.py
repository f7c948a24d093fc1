"""Conversion between polygons and masks, for both conventions of pixel coordinates.

The outline of an object of 4 x 4 px depends on the convention:

      along edges: (2, 2) to (6, 6)       through centres: (2, 2) to (5, 5)
      +---+---+---+---+
      | . | . | . | . |                     .---.---.---.
      +---+---+---+---+                     |           |
      | . | . | . | . |                     .   .   .   .

ImageJ, QuPath and COCO fill the pixels whose centre lies inside. ultralytics, labelme, readers of
VIA and Cellpose fill inclusively: the pixels on the line belong to the object.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam3.core.masks import PlaneMask

if TYPE_CHECKING:
    from .label_planes import Box

__all__ = [
    "Points",
    "centre_rings",
    "check_ring",
    "fill_edges",
    "fill_ellipse",
    "fill_inclusive",
    "joined",
    "warn_of_holes",
]

Points = npt.NDArray[np.float64]
_FAR = 1e7  # px; no plane is as long
_NEIGHBOURS = np.ones((3, 3), bool)


def check_ring(values: Any) -> Points:
    """Return the corners of a ring as N x 2 finite numbers (x, y).

    Raises
    ------
    ValueError
        If the values are not points.
    """
    ring = np.asarray(values, np.float64)
    if ring.ndim != 2 or ring.shape[1] < 2 or not np.isfinite(ring).all():
        raise ValueError("a polygon is not a list of (x, y) points")
    return np.clip(ring[:, :2], -_FAR, _FAR)


def fill_edges(rings: Sequence[Points], shape: tuple[int, int]) -> PlaneMask:
    """Fill rings by the even-odd rule: the pixels whose centre lies inside.

    Parameters
    ----------
    rings : sequence of ndarray, N x 2
        (x, y) in px; the first pixel lies between 0 and 1.
    shape : tuple of int
        (height, width) of the plane, to which the mask is clipped.
    """
    box = _box(rings, shape)
    return _nothing() if box is None else PlaneMask.from_array(_inside(rings, box), *box[:2])


def fill_inclusive(ring: Points, shape: tuple[int, int]) -> PlaneMask:
    """Fill a ring including the pixels on its line.

    Parameters
    ----------
    ring : ndarray, N x 2
        (x, y) in px, rounded to integers, the centres of pixels. One point is a pixel, two are a
        line.
    shape : tuple of int
        (height, width) of the plane, to which the mask is clipped.
    """
    reach = 2.0 * max(shape)  # bounds the length of the line
    ring = np.floor(np.clip(ring, -reach, reach + reach) + 0.5)
    box = _box([ring], shape)
    if box is None:
        return _nothing()
    inside = _inside([ring + 0.5], box)
    rows, columns = _line(ring)
    rows, columns = rows - box[0], columns - box[1]
    kept = (rows >= 0) & (rows < inside.shape[0]) & (columns >= 0) & (columns < inside.shape[1])
    inside[rows[kept], columns[kept]] = True
    return PlaneMask.from_array(inside, *box[:2])


def fill_ellipse(
    centre: tuple[float, float],
    radii: tuple[float, float],
    shape: tuple[int, int],
    angle: float = 0.0,
) -> PlaneMask:
    """Fill an ellipse: the pixels whose centre lies inside.

    Parameters
    ----------
    centre, radii : tuple of float
        (x, y) in px; the first pixel lies between 0 and 1.
    shape : tuple of int
        (height, width) of the plane, to which the mask is clipped.
    angle : float
        Clockwise on screen, from the x axis to the first radius, in radians.
    """
    around = np.linspace(0, 2 * np.pi, 721)[:-1]
    x, y = radii[0] * np.cos(around), radii[1] * np.sin(around)
    turned = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    return fill_edges([check_ring(np.stack(turned, axis=1) + centre)], shape)


def _inside(rings: Sequence[Points], box: Box) -> npt.NDArray[np.bool_]:
    """Return which pixels of a box have their centre inside the rings.

    A pixel is inside if an odd number of edges cross its row to the left of its centre. An edge
    includes its upper end and excludes its lower end.
    """
    top, left, bottom, right = box
    height, width = bottom - top, right - left
    crossings = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        start = ring - (left + 0.5, top + 0.5)
        stop = np.roll(start, -1, 0)
        upper, lower = np.minimum(start[:, 1], stop[:, 1]), np.maximum(start[:, 1], stop[:, 1])
        first = np.clip(np.ceil(upper), 0, height).astype(np.int64)
        count = np.clip(np.ceil(lower), 0, height).astype(np.int64) - first
        line = np.repeat(np.arange(len(ring)), count)
        rows = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count) + first[line]
        (x0, y0), (x1, y1) = start[line].T, stop[line].T
        x = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(x), 0, width).astype(np.int64)
        np.add.at(crossings, (rows, columns), 1)
    inside: npt.NDArray[np.bool_] = np.cumsum(crossings[:, :width], axis=1) % 2 == 1
    return inside


def _line(ring: Points) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and columns of the pixels on the line of a ring."""
    step = np.roll(ring, -1, 0) - ring
    count = np.maximum(np.abs(step).max(axis=1).astype(np.int64), 1)
    line = np.repeat(np.arange(len(ring)), count)
    along = (np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)) / count[line]
    points = np.floor(ring[line] + along[:, None] * step[line] + 0.5).astype(np.int64)
    return points[:, 1], points[:, 0]


def joined(masks: Sequence[PlaneMask]) -> PlaneMask:
    """Return the union of masks."""
    masks = [mask for mask in masks if not mask.is_empty]
    if not masks:
        return _nothing()
    if len(masks) == 1:
        return masks[0]
    boxes = np.array([mask.bbox for mask in masks])
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    union = np.zeros((bottom - top, right - left), bool)
    for mask in masks:
        rows = slice(mask.row - top, mask.row - top + mask.crop.shape[0])
        columns = slice(mask.column - left, mask.column - left + mask.crop.shape[1])
        union[rows, columns] |= mask.crop
    return PlaneMask(int(top), int(left), union)


def centre_rings(mask: PlaneMask) -> tuple[list[npt.NDArray[np.int64]], bool]:
    """Trace a mask through the centres of its outer pixels.

    Returns
    -------
    rings : list of ndarray, N x 2
        One (x, y) outline per 8-connected part, of at least three points (repeated for a single
        pixel or a line). Filling them inclusively restores the mask without its holes.
    filled : bool
        Whether holes were filled.
    """
    parts, count = ndimage.label(mask.crop, _NEIGHBOURS)
    rings, filled = [], False
    for number, box in enumerate(ndimage.find_objects(parts, count), 1):
        part = parts[box] == number
        whole = ndimage.binary_fill_holes(part)
        filled = filled or int(whole.sum()) > int(part.sum())
        row, column = mask.row + box[0].start, mask.column + box[1].start
        ring = _trace(whole, row, column)
        rings.append(np.resize(ring, (max(len(ring), 3), 2)))
    return rings, filled


def warn_of_holes(count: int, name: str) -> None:
    """Warn that a format fills the holes of objects."""
    if count:
        warnings.warn(
            f"{name} has no holes: those of {count} object(s) are filled. Choose GeoJSON, COCO or "
            "ImageJ ROIs to keep them.",
            stacklevel=3,
        )


def _trace(part: npt.NDArray[np.bool_], row: int, column: int) -> npt.NDArray[np.int64]:
    """Trace the outer pixels of a part without holes (Moore neighbour tracing).

    At each pixel, its eight neighbours are tried clockwise, starting after the background pixel
    tried last. The walk ends when it would repeat its first step.
    """
    width = part.shape[1] + 2
    inside = np.pad(part, 1).tobytes()
    steps = (-width, 1 - width, 1, 1 + width, width, width - 1, -1, -1 - width)
    at = inside.index(1)
    path, came, first = [at], 6, -1
    while True:
        step = next((d for d in ((came + n) % 8 for n in range(1, 9)) if inside[at + steps[d]]), -1)
        if step < 0 or (step == first and at == path[0] and len(path) > 1):
            break
        first = step if first < 0 else first
        at += steps[step]
        path.append(at)
        came = (step + 5 + (step + 1) % 2) % 8
    rows, columns = np.divmod(np.array(path, np.int64), width)
    return _corners(np.stack([columns + column - 1, rows + row - 1], axis=1))


def _corners(path: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Remove the points on straight lines."""
    changed = (path != np.roll(path, 1, 0)).any(axis=1)
    path = path[changed] if changed.any() else path[:1]
    if len(path) < 3:
        return path
    before, after = path - np.roll(path, 1, 0), np.roll(path, -1, 0) - path
    corners: npt.NDArray[np.int64] = path[(before != after).any(axis=1)]
    return corners


def _box(rings: Sequence[Points], shape: tuple[int, int]) -> Box | None:
    """Return the box of rings, clipped to the plane; None if it is empty."""
    rings = [ring for ring in rings if len(ring)]
    if not rings:
        return None
    every = np.concatenate(rings)
    low, high = np.floor(every.min(axis=0)), np.floor(every.max(axis=0)) + 1
    left, top = (int(n) for n in np.maximum(low, 0))
    right, bottom = (int(n) for n in np.minimum(high, shape[::-1]))
    return (top, left, bottom, right) if bottom > top and right > left else None


def _nothing() -> PlaneMask:
    return PlaneMask(0, 0, np.zeros((0, 0), bool))
