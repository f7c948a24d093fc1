"""A mask of one object, kept as its bounding box only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["PlaneMask", "Region"]

Region = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class PlaneMask:
    """A mask in px of a plane, cropped to its bounding box.

    Parameters
    ----------
    row, column : int
        Place in the plane of the crop's first pixel.
    crop : ndarray of bool, h x w
        The mask within its bounding box; 0 x 0 if nothing is set. Made read-only.
    """

    row: int
    column: int
    crop: npt.NDArray[np.bool_] = field(repr=False)

    def __post_init__(self) -> None:
        """Guard the pixels: masks are shared between threads and the undo history."""
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
        """Return the mask in a whole plane of ``shape`` (height, width)."""
        full = np.zeros(shape, bool)
        full[self.region] = self.crop
        return full
