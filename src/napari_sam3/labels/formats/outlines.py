"""Exact polygons of masks, along the edges of pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask

__all__ = ["Outline", "outlines"]

Ring = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outline:
    """One connected part of a mask.

    Rings are N x 2 integers (x, y), the corners of pixels. The first pixel of a plane lies between
    0 and 1, as in ImageJ and QuPath, so the centre of a pixel is its index + 0.5. Rings are closed
    implicitly (the first corner is not repeated) and never touch themselves.

    Parameters
    ----------
    outside : ndarray of int, N x 2
        Counter-clockwise if y pointed upwards.
    holes : tuple of ndarray of int, N x 2
        In the opposite direction.
    """

    outside: Ring = field(repr=False)
    holes: tuple[Ring, ...] = field(default=(), repr=False)


def outlines(mask: PlaneMask) -> list[Outline]:
    """Trace the outlines of a mask.

    Parameters
    ----------
    mask : PlaneMask
        In px of the plane.

    Returns
    -------
    list of Outline
        One per 4-connected part. Filling them restores the mask.
    """
    if mask.is_empty:
        return []
    parts, count = ndimage.label(mask.crop)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts, count), 1):
        rings = _trace(parts[box] == number)
        origin = mask.column + box[1].start, mask.row + box[0].start
        rings = [ring + origin for ring in rings]
        (outside,) = [ring for ring in rings if _area(ring) > 0]
        found.append(Outline(outside, tuple(ring for ring in rings if _area(ring) < 0)))
    return found


def _trace(part: npt.NDArray[np.bool_]) -> list[Ring]:
    """Trace all borders of a 4-connected part.

    The corners of a polygon on a grid define it: sorted along a row, they are joined in pairs by
    horizontal edges, and sorted along a column by vertical ones. Where two pixels touch only at a
    corner, two rings meet there; they are different rings, since the part is connected elsewhere.
    """
    padded = np.pad(part, 1)
    nw, ne = padded[:-1, :-1], padded[:-1, 1:]
    sw, se = padded[1:, :-1], padded[1:, 1:]
    crossing = (nw == se) & (ne == sw) & (nw != ne)
    corner = (nw ^ ne ^ sw ^ se) | crossing
    y, x = np.nonzero(corner)
    repeated = np.where(crossing[y, x], 2, 1)
    # A crossing counts as two corners: the first has the edge to its left, the second to its right.
    # If the background lies to the south-west, the first continues downwards, otherwise upwards.
    first = np.repeat(np.cumsum(repeated) - repeated, repeated)
    second = np.arange(len(first)) - first
    y, x = np.repeat(y, repeated), np.repeat(x, repeated)
    down_first = nw[y, x] & crossing[y, x]
    by_row = np.lexsort((second, x, y))
    by_column = np.lexsort((np.where(down_first, 1 - second, second), y, x))
    along_row, along_column = _partners(by_row), _partners(by_column)
    return _follow(np.stack([x, y], axis=1), along_row, along_column, part)


def _partners(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the other end of each corner's edge; neighbours in this order form a pair."""
    partners = np.empty_like(order)
    partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    return partners


def _follow(
    corners: Ring,
    along_row: npt.NDArray[np.int64],
    along_column: npt.NDArray[np.int64],
    part: npt.NDArray[np.bool_],
) -> list[Ring]:
    rows, columns = along_row.tolist(), along_column.tolist()
    visited = bytearray(len(corners))
    rings = []
    for start in range(len(corners)):
        if visited[start]:
            continue
        ring, at = [], start
        while not visited[at]:
            across = rows[at]
            visited[at] = visited[across] = 1
            ring += [at, across]
            at = columns[across]
        places = corners[ring]
        # Orient rings by the side on which the part lies.
        (x, y), right = places[0], places[1][0] > places[0][0]
        below = y < part.shape[0] and part[y, x if right else x - 1]
        rings.append(places if below == right else places[::-1])
    return rings


def _area(ring: Ring) -> int:
    """Return twice the signed area, negative for clockwise rings if y pointed upwards."""
    x, y = ring[:, 0], ring[:, 1]
    return int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
