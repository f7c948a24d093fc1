"""Area, centroid and bounding box of an object on a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Measure", "measure"]


@dataclass(frozen=True)
class Measure:
    """Measures of the pixels of an object; those of disjoint parts add up.

    Parameters
    ----------
    area : int
        Number of pixels.
    sums : tuple of int
        Sums of the rows and of the columns of the pixels, in px of the plane.
    bbox : tuple of int
        (row, column, row, column): first and one past the last pixel; zeros without pixels.
    """

    area: int = 0
    sums: tuple[int, int] = (0, 0)
    bbox: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def centroid(self) -> tuple[float, float]:
        """(row, column) in px, with pixel centres at integers; undefined without pixels."""
        return self.sums[0] / self.area, self.sums[1] / self.area

    def __add__(self, other: Measure) -> Measure:
        """Measure this part and a disjoint one as one object."""
        if not (self.area and other.area):
            return self if self.area else other
        (top, left, bottom, right), (y0, x0, y1, x1) = self.bbox, other.bbox
        return Measure(
            self.area + other.area,
            (self.sums[0] + other.sums[0], self.sums[1] + other.sums[1]),
            (min(top, y0), min(left, x0), max(bottom, y1), max(right, x1)),
        )


def measure(mask: npt.NDArray[np.bool_], row: int = 0, column: int = 0) -> Measure:
    """Measure the pixels of a mask.

    Parameters
    ----------
    mask : ndarray of bool, h x w
        A crop of the plane.
    row, column : int
        Position of the crop in the plane, in px.
    """
    by_row, by_column = np.count_nonzero(mask, axis=1), np.count_nonzero(mask, axis=0)
    rows, columns = np.flatnonzero(by_row), np.flatnonzero(by_column)
    if not rows.size:
        return Measure()
    area = int(by_row.sum())
    return Measure(
        area,
        (
            int(by_row @ np.arange(by_row.size)) + area * row,
            int(by_column @ np.arange(by_column.size)) + area * column,
        ),
        (
            row + int(rows[0]),
            column + int(columns[0]),
            row + int(rows[-1]) + 1,
            column + int(columns[-1]) + 1,
        ),
    )
