"""Many masks of the same objects to one of each, and masks that overlap to labels that do not.

Greedy suppression by rank, as in the automatic masks of SAM (Kirillov et al. 2023), but by the
pixels of the masks instead of their boxes, and of parts as well. Masks are bounding boxes, and
only those whose boxes meet are compared: a plane is never held as a whole.
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

# Side in px of the cells by which masks that may meet are found.
CELL = 128


@dataclass(frozen=True, eq=False)
class Found:
    """An object that was found.

    Parameters
    ----------
    mask : PlaneMask
        In px of the plane.
    score : float
        IoU that the model predicts for it.
    stability : float
        IoU of the mask at a higher and a lower threshold.
    seed : Seed
        Where it was clicked.
    level : int
        Level of the field in which it was answered.
    """

    mask: PlaneMask
    score: float
    stability: float
    seed: Seed
    level: int = 0

    @property
    def quality(self) -> float:
        """What decides between masks of one object."""
        return self.score * self.stability

    @property
    def rank(self) -> tuple[object, ...]:
        """Key that puts better masks first; equal for equal masks only."""
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
        In any order.
    settings : AutomaticSettings
        `duplicate_iou` and `containment`.

    Returns
    -------
    tuple of Found
        The best first. No two of them overlap by more than the settings allow.
    """
    index: _Index = _Index()
    for one in sorted(found, key=lambda one: one.rank):
        area = one.mask.area
        if area and not any(
            _same(area, other_area, shared, settings)
            for other, other_area in index.near(one.mask)
            if (shared := overlap(one.mask, other.mask))
        ):
            index.add(one, area)
    return tuple(one for one, _ in index)


def merge_found(
    parts: Iterable[Iterable[Found]], settings: AutomaticSettings | None = None
) -> tuple[Found, ...]:
    """Bring together what was found in the tiles of a plane.

    Parameters
    ----------
    parts : iterable of iterable of Found
        One for each tile, in any order.
    settings : AutomaticSettings, optional
        Those with which they were found.

    Returns
    -------
    tuple of Found
        Each object once, the best first, independent of the order of the tiles.
    """
    together = (one for part in parts for one in part)
    return suppress(together, settings or AutomaticSettings())


def paint_order(
    found: Iterable[Found], settings: AutomaticSettings | None = None
) -> tuple[Found, ...]:
    """Return objects as they are written into a label image: without any overlap.

    Where masks overlap, the better one keeps the pixels. Of what is left of the others, parts
    apart from the largest are given up unless they are at least half as large, and the whole if
    it is smaller than `min_area`.

    Parameters
    ----------
    found : iterable of Found
        In any order.
    settings : AutomaticSettings, optional
        Those with which they were found.

    Returns
    -------
    tuple of Found
        Row by row, by the first pixel of each: the n-th of them gets the n-th id.
    """
    settings = settings or AutomaticSettings()
    index: _Index = _Index()
    for one in sorted(found, key=lambda one: one.rank):
        left = one.mask.crop.copy()
        for other, _ in index.near(one.mask):
            left &= ~other.mask.within(one.mask.region)
        mask = PlaneMask.from_array(left, one.mask.row, one.mask.column).without_islands(())
        area = mask.area
        if area >= settings.min_area:
            index.add(replace(one, mask=mask), area)
    return tuple(sorted((one for one, _ in index), key=lambda one: _first_pixel(one.mask)))


def _same(area: int, other: int, shared: int, settings: AutomaticSettings) -> bool:
    if shared > settings.duplicate_iou * (area + other - shared):
        return True
    return shared > settings.containment * min(area, other)


def _first_pixel(mask: PlaneMask) -> tuple[int, int]:
    return mask.row, mask.column + int(np.argmax(mask.crop[0]))


class _Index:
    """Masks by the cells of a grid that their boxes touch."""

    def __init__(self) -> None:
        self._all: list[tuple[Found, int]] = []
        self._cells: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def __iter__(self) -> Iterator[tuple[Found, int]]:
        return iter(self._all)

    def add(self, one: Found, area: int) -> None:
        for cell in self._touched(one.mask):
            self._cells[cell].append(len(self._all))
        self._all.append((one, area))

    def near(self, mask: PlaneMask) -> Iterator[tuple[Found, int]]:
        """Yield each mask, with its area, whose box may overlap that of another."""
        numbers = {n for cell in self._touched(mask) for n in self._cells.get(cell, ())}
        for number in sorted(numbers):
            yield self._all[number]

    @staticmethod
    def _touched(mask: PlaneMask) -> Iterator[tuple[int, int]]:
        y0, x0, y1, x1 = mask.bbox
        for row in range(y0 // CELL, (y1 - 1) // CELL + 1):
            for column in range(x0 // CELL, (x1 - 1) // CELL + 1):
                yield row, column
