"""Initial state of labels as a line of text, for later comparison."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

__all__ = ["EMPTY", "GIVEN", "describe_labels", "is_known"]

#: Background only.
EMPTY: Final = "empty"
#: Unknown labels, if any. Followed by a digest, known labels.
GIVEN: Final = "given"
#: Larger labels, in bytes, are not described, since it would take seconds.
LARGEST_DESCRIBED = 1 << 31


def describe_labels(labels: Any) -> str:
    """Describe labels by their shape and values, independently of their integer type.

    Parameters
    ----------
    labels : ndarray of integers
        Arrays of other types, which may be remote, are not read.

    Returns
    -------
    str
        "empty" for background alone, "given" with a digest for other labels, "given" alone for
        labels that are not described. Equal labels have equal descriptions.
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
    """Tell whether a description identifies the labels."""
    return start != GIVEN
