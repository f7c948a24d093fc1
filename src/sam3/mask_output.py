"""Low-resolution logits to masks at the image's size, in the form that was asked for."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sam3.transforms import crop_mask, upsample, write_mask

__all__ = ["MaskKind", "empty_masks", "write_masks"]

MaskKind = Literal["masks", "logits", "crops"]
"""Masks at the image's size, the logits of such, or bounding boxes (`MaskCrop`)."""


def empty_masks(shape: tuple[int, int], size: tuple[int, int], kind: MaskKind) -> npt.NDArray[Any]:
    """Return an array for (B, C) masks of an image of size (height, width)."""
    if kind == "crops":
        return np.empty(shape, object)
    # Zeros cost nothing where nothing is written: the system hands out such pages when touched.
    return np.zeros((*shape, *size), np.float32 if kind == "logits" else np.bool_)


def write_masks(masks: npt.NDArray[Any], logits: Tensor, size: tuple[int, int]) -> None:
    """Bring logits to the size of the image.

    Parameters
    ----------
    masks : ndarray, shape (B, C, ...)
        A part of what :func:`empty_masks` returns, still empty.
    logits : Tensor, shape (B, C, L, L)
    size : tuple of int
        (height, width) of the image.
    """
    if masks.dtype == np.float32:
        masks[:] = upsample(logits, size).cpu()
    elif masks.dtype == np.bool_ and logits.device.type != "cpu":
        masks[:] = (upsample(logits, size) > 0).cpu()
    else:
        logits = logits.cpu()
        for index in np.ndindex(*masks.shape[:2]):
            if masks.dtype == np.bool_:
                write_mask(masks[index], logits[index])
            else:
                masks[index] = crop_mask(logits[index], size)
