"""Pixels of a layer as arrays with dtypes of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["pixels_of"]


def pixels_of(image: Image) -> Any:
    """Return the data of an Image layer, or its levels, with dtypes of numpy.

    Arrays in memory of other libraries, such as tensors, become views. Arrays with a dtype of
    numpy are returned unchanged; of lazy ones, at most a pixel is read.

    Raises
    ------
    sam3.errors.ImageError
        If numpy cannot read the data.
    """
    if image.multiscale:
        return [_readable(level, image.name) for level in image.data]
    return _readable(image.data, image.name)


class _Converted:
    """An array-like with a dtype unknown to numpy, converted when read."""

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape = tuple(int(length) for length in data.shape)
        self.ndim = len(self.shape)
        self.dtype = self[(slice(0, 1),) * self.ndim].dtype

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        return np.asarray(self._data[index])


def _readable(data: Any, name: str) -> Any:
    if isinstance(getattr(data, "dtype", None), np.dtype):
        return data
    try:
        # Tensors that require gradients must be detached first.
        return np.asarray(data.detach()) if hasattr(data, "detach") else _Converted(data)
    except Exception as error:  # error types of many libraries
        kind = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
        raise ImageError(
            f"the data of {name!r} cannot be read as an array: {kind} of {data.dtype} ({error}). "
            "Expected a dtype of numpy. Convert the data, e.g. to float32."
        ) from error
