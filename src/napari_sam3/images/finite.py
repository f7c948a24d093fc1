"""Search a plane for finite values: in a sample first, then in all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .reading import chunk_rows, is_in_memory, read_pixels, sample_plane

if TYPE_CHECKING:
    from napari_sam3.core.planes import PlaneIndex

__all__ = ["STRIP_BYTES", "any_finite", "find_finite"]

#: Larger regions of lazy data are read in strips.
STRIP_BYTES = 64_000_000


def any_finite(values: npt.NDArray[Any], *, rgb: bool = False) -> bool:
    """Whether any value is finite; of colours, without alpha."""
    return bool(np.isfinite(values[..., :3] if rgb else values).any())


def find_finite(
    levels: Sequence[Any], plane: PlaneIndex, *, rgb: bool = False, name: str = ""
) -> npt.NDArray[Any] | None:
    """Return pixels of a plane of which some are finite; None if none is.

    Parameters
    ----------
    levels : sequence of array-like
        One array, or a pyramid, finest first.
    plane : PlaneIndex
        A plane of the finest level.
    rgb : bool
        Whether the last axis holds colours.
    name : str
        Name of the image in messages.

    Returns
    -------
    ndarray or None
        N values, or N x C with `rgb`: a sample of lazy data, or the first strip with a value.

    Raises
    ------
    sam3.errors.ImageError
        If the plane cannot be read.
    """
    finest = levels[0]
    if not all(is_in_memory(level) for level in levels):
        sample = sample_plane(levels, plane, rgb=rgb, name=name)
        if any_finite(sample, rgb=rgb):
            return sample
    (height, width), chunk = plane.shape_of(finest.shape), chunk_rows(finest, plane)
    rows = chunk * max(1, STRIP_BYTES // (chunk * width * np.dtype(finest.dtype).itemsize))
    for top in range(0, height, rows):
        span = top, min(top + rows, height)
        pixels = read_pixels(finest, plane, span, (0, width), rgb=rgb, name=name)
        if any_finite(pixels, rgb=rgb):
            return pixels.reshape(-1, pixels.shape[-1]) if rgb else pixels.reshape(-1)
    return None
