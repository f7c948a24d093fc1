"""Stretch pixel values of any kind to 8 bits. Needs numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

__all__ = ["percentile_limits", "to_uint8"]

_PERCENTILES = (0.1, 99.9)
_TABLE = 1 << 16  # values of 16 bits
# Beyond it the differences of values are no numbers any more.
_MOST = 1e300
_SAMPLE = 1_000_000  # values looked at; more add time and no accuracy


def percentile_limits(values: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Return the 0.1 and 99.9 percentiles of the finite values of an array.

    Parameters
    ----------
    values : ndarray
        Any shape, any real data type. Large arrays are sampled on a regular grid.

    Returns
    -------
    low, high : float
        Equal where all values are; robust against a few hot or dead pixels.

    Raises
    ------
    ImageError
        If no value is finite.
    """
    flat = np.asarray(values).reshape(-1)
    with np.errstate(over="ignore"):  # of long doubles
        flat = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    finite = flat[np.isfinite(flat)].clip(-_MOST, _MOST)
    if not finite.size:
        raise ImageError(
            f"the image of shape {np.shape(values)} holds no finite value, only NaN or infinity; "
            "check how it was made or choose another plane."
        )
    low, high = np.percentile(finite, _PERCENTILES)
    if low == high:  # sparse signal on an even background
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def to_uint8(values: npt.NDArray[np.generic], limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Map `limits` to 0 and 255 and clip; NaN and constant images become 0.

    Parameters
    ----------
    values : ndarray
        Any shape, any real data type.
    limits : tuple of float
        Values that become black and white.

    Returns
    -------
    ndarray of uint8
        Of the same shape.
    """
    low, high = limits
    values = np.asarray(values)
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    dtype: np.dtype[Any] = values.dtype
    if dtype.kind in "iu" and dtype.itemsize <= 2 and values.size > _TABLE:
        # Large planes of cameras: each value is mapped once, not each pixel.
        lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        table = to_uint8(np.arange(lowest, highest + 1), limits)
        return np.asarray(table[values if lowest == 0 else values.astype(np.int32) - lowest])
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is white, what is undefined black
        scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)
