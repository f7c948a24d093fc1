"""Planes of n-dimensional image data, and their conversion to the model's 8-bit RGB input."""

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
    "describe_image",
    "find_limits",
    "nearest",
    "plane_from_array",
    "read_plane",
    "to_8_bits",
    "whole_lengths",
]

ContrastLimits = tuple[float, float]
UInt8Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PlaneIndex:
    """A 2-D plane of n-D data: two free axes and a fixed position on every other axis.

    Parameters
    ----------
    axes : tuple of int
        Axis of the plane's rows and axis of its columns, ascending in the order of the data, so
        that a transposed view of a plane is the same plane.
    index : tuple of int
        Position on each remaining axis, in the order of the axes.
    """

    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()

    @property
    def ndim(self) -> int:
        """Number of (spatial) axes of the data."""
        return len(self.index) + 2

    @property
    def other_axes(self) -> tuple[int, ...]:
        """The fixed axes, ascending."""
        return tuple(axis for axis in range(self.ndim) if axis not in self.axes)

    def slices(
        self, rows: slice = slice(None), columns: slice = slice(None)
    ) -> tuple[int | slice, ...]:
        """Return the index of this plane, or of a region of it, in the data."""
        fixed = iter(self.index)
        free = {self.axes[0]: rows, self.axes[1]: columns}
        return tuple(free[axis] if axis in free else next(fixed) for axis in range(self.ndim))

    def shape_of(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return the plane's (height, width) in px for data of ``shape`` (without channels)."""
        return int(shape[self.axes[0]]), int(shape[self.axes[1]])

    def __str__(self) -> str:
        """Describe the plane for messages."""
        if not self.index:
            return "the plane"
        where = zip(self.other_axes, self.index, strict=True)
        return "plane " + ", ".join(f"axis {axis} = {position}" for axis, position in where)


def nearest(positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Round positions in px to integers as napari does: halves round to even.

    Parameters
    ----------
    positions : array-like of float
        Coordinates along any axes; pixel centres are at integers.
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
    """Read one plane of array-like data, or a region of it, and no other pixels.

    Parameters
    ----------
    data : array-like
        numpy, dask, zarr or anything with ``shape`` and basic indexing; if `multiscale`, a sequence
        of such arrays, finest first.
    plane : PlaneIndex
        The plane; its axes do not include the channel axis.
    rgb : bool
        Whether the last axis holds 3 or 4 colour channels.
    multiscale : bool
        Whether `data` is a pyramid, of which the finest level is read.
    rows, columns : slice
        Region of the plane.

    Returns
    -------
    ndarray
        H x W, or H x W x C with `rgb`, of the data type of `data`.

    Raises
    ------
    sam3.errors.ImageError
        If the plane does not exist in the data.
    """
    source = data[0] if multiscale else data
    check_position(source.shape, plane, rgb=rgb)
    index = plane.slices(rows, columns) + ((slice(None),) if rgb else ())
    return np.asarray(source[index])


def whole_lengths(shape: Sequence[float], name: str = "") -> tuple[int, ...]:
    """Return the lengths of the axes of an array as integers.

    Raises
    ------
    sam3.errors.ImageError
        If one is not known, as of a dask array that was filtered: NaN stands for it.
    """
    if any(length != length for length in shape):
        raise ImageError(
            f"the lengths of {repr(name) if name else 'the image'} are not known: {tuple(shape)}. "
            "Expected whole numbers. Call compute_chunk_sizes() of the dask array first."
        )
    return tuple(int(length) for length in shape)


def describe_image(shape: Sequence[int], name: str = "") -> str:
    """Name an image by its name, if it has one, and its shape."""
    lengths = ", ".join(str(int(length)) for length in shape)
    return f"the image {repr(name) + ' ' if name else ''}of shape ({lengths})"


def check_position(shape: Sequence[int], plane: PlaneIndex, *, rgb: bool = False) -> None:
    """Raise an error for a plane that does not exist in data of ``shape``.

    Raises
    ------
    sam3.errors.ImageError
        With the position and the range of the data.
    """
    shape = whole_lengths(shape)
    spatial = shape[:-1] if rgb else shape
    if len(spatial) != plane.ndim:
        raise ImageError(
            f"the image of shape {shape} has {len(spatial)} axes without colours. Expected "
            f"{plane.ndim}, as the plane has. Choose a plane of this image."
        )
    for axis, position in zip(plane.other_axes, plane.index, strict=True):
        if not 0 <= position < spatial[axis]:
            raise ImageError(
                f"the position {position} on axis {axis} lies outside the image. Expected 0 to "
                f"{spatial[axis] - 1}. Move the slider into the image."
            )


def plane_from_array(
    data: npt.ArrayLike, *, rgb: bool = False, contrast: ContrastLimits | None = None
) -> UInt8Plane:
    """Convert a plane of any data type to the 8-bit RGB image that is encoded.

    Parameters
    ----------
    data : array-like
        H x W, or H x W x 3 or 4 with `rgb` (a fourth, alpha channel is dropped).
    rgb : bool
        Whether the last axis holds colours.
    contrast : tuple of float, optional
        Values mapped to 0 and 255; by default from `find_limits`.

    Returns
    -------
    ndarray of uint8, H x W x 3
        A C-contiguous copy.

    Raises
    ------
    sam3.errors.ImageError
        If the plane is empty, complex or all NaN, or has the wrong number of axes.
    """
    array = np.asarray(data)
    check_pixels(array.shape, array.dtype, rgb)
    limits = contrast if contrast is not None else find_limits(array, rgb=rgb)
    values = to_8_bits(array, limits, rgb=rgb)
    if not rgb:
        values = np.broadcast_to(values[..., None], (*values.shape, 3))
    return np.array(values, dtype=np.uint8, order="C")


def find_limits(
    array: npt.NDArray[Any], *, rgb: bool = False, what: str = ""
) -> ContrastLimits | None:
    """Return the contrast limits of a plane; None for 8-bit RGB, which is not stretched.

    Float RGB is taken as [0, 1], as in napari. Everything else, including dim 8-bit fluorescence,
    is stretched between the 0.1 and 99.9 percentiles of the finite values.

    Parameters
    ----------
    array : ndarray
        A plane or a sample of one.
    rgb : bool
        Whether the last axis holds colours.
    what : str
        What the values are of, for the message.

    Raises
    ------
    sam3.errors.ImageError
        If no value is finite.
    """
    if array.dtype == np.bool_ or (rgb and array.dtype == np.uint8):
        return None
    # Always computed, since it raises the error for a plane without finite values.
    limits = percentile_limits(array[..., :3] if rgb else array, what)
    return (0.0, 1.0) if rgb and np.issubdtype(array.dtype, np.floating) else limits


def to_8_bits(
    array: npt.NDArray[Any], limits: ContrastLimits | None, *, rgb: bool = False
) -> UInt8Plane:
    """Map `limits` to 0 and 255; NaN and constant planes become 0.

    Parameters
    ----------
    array : ndarray
        H x W, or H x W x 3 or 4 with `rgb`.
    limits : tuple of float, optional
        From `find_limits`, or chosen by the user.
    rgb : bool
        Whether the last axis holds colours; alpha is dropped.

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
    """Raise an error for a plane that cannot be encoded, without reading it.

    Parameters
    ----------
    shape : sequence of int
        Shape of the plane, including colours.
    dtype : dtype
        Its data type.
    rgb : bool
        Whether the last axis holds colours.

    Raises
    ------
    sam3.errors.ImageError
        With the shapes and types that can be encoded.
    """
    shape = tuple(shape)
    if 0 in shape:
        raise ImageError(
            f"the image plane is empty: shape {shape}. Expected at least one pixel. Choose "
            "another image."
        )
    if len(shape) != (3 if rgb else 2) or (rgb and shape[-1] not in (3, 4)):
        expected = "H x W x 3 or H x W x 4" if rgb else "H x W"
        raise ImageError(
            f"the image plane has the shape {shape}. Expected {expected}. Choose another image, "
            "or say whether its last axis holds colours (rgb)."
        )
    if dtype != np.bool_ and not (
        np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)
    ):
        raise ImageError(
            f"images of data type {dtype} cannot be segmented. Expected real numbers. Convert "
            "them, for example with numpy.abs for complex images."
        )
