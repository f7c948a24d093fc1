"""Lossless encoding of masks as run lengths and of label crops as text, with size limits."""

from __future__ import annotations

import base64
import binascii
import re
import reprlib
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from .strict import RecordError

__all__ = [
    "MAX_CROP_BYTES",
    "MAX_MASK_PIXELS",
    "labels_from_text",
    "labels_text_bytes",
    "labels_text_shape",
    "labels_to_text",
    "mask_to_runs",
    "runs_to_mask",
]

# Far above any object or stroke; records that announce more are rejected before allocation.
MAX_MASK_PIXELS = 1 << 28
MAX_CROP_BYTES = 1 << 31
# The maximum compression ratio of deflate bounds the announced size by the length of the text.
_MAX_RATIO = 1100
_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_TEXT = re.compile(r"([a-z]+[0-9]+) ([0-9]{1,10})x([0-9]{1,10}) ([A-Za-z0-9+/=]*)", re.ASCII)


def mask_to_runs(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode a mask as run lengths.

    Parameters
    ----------
    mask : ndarray of bool, h x w

    Returns
    -------
    list of int
        Lengths of alternating runs of unset and set pixels, in row-major order (COCO's uncompressed
        RLE is column-major). Only the first, which counts unset pixels, may be 0.
    """
    flat = np.asarray(mask, bool).ravel()
    if not flat.size:
        return []
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs: list[int] = np.diff(changes, prepend=0, append=flat.size).tolist()
    return [0, *runs] if flat[0] else runs


def runs_to_mask(runs: list[int], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Decode run lengths to a mask of ``shape`` (h, w).

    Raises
    ------
    RecordError
        If the run lengths are invalid, or do not add up to the shape.
    """
    height, width = shape
    if height < 0 or width < 0 or height * width > MAX_MASK_PIXELS:
        raise RecordError.unreadable(
            f"a mask is too large for an object: {height} x {width} px",
            f"at most {MAX_MASK_PIXELS} px",
        )
    # Each length is checked separately, since a sum could hide a negative one.
    if any(type(run) is not int or run < (i > 0) for i, run in enumerate(runs)) or (
        sum(runs) != height * width
    ):
        raise RecordError.unreadable(
            f"the {len(runs)} run lengths of a mask are invalid: {reprlib.repr(runs)}",
            f"positive integers that add up to its {height} x {width} px",
        )
    is_set = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_set, np.asarray(runs, np.int64)).reshape(height, width)


def labels_to_text(values: npt.NDArray[Any]) -> str:
    """Encode a crop of labels as ``dtype heightxwidth base64``, little-endian and deflated.

    Parameters
    ----------
    values : ndarray of integers, h x w

    Raises
    ------
    RecordError
        If it is not a 2-D array of integers, or is too large.
    """
    if values.ndim != 2 or values.dtype.name not in _INTEGERS or values.nbytes > MAX_CROP_BYTES:
        raise RecordError.unstorable(
            f"labels cannot be stored: dtype {values.dtype} and shape {values.shape}",
            f"2-D integers of at most {MAX_CROP_BYTES} bytes",
        )
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    # Level 1: for runs of equal labels, higher levels are slow and save little.
    packed = base64.b64encode(zlib.compress(little.tobytes(), 1)).decode("ascii")
    return f"{values.dtype.name} {values.shape[0]}x{values.shape[1]} {packed}"


def labels_text_bytes(text: str) -> int:
    """Return the size in bytes of encoded labels, as `labels_text_shape` does their shape."""
    dtype, (height, width), _ = _announced(text)
    return height * width * dtype.itemsize


def labels_text_shape(text: str) -> tuple[int, int]:
    """Return the (height, width) of encoded labels, without decoding them.

    Raises
    ------
    RecordError
        If the text is invalid, or too short for its shape.
    """
    return _announced(text)[1]


def labels_from_text(text: str) -> npt.NDArray[Any]:
    """Decode labels, h x w, in native byte order.

    Raises
    ------
    RecordError
        If the text is damaged. Never decompresses more than the text announces.
    """
    dtype, shape, packed = _announced(text)
    size = shape[0] * shape[1] * dtype.itemsize
    unpack = zlib.decompressobj()
    try:
        content = unpack.decompress(base64.b64decode(packed, validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise RecordError.unreadable(
            f"the labels cannot be unpacked: {error}", "base64 of deflated pixels"
        ) from error
    if len(content) != size or not unpack.eof or unpack.unused_data:
        raise RecordError.unreadable(
            f"the labels unpack to another size: {len(content)} bytes or more",
            f"the {size} bytes of {dtype.name} {shape[0]} x {shape[1]} that they announce",
        )
    values = np.frombuffer(content, dtype.newbyteorder("<")).reshape(shape)
    return values.astype(dtype)


def _announced(text: str) -> tuple[np.dtype[Any], tuple[int, int], str]:
    match = _TEXT.fullmatch(text)
    if match is None or match[1] not in _INTEGERS:
        raise RecordError.unreadable(
            f"not a text of labels: {text[:40]!r}",
            "'dtype heightxwidth base64' with an integer dtype",
        )
    dtype, height, width = np.dtype(match[1]), int(match[2]), int(match[3])
    size = height * width * dtype.itemsize
    if size > MAX_CROP_BYTES or size > _MAX_RATIO * len(match[4]):
        raise RecordError.unreadable(
            f"the labels are announced as {dtype.name} {height} x {width}",
            f"no more than their {len(match[4])} characters can hold",
        )
    return dtype, (height, width), match[4]
