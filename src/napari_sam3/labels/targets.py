"""Targets of labels: single 2-D planes of integer arrays."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex

if TYPE_CHECKING:
    from napari_sam3.core.masks import Region

__all__ = ["ArrayTarget", "LabelTarget", "check_id_fits", "largest_id"]


class LabelTarget(Protocol):
    """One plane of labels, read and written by region."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the plane in px."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer data type of the labels."""

    @property
    def source(self) -> Hashable:
        """Identity of the whole label image; its planes share consecutive ids."""

    @property
    def key(self) -> Hashable:
        """Key of the plane in the session."""

    def maximum(self) -> int:
        """Return the largest id in the whole label image, not only in this plane."""

    def holds(self, label: int) -> bool:
        """Tell whether a label exists anywhere in the whole label image."""

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return a copy of the labels in a region of the plane."""

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Replace the labels in a region of the plane."""


class ArrayTarget:
    """A plane of an array as target, written in place.

    Parameters
    ----------
    array : ndarray of an integer dtype
        H x W, or a whole stack; must be writable.
    key : hashable
        Key of the plane.
    plane : PlaneIndex, optional
        Plane of a stack. Ids are unique in the whole stack.

    Raises
    ------
    LabelError
        If the array cannot hold labels.
    """

    def __init__(
        self, array: npt.NDArray[Any], key: Hashable = None, plane: PlaneIndex | None = None
    ) -> None:
        plane = PlaneIndex() if plane is None else plane
        if not isinstance(array, np.ndarray):
            raise LabelError(
                f"labels cannot be written to a {type(array).__name__}. Expected a numpy array. "
                "Pass np.asarray of it, or put it into a Labels layer of a viewer."
            )
        if array.ndim != plane.ndim or not np.issubdtype(array.dtype, np.integer):
            raise LabelError(
                f"labels cannot be written to an array of {array.dtype} of shape {array.shape}. "
                f"Expected {plane.ndim}-D integers. Convert it, or choose another one."
            )
        if not array.flags.writeable:
            raise LabelError(
                "the label array is read-only. Expected one that can be written to. Pass a copy."
            )
        self.array = array
        self.key = key
        self._plane = plane

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the plane in px."""
        return self._plane.shape_of(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer data type of the labels."""
        return self.array.dtype

    @property
    def source(self) -> Hashable:
        """Identity of the array."""
        return id(self.array)

    def maximum(self) -> int:
        """Return the largest id in the array."""
        return int(self.array.max(initial=0))

    def holds(self, label: int) -> bool:
        """Tell whether a label exists anywhere in the array."""
        return bool((self.array == label).any())

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return a copy of the labels in a region."""
        return self.array[self._plane.slices(*region)].copy()

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Replace the labels in a region."""
        self.array[self._plane.slices(*region)] = values


def largest_id(dtype: np.dtype[Any]) -> int:
    """Return the largest id that a data type holds.

    Raises
    ------
    LabelError
        If it is not an integer type.
    """
    if dtype.kind not in "iu":
        raise LabelError(
            f"the labels hold no ids: dtype {dtype}. Expected an integer dtype. Convert them with "
            "astype(np.uint32)."
        )
    return int(np.iinfo(dtype).max)


def check_id_fits(label: int, dtype: np.dtype[Any]) -> None:
    """Raise an error for an id that does not fit the data type, before anything is written.

    Raises
    ------
    LabelError
        With the id, the limit of the data type and a remedy.
    """
    limit = largest_id(dtype)
    if label > limit:
        raise LabelError(
            f"the next label does not fit dtype {dtype}: {label}. Expected at most {limit}. "
            "Convert the labels to a wider dtype (napari: right click on the layer)."
        )
