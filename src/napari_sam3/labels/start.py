"""What labels were before anything was done to them, as a line of text to be compared later."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

__all__ = ["EMPTY", "GIVEN", "describe_labels", "is_known"]

#: There was only background.
EMPTY: Final = "empty"
#: There may have been labels, of which nothing is known. With a digest of them, they are known.
GIVEN: Final = "given"
#: Labels that take more bytes are not described: it would take seconds.
LARGEST_DESCRIBED = 1 << 31


def describe_labels(labels: Any) -> str:
    """Describe labels by their shape and values, whatever their integer type.

    Parameters
    ----------
    labels : ndarray of integers
        Arrays of other kinds, which may be anywhere, are not read.

    Returns
    -------
    str
        "empty" for background alone, "given" and a digest for other labels, "given" alone for what
        is not described. Equal labels have equal descriptions.
    """
    if not isinstance(labels, np.ndarray) or labels.nbytes > LARGEST_DESCRIBED:
        return GIVEN
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low == high == 0:
        return EMPTY
    dtype = "<u4" if low >= 0 and high < 1 << 32 else "<i8" if high < 1 << 63 else "<u8"
    digest = hashlib.blake2b(repr((labels.shape, dtype)).encode(), digest_size=16)
    for part in labels if labels.ndim > 2 else (labels,):
        digest.update(np.ascontiguousarray(part, dtype).data)
    return f"{GIVEN} {digest.hexdigest()}"


def is_known(start: str) -> bool:
    """Whether a description tells labels from all others."""
    return start != GIVEN
