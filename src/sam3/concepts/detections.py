"""Detected instances of a concept on one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3.errors import PromptError
from sam3.preprocess.masks import MaskCrop, crop_mask, write_mask
from sam3.runtime.cores import on_all_cores

__all__ = ["Candidates", "Detections", "check_threshold"]


@dataclass(frozen=True, eq=False)
class Detections:
    """K instances, in the order of the detector's queries.

    Attributes
    ----------
    scores : ndarray of float32, shape (K,)
        In 0..1.
    boxes : ndarray of float32, shape (K, 4)
        x0, y0, x1, y1 in pixels of the image. They are predicted independently of the masks and
        may extend beyond the image.
    logits : ndarray of float32, shape (K, L, L)
        Low-resolution logits of the masks.
    size : tuple of int
        (height, width) of the image.
    """

    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    size: tuple[int, int]

    def __len__(self) -> int:
        """Return the number K of instances."""
        return len(self.scores)

    def masks(self) -> npt.NDArray[np.bool_]:
        """Draw the masks (K, H, W) at the size of the image."""
        masks = np.zeros((len(self), *self.size), np.bool_)

        def draw(index: int) -> None:
            write_mask(masks[index], torch.from_numpy(self.logits[index]))

        on_all_cores(draw, range(len(self)))
        return masks

    def crops(self) -> list[MaskCrop]:
        """Draw the masks within their bounding boxes, without arrays of the image's size."""
        crops: dict[int, MaskCrop] = {}

        def draw(index: int) -> None:
            crops[index] = crop_mask(torch.from_numpy(self.logits[index]), self.size)

        on_all_cores(draw, range(len(self)))
        return [crops[index] for index in range(len(self))]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Predictions of all Q queries, from which a threshold selects :class:`Detections`.

    Changing the threshold needs no further inference.

    Attributes
    ----------
    scores : ndarray of float32, shape (Q,)
        In 0..1.
    boxes : ndarray of float32, shape (Q, 4)
        x0, y0, x1, y1 in pixels of the image.
    size : tuple of int
        (height, width) of the image.
    draw : callable
        Computes the low-resolution logits (K, L, L) of the queries with indices (K,).
    """

    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    size: tuple[int, int]
    draw: Callable[[Tensor], Tensor]

    def above(self, threshold: float) -> Detections:
        """Return the instances with a score above a threshold, possibly none.

        Raises
        ------
        PromptError
            If the threshold is not within 0..1.
        """
        indices = np.flatnonzero(self.scores > np.float32(check_threshold(threshold)))
        logits = self.draw(torch.from_numpy(indices)).cpu().numpy()
        return Detections(self.scores[indices], self.boxes[indices], logits, self.size)


def check_threshold(threshold: float) -> float:
    """Return a threshold as a float.

    Raises
    ------
    PromptError
        If it is not a number in 0..1.
    """
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= 1:
        raise PromptError(
            f"invalid confidence threshold: {threshold!r}. Expected a number from 0 to 1, such as "
            "0.5. Choose one."
        )
    return value
