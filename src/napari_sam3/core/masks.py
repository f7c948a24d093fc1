"""Masks of single objects, stored as their bounding boxes only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["PlaneMask", "Region", "around", "iou_of", "overlap"]

Region = tuple[slice, slice]
_FAR = 1e7  # px; no plane is as long
_ISLAND_SHARE = 0.5  # of the largest part kept; other parts smaller than this are dropped


@dataclass(frozen=True, eq=False)
class PlaneMask:
    """A mask in px of a plane, cropped to its bounding box.

    Parameters
    ----------
    row, column : int
        Position of the crop's first pixel in the plane.
    crop : ndarray of bool, h x w
        The mask within its bounding box; 0 x 0 for an empty mask. Made read-only.
    """

    row: int
    column: int
    crop: npt.NDArray[np.bool_] = field(repr=False)

    def __post_init__(self) -> None:
        """Make the pixels read-only: threads and the undo stack share masks."""
        self.crop.setflags(write=False)

    @classmethod
    def from_array(cls, mask: npt.NDArray[np.bool_], row: int = 0, column: int = 0) -> PlaneMask:
        """Crop an h x w mask whose first pixel lies at (row, column) of the plane."""
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return cls(row, column, np.zeros((0, 0), bool))
        columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
        crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        return cls(row + int(rows[0]), column + int(columns[0]), crop)

    @classmethod
    def from_outline(
        cls, corners: Sequence[tuple[float, float]], shape: tuple[int, int]
    ) -> PlaneMask:
        """Fill a polygon.

        Parameters
        ----------
        corners : sequence of (x, y)
            Corners in px of the plane; pixels whose centre lies inside are set.
        shape : tuple of int
            (height, width) of the plane, to which the polygon is clipped.
        """
        from skimage.draw import polygon2mask

        # Distant corners would overflow polygon2mask; clipping moves the edge by less than a pixel.
        xy = np.clip(np.asarray(corners, np.float64), -_FAR, _FAR)
        limit = np.array([shape[1], shape[0]], np.float64)
        low = np.clip(np.floor(xy.min(axis=0)), 0, limit).astype(int)
        high = np.clip(np.ceil(xy.max(axis=0)) + 1, 0, limit).astype(int)
        if (high <= low).any():
            return cls(0, 0, np.zeros((0, 0), bool))
        size = int(high[1] - low[1]), int(high[0] - low[0])
        inside = np.asarray(polygon2mask(size, (xy - low)[:, ::-1]), bool)
        return cls.from_array(inside, int(low[1]), int(low[0]))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is set."""
        return self.crop.size == 0

    @property
    def area(self) -> int:
        """Number of pixels set."""
        return int(np.count_nonzero(self.crop))

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """(row, column, row, column): first and one past the last pixel."""
        height, width = self.crop.shape
        return self.row, self.column, self.row + height, self.column + width

    @property
    def region(self) -> Region:
        """Slices of the bounding box in the plane."""
        y0, x0, y1, x1 = self.bbox
        return slice(y0, y1), slice(x0, x1)

    def to_array(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return the mask as an array of the whole plane, of ``shape`` (height, width)."""
        full = np.zeros(shape, bool)
        full[self.region] = self.crop
        return full

    def covers(self, row: float, column: float) -> bool:
        """Tell whether the pixel at a position of the plane is set."""
        y, x = math.floor(row + 0.5) - self.row, math.floor(column + 0.5) - self.column
        height, width = self.crop.shape
        return 0 <= y < height and 0 <= x < width and bool(self.crop[y, x])

    def within(self, region: Region) -> npt.NDArray[np.bool_]:
        """Return the mask as an array of a region (slices with start and stop) of the plane."""
        rows, columns = region
        part = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        y0, x0, y1, x1 = self.bbox
        top, left = max(y0, rows.start), max(x0, columns.start)
        bottom, right = min(y1, rows.stop), min(x1, columns.stop)
        if top < bottom and left < right:
            part[
                top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
            ] = self.crop[top - y0 : bottom - y0, left - x0 : right - x0]
        return part

    def without_islands(self, clicks: npt.ArrayLike) -> PlaneMask:
        """Drop small parts of the mask that are not connected to the prompted part.

        Parameters
        ----------
        clicks : array-like, shape (N, 2)
            Foreground clicks (x, y) in px of the plane; may be empty, for a box alone.

        Returns
        -------
        PlaneMask
            The 8-connected parts with clicks, or else the largest part; and every other part at
            least half as large as the largest of these.
        """
        from scipy import ndimage  # takes a fifth of a second, which the window does not wait for

        parts, count = ndimage.label(self.crop, structure=np.ones((3, 3)), output=np.intp)
        if count < 2:
            return self
        areas = np.bincount(parts.ravel())
        areas[0] = 0
        height, width = self.crop.shape
        pixels = np.rint(np.reshape(clicks, (-1, 2))).astype(np.int64) - (self.column, self.row)
        inside = ((pixels >= 0) & (pixels < (width, height))).all(axis=1)
        clicked = parts[pixels[inside, 1], pixels[inside, 0]]
        clicked = clicked[clicked > 0]
        if not clicked.size:
            clicked = np.array([areas.argmax()])
        kept = areas >= _ISLAND_SHARE * areas[clicked].max()
        kept[clicked] = True
        kept[0] = False
        return PlaneMask.from_array(kept.take(parts), self.row, self.column)


def around(masks: Sequence[PlaneMask]) -> Region:
    """Return the bounding box of several masks, none of them empty, as slices."""
    boxes = np.array([mask.bbox for mask in masks])
    (row, column), (row_stop, column_stop) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return slice(int(row), int(row_stop)), slice(int(column), int(column_stop))


def is_same_object(before: PlaneMask, now: PlaneMask) -> bool:
    """Whether a label that had some pixels is still the same object, painted on or cut perhaps."""
    return 2 * overlap(before, now) >= min(before.area, now.area)


def overlap(a: PlaneMask, b: PlaneMask) -> int:
    """Count the pixels that two masks share."""
    ay, ax, ay1, ax1 = a.bbox
    by, bx, by1, bx1 = b.bbox
    top, left, bottom, right = max(ay, by), max(ax, bx), min(ay1, by1), min(ax1, bx1)
    if top >= bottom or left >= right:
        return 0
    first = a.crop[top - ay : bottom - ay, left - ax : right - ax]
    second = b.crop[top - by : bottom - by, left - bx : right - bx]
    return int(np.count_nonzero(first & second))


def iou_of(a: PlaneMask, b: PlaneMask) -> float:
    """Intersection over union of two masks, 0 if both are empty."""
    shared = overlap(a, b)
    return shared / max(1, a.area + b.area - shared)
