"""A label image read from a file, with the values of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes
from sam3.errors import ImageError

from .object_table import ObjectTable

__all__ = ["LoadedLabels", "WholeNumbers"]

#: Largest integer up to which a float type is exact.
_EXACT = {"float16": 1 << 11, "float32": 1 << 24, "float64": 1 << 53}


@dataclass(frozen=True, eq=False)
class LoadedLabels:
    """Labels read from a file of any format.

    Parameters
    ----------
    data : array-like of integers, ... x H x W
        numpy, or a lazy array.
    known_axes : ImageAxes, optional
        Axes stated by the file or taken from its image.
    table : ObjectTable
        Values of the objects.
    format : str
        Name of the format.
    file : object, optional
        An open file, closed by `close`.
    """

    data: Any = field(repr=False)
    known_axes: ImageAxes | None = None
    table: ObjectTable = field(default_factory=ObjectTable, repr=False)
    format: str = ""
    file: Any = field(default=None, repr=False)

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and position of the axes; pixels if unknown."""
        return self.known_axes or ImageAxes.default(self.data.ndim)

    def close(self) -> None:
        """Close the file; lazy data cannot be read afterwards."""
        if self.file is not None:
            self.file.close()


class WholeNumbers:
    """Integer view of labels stored as floating-point numbers, as ImageJ stores them.

    Parameters
    ----------
    data : array-like of float
        numpy, dask, zarr or anything with ``shape``, ``dtype`` and basic indexing.
    name : str
        Name for error messages.
    """

    dtype = np.dtype(np.int64)

    def __init__(self, data: Any, name: str) -> None:
        self._data, self._name = data, name
        self.shape: Sequence[int] = tuple(int(length) for length in data.shape)
        self.ndim = len(self.shape)
        self._most = _EXACT.get(np.dtype(data.dtype).name, 1 << 53)

    def __getitem__(self, key: Any) -> npt.NDArray[np.int64]:
        """Read a region.

        Raises
        ------
        sam3.errors.ImageError
            If a value is not an integer, or too large to be exact in its type.
        """
        pixels = np.asarray(self._data[key])
        with np.errstate(invalid="ignore"):
            whole = (np.abs(pixels) <= self._most) & (pixels == np.floor(pixels))
        if not whole.all():
            raise ImageError(
                f"{self._name} holds the number {pixels[~whole].ravel()[0]}. Expected whole "
                f"numbers up to {self._most} as labels in {np.dtype(self._data.dtype).name}. "
                "Choose the file of labels, not of probabilities or distances."
            )
        return pixels.astype(np.int64)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read the whole array."""
        return self[...] if dtype is None else self[...].astype(dtype)
