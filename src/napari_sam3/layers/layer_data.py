"""The pixels of a layer as arrays that numpy knows, whatever napari shows them from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

if TYPE_CHECKING:
    from napari.layers import Image

__all__ = ["pixels_of"]


def pixels_of(image: Image) -> Any:
    """Return the data of an Image layer, or its levels, with data types of numpy.

    Arrays in memory of other libraries, such as tensors, are seen through, not copied. What has a
    data type of numpy already is left as it is; nothing lazy is read but a pixel.

    Raises
    ------
    sam3.errors.ImageError
        If numpy cannot read the data.
    """
    if image.multiscale:
        return [_readable(level, image.name) for level in image.data]
    return _readable(image.data, image.name)


class _Converted:
    """An array-like with a data type that numpy does not know, converted as it is read."""

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
        # Tensors that are being trained have to be let go of first.
        return np.asarray(data.detach()) if hasattr(data, "detach") else _Converted(data)
    except Exception as error:  # every library raises what it likes
        kind = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
        raise ImageError(
            f"the data of {name!r} cannot be read as an array: {kind} of {data.dtype} ({error}). "
            "Expected numbers that numpy knows. Convert them, e.g. to float32"
        ) from error
