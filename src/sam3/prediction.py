"""The result of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Masks of one or more prompted objects; all arrays have a leading axis B if B > 1.

    Attributes
    ----------
    masks : ndarray of bool, shape (C, H, W)
        At the image's size; float32 logits or an array (C,) of
        :class:`sam3.preprocess.masks.MaskCrop`, on request. C is 3 or 1.
    scores : ndarray of float32, shape (C,)
        Predicted intersection over union.
    logits : ndarray of float32, shape (C, L, L)
        Low-resolution logits, clipped to +-32, for use as ``mask_input``.
    """

    masks: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
