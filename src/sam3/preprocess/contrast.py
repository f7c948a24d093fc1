"""Contrast stretching of pixel values of any data type to 8 bits, with numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

__all__ = ["percentile_limits", "to_uint8"]

_PERCENTILES = (0.1, 99.9)
_TABLE = 1 << 16  # number of 16-bit values
_LARGEST = 1e300  # differences of larger values would overflow
_SAMPLE = 1_000_000  # values sampled; more take time without improving the estimate


def percentile_limits(values: npt.NDArray[np.generic], what: str = "") -> tuple[float, float]:
    """Return the 0.1 and 99.9 percentiles of the finite values of an array.

    Parameters
    ----------
    values : ndarray
        Any shape, any real data type. Large arrays are sampled on a regular grid.
    what : str
        What the values are of, for the message; by default an image of the shape of `values`.

    Returns
    -------
    low, high : float
        Equal if all values are; robust against a few hot or dead pixels.

    Raises
    ------
    ImageError
        If no value is finite.
    """
    flat = np.asarray(values).reshape(-1)
    with np.errstate(over="ignore"):  # of long doubles
        flat = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    finite = flat[np.isfinite(flat)].clip(-_LARGEST, _LARGEST)
    if not finite.size:
        raise ImageError(
            f"{what or f'the image of shape {np.shape(values)}'} holds no finite value: all "
            f"{flat.size} values read are NaN or infinite. Expected finite values. Check how it "
            "was made, or choose another image."
        )
    low, high = np.percentile(finite, _PERCENTILES)
    if low == high:  # sparse signal on a uniform background
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def to_uint8(values: npt.NDArray[np.generic], limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Map `limits` to 0 and 255 and clip; NaN and constant images map to 0.

    Parameters
    ----------
    values : ndarray
        Any shape, any real data type.
    limits : tuple of float
        Values mapped to black and white.

    Returns
    -------
    ndarray of uint8
        Of the shape of `values`.
    """
    low, high = limits
    values = np.asarray(values)
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    dtype: np.dtype[Any] = values.dtype
    if dtype.kind in "iu" and dtype.itemsize <= 2 and values.size > _TABLE:
        # Faster for large camera images: map each of the possible values once.
        lowest, highest = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        table = to_uint8(np.arange(lowest, highest + 1), limits)
        return np.asarray(table[values if lowest == 0 else values.astype(np.int32) - lowest])
    with np.errstate(over="ignore", invalid="ignore"):  # infinity maps to white, NaN to black
        scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)
