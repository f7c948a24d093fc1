"""From n-dimensional image data to the one 8-bit RGB plane that the model sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError
from sam3.preprocess.contrast import percentile_limits, to_uint8

__all__ = [
    "ContrastLimits",
    "PlaneIndex",
    "UInt8Plane",
    "check_pixels",
    "check_position",
    "find_limits",
    "nearest",
    "plane_from_array",
    "read_plane",
    "to_8_bits",
]

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


def nearest(positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Round positions in px to whole ones as napari does: halves go to the even neighbour.

    Parameters
    ----------
    positions : array-like of float
        Coordinates along any axes; the centre of a pixel is a whole number.
    """
    return np.round(np.asarray(positions, np.float64)).astype(np.int64)


def read_plane(
    data: Any,
    plane: PlaneIndex,
    *,
    rgb: bool = False,
    multiscale: bool = False,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> npt.NDArray[Any]:
    """Read one plane of array-like data, or a region of it, and nothing else.

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
    rows, columns : slice
        Region of the plane.

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
    check_position(source.shape, plane, rgb=rgb)
    index = plane.slices(rows, columns) + ((slice(None),) if rgb else ())
    return np.asarray(source[index])


def check_position(shape: Sequence[int], plane: PlaneIndex, *, rgb: bool = False) -> None:
    """Refuse a plane that data of ``shape`` do not have.

    Raises
    ------
    sam3.errors.ImageError
        Naming the position and what there is.
    """
    shape = tuple(int(n) for n in shape)
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


def plane_from_array(
    data: npt.ArrayLike, *, rgb: bool = False, contrast: ContrastLimits | None = None
) -> UInt8Plane:
    """Turn a plane of any dtype into the 8-bit RGB image that is encoded.

    Parameters
    ----------
    data : array-like
        H x W, or H x W x 3 or 4 with `rgb` (a fourth, alpha channel is dropped).
    rgb : bool
        The last axis holds colours.
    contrast : tuple of float, optional
        Values shown as 0 and 255; see `find_limits`.

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
    check_pixels(array.shape, array.dtype, rgb)
    limits = contrast if contrast is not None else find_limits(array, rgb=rgb)
    values = to_8_bits(array, limits, rgb=rgb)
    if not rgb:
        values = np.broadcast_to(values[..., None], (*values.shape, 3))
    return np.array(values, dtype=np.uint8, order="C")


def find_limits(array: npt.NDArray[Any], *, rgb: bool = False) -> ContrastLimits | None:
    """Return the values that are shown as 0 and 255.

    8-bit RGB passes unchanged, which is None, and float RGB is taken as [0, 1], as napari does.
    Everything else, dim 8-bit fluorescence too, is stretched between the 0.1 and 99.9 percentiles
    of the finite values.

    Parameters
    ----------
    array : ndarray
        A plane, or a sample of one.
    rgb : bool
        The last axis holds colours.

    Raises
    ------
    sam3.errors.ImageError
        If no value is finite.
    """
    if array.dtype == np.bool_ or (rgb and array.dtype == np.uint8):
        return None
    # Called in any case: it refuses a plane without a single finite value.
    limits = percentile_limits(array[..., :3] if rgb else array)
    return (0.0, 1.0) if rgb and np.issubdtype(array.dtype, np.floating) else limits


def to_8_bits(
    array: npt.NDArray[Any], limits: ContrastLimits | None, *, rgb: bool = False
) -> UInt8Plane:
    """Map `limits` to 0 and 255; NaN becomes 0, a constant plane a zero plane.

    Parameters
    ----------
    array : ndarray
        H x W, or H x W x 3 or 4 with `rgb`.
    limits : tuple of float, optional
        From `find_limits`, or the user's own.
    rgb : bool
        The last axis holds colours; alpha is dropped.

    Returns
    -------
    ndarray of uint8
        H x W, or H x W x 3 with `rgb`.
    """
    if rgb:
        array = array[..., :3]
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if limits is None:
        return np.asarray(array, np.uint8)
    return to_uint8(array, limits)


def check_pixels(shape: Sequence[int], dtype: np.dtype[Any], rgb: bool) -> None:
    """Refuse a plane that cannot be shown to a model, without reading it.

    Parameters
    ----------
    shape : sequence of int
        Of the plane, colours included.
    dtype : dtype
        Its data type.
    rgb : bool
        The last axis holds colours.

    Raises
    ------
    sam3.errors.ImageError
        Saying what would do.
    """
    shape = tuple(shape)
    if 0 in shape:
        raise ImageError(f"the image plane is empty (shape {shape}); choose another image")
    if len(shape) != (3 if rgb else 2) or (rgb and shape[-1] not in (3, 4)):
        wanted = "H x W x 3 or H x W x 4" if rgb else "H x W"
        raise ImageError(f"an image plane must be {wanted}, got shape {shape}")
    if dtype != np.bool_ and not (
        np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)
    ):
        raise ImageError(
            f"images of dtype {dtype} cannot be segmented; convert to real numbers "
            "first, e.g. with numpy.abs for complex images"
        )
