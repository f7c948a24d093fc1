"""Masks as polygons along the edges of their pixels, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_sam3.core.masks import PlaneMask

__all__ = ["Outline", "outlines"]

Ring = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outline:
    """One connected part of a mask.

    Rings are N x 2 integers (x, y): corners of pixels, where the first pixel of a plane lies
    between 0 and 1, as in ImageJ and QuPath; a pixel's centre is at its index + 0.5. The last
    corner is followed by the first. No ring meets itself.

    Parameters
    ----------
    outside : ndarray of int, N x 2
        With x to the right and y upwards it would go counter-clockwise.
    holes : tuple of ndarray of int, N x 2
        They go the other way round.
    """

    outside: Ring = field(repr=False)
    holes: tuple[Ring, ...] = field(default=(), repr=False)


def outlines(mask: PlaneMask) -> list[Outline]:
    """Trace a mask.

    Parameters
    ----------
    mask : PlaneMask
        In px of the plane.

    Returns
    -------
    list of Outline
        One for each part whose pixels touch along edges. Filling them gives the mask again.
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
    """Trace all borders of a part that is connected along edges of pixels.

    A polygon along a grid is given by its corners: those on a row, sorted, are joined in pairs by
    its horizontal edges, and those on a column by its vertical ones. Where two pixels of the part
    touch at a corner only, two rings meet, each of them around a pixel of the background; since
    the part is connected elsewhere, these are two different rings.
    """
    padded = np.pad(part, 1)
    nw, ne = padded[:-1, :-1], padded[:-1, 1:]
    sw, se = padded[1:, :-1], padded[1:, 1:]
    crossing = (nw == se) & (ne == sw) & (nw != ne)
    corner = (nw ^ ne ^ sw ^ se) | crossing
    y, x = np.nonzero(corner)
    repeated = np.where(crossing[y, x], 2, 1)
    # Of the two at a crossing the first has the edge to the left, the second that to the right.
    # Around the background at the south-west the first goes on downwards, else upwards.
    first = np.repeat(np.cumsum(repeated) - repeated, repeated)
    second = np.arange(len(first)) - first
    y, x = np.repeat(y, repeated), np.repeat(x, repeated)
    down_first = nw[y, x] & crossing[y, x]
    by_row = np.lexsort((second, x, y))
    by_column = np.lexsort((np.where(down_first, 1 - second, second), y, x))
    along_row, along_column = _partners(by_row), _partners(by_column)
    return _follow(np.stack([x, y], axis=1), along_row, along_column, part)


def _partners(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the other end of each corner's edge, corners being joined in pairs in this order."""
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
        # The part lies on the same side of every ring that is followed this way round.
        (x, y), right = places[0], places[1][0] > places[0][0]
        below = y < part.shape[0] and part[y, x if right else x - 1]
        rings.append(places if below == right else places[::-1])
    return rings


def _area(ring: Ring) -> int:
    """Return twice the area, below 0 for a ring that goes clockwise with y upwards."""
    x, y = ring[:, 0], ring[:, 1]
    return int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
