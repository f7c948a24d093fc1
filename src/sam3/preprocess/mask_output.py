"""Conversion of low-resolution logits to masks at the image's size."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sam3.preprocess.masks import (
    UndrawnMask,
    crop_mask,
    crop_masks,
    fill_holes,
    upsample,
    write_mask,
)
from sam3.runtime.cores import on_all_cores

__all__ = ["MaskKind", "empty_masks", "write_masks"]

MaskKind = Literal["masks", "logits", "crops", "undrawn"]
"""Masks or logits at the image's size, bounding boxes, or masks to be drawn later."""


def empty_masks(shape: tuple[int, int], size: tuple[int, int], kind: MaskKind) -> npt.NDArray[Any]:
    """Return an array for (B, C) masks of an image of size (height, width)."""
    if kind in ("crops", "undrawn"):
        return np.empty(shape, object)
    # Pages of zeros take no memory until they are written.
    return np.zeros((*shape, *size), np.float32 if kind == "logits" else np.bool_)


def write_masks(
    masks: npt.NDArray[Any],
    logits: Tensor,
    clamped: npt.NDArray[np.float32],
    size: tuple[int, int],
    *,
    kind: MaskKind,
    fill_area: int,
) -> None:
    """Write masks from low-resolution logits.

    Parameters
    ----------
    masks : ndarray, shape (B, C, ...)
        A slice of the array from :func:`empty_masks`, not yet filled.
    logits : Tensor, shape (B, C, L, L)
        Output of the decoder.
    clamped : ndarray of float32, shape (B, C, L, L)
        Logits returned to the caller.
    size : tuple of int
        (height, width) of the image.
    kind : MaskKind
        Kind of `masks`.
    fill_area : int
        Largest background component, in low-resolution pixels, that is filled.
    """
    if logits.is_cuda:  # the holes of all masks at once
        logits, fill_area = fill_holes(logits, fill_area), 0
    if kind == "undrawn":
        exact = logits.cpu().numpy()
        for index in np.ndindex(*masks.shape):
            same = np.array_equal(exact[index], clamped[index])
            masks[index] = UndrawnMask(size, fill_area, None if same else exact[index].copy())
        return
    if kind == "logits" or (kind == "masks" and logits.device.type != "cpu"):
        large = upsample(fill_holes(logits, fill_area), size)
        masks[:] = (large if kind == "logits" else large > 0).cpu().numpy()
        return
    if logits.is_cuda:
        crops = crop_masks(logits.flatten(0, 1), size)
        for index, crop in zip(np.ndindex(*masks.shape), crops, strict=True):
            masks[index] = crop
        return
    low = logits.cpu()

    def draw(index: tuple[int, ...]) -> None:
        filled = fill_holes(low[index][None], fill_area)[0]
        if kind == "masks":
            write_mask(masks[index], filled)
        else:
            masks[index] = crop_mask(filled, size)

    on_all_cores(draw, list(np.ndindex(*masks.shape[:2])))
