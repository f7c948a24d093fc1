"""Removal of duplicate masks, and of overlaps between masks.

Greedy non-maximum suppression, as in the automatic masks of SAM (Kirillov et al. 2023), but of
masks instead of boxes, and of parts, too. Masks are stored as crops, and only masks whose bounding
boxes overlap are compared, so memory does not grow with the plane.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_sam3.core.masks import PlaneMask, overlap

from .seeds import Seed
from .settings import AutomaticSettings

__all__ = ["Found", "merge_found", "paint_order", "suppress"]

# Side in px of the grid cells of the spatial index.
CELL = 128


@dataclass(frozen=True, eq=False)
class Found:
    """Object found automatically.

    Parameters
    ----------
    mask : PlaneMask
        Mask in px of the plane.
    score : float
        Predicted IoU.
    stability : float
        IoU of the mask at a higher and a lower threshold.
    seed : Seed
        Seed of the prediction.
    level : int
        Level of the field of the prediction.
    """

    mask: PlaneMask
    score: float
    stability: float
    seed: Seed
    level: int = 0

    @property
    def quality(self) -> float:
        """Product of score and stability."""
        return self.score * self.stability

    @property
    def rank(self) -> tuple[object, ...]:
        """Sort key that puts better masks first. Equal for equal masks only."""
        return (
            -round(self.quality, 6),
            self.mask.bbox,
            (self.seed.y, self.seed.x, self.level, self.score),
            self.mask.crop.tobytes(),
        )


def suppress(found: Iterable[Found], settings: AutomaticSettings) -> tuple[Found, ...]:
    """Keep the best mask of each object.

    Parameters
    ----------
    found : iterable of Found
        Masks in any order.
    settings : AutomaticSettings
        Settings, of which `duplicate_iou` and `containment` are used.

    Returns
    -------
    tuple of Found
        Masks without duplicates, the best first.
    """
    index: _Index = _Index()
    for candidate in sorted(found, key=lambda candidate: candidate.rank):
        area = candidate.mask.area
        if area and not any(
            _same(area, other_area, shared, settings)
            for other, other_area in index.near(candidate.mask)
            if (shared := overlap(candidate.mask, other.mask))
        ):
            index.add(candidate, area)
    return tuple(candidate for candidate, _ in index)


def merge_found(
    parts: Iterable[Iterable[Found]], settings: AutomaticSettings | None = None
) -> tuple[Found, ...]:
    """Merge the objects found in the tiles of a plane.

    Parameters
    ----------
    parts : iterable of iterable of Found
        Objects of each tile, in any order.
    settings : AutomaticSettings, optional
        Settings of the search.

    Returns
    -------
    tuple of Found
        Objects without duplicates, the best first, independent of the order of the tiles.
    """
    candidates = (candidate for part in parts for candidate in part)
    return suppress(candidates, settings or AutomaticSettings())


def paint_order(
    found: Iterable[Found], settings: AutomaticSettings | None = None
) -> tuple[Found, ...]:
    """Return objects without overlaps, as they are written into a label image.

    The better one of two overlapping masks keeps the shared pixels. Of the rest of the other,
    small islands are dropped, and the whole rest if it is smaller than `min_area`.

    Parameters
    ----------
    found : iterable of Found
        Objects in any order.
    settings : AutomaticSettings, optional
        Settings of the search.

    Returns
    -------
    tuple of Found
        Objects sorted by their first pixels, row by row. The n-th one gets the n-th id.
    """
    settings = settings or AutomaticSettings()
    index: _Index = _Index()
    for candidate in sorted(found, key=lambda candidate: candidate.rank):
        free = candidate.mask.crop.copy()
        for other, _ in index.near(candidate.mask):
            free &= ~other.mask.within(candidate.mask.region)
        mask = PlaneMask.from_array(
            free, candidate.mask.row, candidate.mask.column
        ).without_islands(())
        area = mask.area
        if area >= settings.min_area:
            index.add(replace(candidate, mask=mask), area)
    return tuple(sorted((kept for kept, _ in index), key=lambda kept: _first_pixel(kept.mask)))


def _same(area: int, other: int, shared: int, settings: AutomaticSettings) -> bool:
    if shared > settings.duplicate_iou * (area + other - shared):
        return True
    return shared > settings.containment * min(area, other)


def _first_pixel(mask: PlaneMask) -> tuple[int, int]:
    return mask.row, mask.column + int(np.argmax(mask.crop[0]))


class _Index:
    """Spatial index: masks by the grid cells that their bounding boxes touch."""

    def __init__(self) -> None:
        self._all: list[tuple[Found, int]] = []
        self._cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def __iter__(self) -> Iterator[tuple[Found, int]]:
        return iter(self._all)

    def add(self, candidate: Found, area: int) -> None:
        for cell in self._touched(candidate.mask):
            self._cells[cell].append(len(self._all))
        self._all.append((candidate, area))

    def near(self, mask: PlaneMask) -> Iterator[tuple[Found, int]]:
        """Yield the masks whose bounding boxes may overlap that of a mask, with their areas."""
        numbers = {n for cell in self._touched(mask) for n in self._cells.get(cell, ())}
        for number in sorted(numbers):
            yield self._all[number]

    @staticmethod
    def _touched(mask: PlaneMask) -> Iterator[tuple[int, int]]:
        y0, x0, y1, x1 = mask.bbox
        for row in range(y0 // CELL, (y1 - 1) // CELL + 1):
            for column in range(x0 // CELL, (x1 - 1) // CELL + 1):
                yield row, column
