"""From n-dimensional image data to the one 8-bit RGB plane that the model sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.contrast import percentile_limits, to_uint8
from sam3.errors import ImageError

__all__ = ["ContrastLimits", "PlaneIndex", "plane_from_array", "read_plane"]

ContrastLimits = tuple[float, float]
UInt8Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PlaneIndex:
    """A 2-D plane of n-D data: two free axes, a fixed position on every other axis.

    Parameters
    ----------
    axes : tuple of int
        The axis of the plane's rows and the axis of its columns, in the data's own order.
        They are kept ascending, so a transposed view of a plane is the same plane.
    index : tuple of int
        Position on each remaining axis, in axis order.
    """

    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()

    @property
    def ndim(self) -> int:
        """Number of (spatial) axes of the data the plane belongs to."""
        return len(self.index) + 2

    @property
    def other_axes(self) -> tuple[int, ...]:
        """The axes that are fixed, ascending."""
        return tuple(axis for axis in range(self.ndim) if axis not in self.axes)

    def slices(
        self, rows: slice = slice(None), columns: slice = slice(None)
    ) -> tuple[int | slice, ...]:
        """Index that takes this plane, or a region of it, out of the data."""
        fixed = iter(self.index)
        free = {self.axes[0]: rows, self.axes[1]: columns}
        return tuple(free[axis] if axis in free else next(fixed) for axis in range(self.ndim))

    def shape_of(self, shape: Sequence[int]) -> tuple[int, int]:
        """(height, width) in px of the plane in data of ``shape`` (channels left out)."""
        return int(shape[self.axes[0]]), int(shape[self.axes[1]])

    def __str__(self) -> str:
        """Describe the plane for messages."""
        if not self.index:
            return "the plane"
        where = zip(self.other_axes, self.index, strict=True)
        return "plane " + ", ".join(f"axis {axis} = {position}" for axis, position in where)


def read_plane(
    data: Any, plane: PlaneIndex, *, rgb: bool = False, multiscale: bool = False
) -> npt.NDArray[Any]:
    """Read one plane of array-like data, and only that plane.

    Parameters
    ----------
    data : array-like
        numpy, dask, zarr or anything with ``shape`` and basic indexing; a sequence of such
        arrays, finest first, when `multiscale`.
    plane : PlaneIndex
        Which plane; its axes leave the channel axis out.
    rgb : bool
        The last axis holds 3 or 4 colour channels.
    multiscale : bool
        `data` is a pyramid; its finest level is read.

    Returns
    -------
    ndarray
        H x W, or H x W x C with `rgb`, of the data's dtype.

    Raises
    ------
    sam3.errors.ImageError
        If the plane does not exist in the data.
    """
    source = data[0] if multiscale else data
    shape = tuple(int(n) for n in source.shape)
    spatial = shape[:-1] if rgb else shape
    if len(spatial) != plane.ndim:
        raise ImageError(
            f"an image of shape {shape} has {len(spatial)} axes to look along, but the plane "
            f"asked for has {plane.ndim}; choose a plane of this image"
        )
    for axis, position in zip(plane.other_axes, plane.index, strict=True):
        if not 0 <= position < spatial[axis]:
            raise ImageError(
                f"position {position} on axis {axis} lies outside the image (0 to "
                f"{spatial[axis] - 1}); move the slider into the image"
            )
    index = plane.slices() + ((slice(None),) if rgb else ())
    return np.asarray(source[index])


def plane_from_array(
    data: npt.ArrayLike, *, rgb: bool = False, contrast: ContrastLimits | None = None
) -> UInt8Plane:
    """Turn a plane of any dtype into the 8-bit RGB image that is encoded.

    8-bit RGB passes unchanged unless `contrast` is given, and float RGB is taken as [0, 1], as
    napari does. Everything else, dim 8-bit fluorescence too, is stretched between `contrast`,
    or the 0.1 and 99.9 percentiles of the finite values. NaN becomes 0, a constant plane a zero
    plane.

    Parameters
    ----------
    data : array-like
        H x W, or H x W x 3 or 4 with `rgb` (a fourth, alpha channel is dropped).
    rgb : bool
        The last axis holds colours.
    contrast : tuple of float, optional
        Values shown as 0 and 255.

    Returns
    -------
    ndarray of uint8, H x W x 3
        A C-contiguous copy.

    Raises
    ------
    sam3.errors.ImageError
        If the plane is empty, has the wrong number of axes, is complex, or all NaN.
    """
    array = np.asarray(data)
    _check(array, rgb)
    if rgb:
        array = array[..., :3]
    if array.dtype == np.bool_:
        grey = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype == np.uint8 and rgb and contrast is None:
        grey = array
    else:
        if contrast is None and rgb and np.issubdtype(array.dtype, np.floating):
            contrast = (0.0, 1.0)
        # Called in any case: it refuses a plane without a single finite value.
        limits = percentile_limits(array)
        grey = to_uint8(array, contrast if contrast is not None else limits)
    if not rgb:
        grey = np.broadcast_to(grey[..., None], (*grey.shape, 3))
    return np.array(grey, dtype=np.uint8, order="C")


def _check(array: npt.NDArray[Any], rgb: bool) -> None:
    if array.size == 0:
        raise ImageError(f"the image plane is empty (shape {array.shape}); choose another image")
    if array.ndim != (3 if rgb else 2) or (rgb and array.shape[-1] not in (3, 4)):
        wanted = "H x W x 3 or H x W x 4" if rgb else "H x W"
        raise ImageError(f"an image plane must be {wanted}, got shape {array.shape}")
    if array.dtype != np.bool_ and not (
        np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    ):
        raise ImageError(
            f"images of dtype {array.dtype} cannot be segmented; convert to real numbers "
            "first, e.g. with numpy.abs for complex images"
        )
