"""What a predictor answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Prediction"]


@dataclass(frozen=True)
class Prediction:
    """Masks for one or more prompted objects; all arrays get a leading B for B > 1 objects.

    Attributes
    ----------
    masks : ndarray of bool, shape (C, H, W)
        At the image's size; float32 logits where these were asked for. C is 3 or 1. Where crops
        were asked for, an array of :class:`sam3.preprocess.transforms.MaskCrop` of shape (C,).
    scores : ndarray of float32, shape (C,)
        Predicted intersection over union.
    logits : ndarray of float32, shape (C, L, L)
        Low-resolution logits within +-32, to be given back as ``mask_input``.
    """

    masks: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
