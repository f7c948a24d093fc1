"""Low-resolution logits to masks at the image's size, in the form that was asked for."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sam3.preprocess.transforms import UndrawnMask, crop_mask, fill_holes, upsample, write_mask
from sam3.runtime.cores import on_all_cores

__all__ = ["MaskKind", "empty_masks", "write_masks"]

MaskKind = Literal["masks", "logits", "crops", "undrawn"]
"""Masks at the image's size, logits of that size, bounding boxes, or what these are made from."""


def empty_masks(shape: tuple[int, int], size: tuple[int, int], kind: MaskKind) -> npt.NDArray[Any]:
    """Return an array for (B, C) masks of an image of size (height, width)."""
    if kind in ("crops", "undrawn"):
        return np.empty(shape, object)
    # Zeros cost nothing where nothing is written: the system hands out such pages when touched.
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
    """Bring logits to the size of the image.

    Parameters
    ----------
    masks : ndarray, shape (B, C, ...)
        A part of what :func:`empty_masks` returns, still empty.
    logits : Tensor, shape (B, C, L, L)
        As decoded.
    clamped : ndarray of float32, shape (B, C, L, L)
        As handed out.
    size : tuple of int
        (height, width) of the image.
    kind : MaskKind
        As `masks` was made for.
    fill_area : int
        Holes of at most this many low-resolution pixels are filled.
    """
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
    low = logits.cpu()

    def draw(index: tuple[int, ...]) -> None:
        filled = fill_holes(low[index][None], fill_area)[0]
        if kind == "masks":
            write_mask(masks[index], filled)
        else:
            masks[index] = crop_mask(filled, size)

    on_all_cores(draw, list(np.ndindex(*masks.shape[:2])))
