"""Instances of a concept that were found on one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam3.errors import PromptError
from sam3.preprocess.transforms import MaskCrop, crop_mask, write_mask
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
        x0, y0, x1, y1 in pixels of the image. They are predicted apart from the masks and may
        reach beyond the image.
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
        """Draw the masks within their bounding boxes; nothing of the image's size is made."""
        crops: dict[int, MaskCrop] = {}

        def draw(index: int) -> None:
            crops[index] = crop_mask(torch.from_numpy(self.logits[index]), self.size)

        on_all_cores(draw, range(len(self)))
        return [crops[index] for index in range(len(self))]


@dataclass(frozen=True, eq=False)
class Candidates:
    """The answers of all Q queries; a threshold makes :class:`Detections` of them.

    Another threshold needs no new inference.

    Attributes
    ----------
    scores : ndarray of float32, shape (Q,)
        In 0..1.
    boxes : ndarray of float32, shape (Q, 4)
        x0, y0, x1, y1 in pixels of the image.
    size : tuple of int
        (height, width) of the image.
    draw : callable
        Makes low-resolution logits (K, L, L) of the queries with the given indices (K,).
    """

    scores: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    size: tuple[int, int]
    draw: Callable[[Tensor], Tensor]

    def above(self, threshold: float) -> Detections:
        """Return the instances with a score above a threshold; there may be none.

        Raises
        ------
        PromptError
            If the threshold is not within 0..1.
        """
        chosen = np.flatnonzero(self.scores > np.float32(check_threshold(threshold)))
        logits = self.draw(torch.from_numpy(chosen)).cpu().numpy()
        return Detections(self.scores[chosen], self.boxes[chosen], logits, self.size)


def check_threshold(threshold: float) -> float:
    """Return a threshold as a float.

    Raises
    ------
    PromptError
        If it is no number within 0..1.
    """
    try:
        value = float(threshold)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 <= value <= 1:
        raise PromptError(
            f"the confidence threshold is {threshold!r}. Expected a number from 0 to 1, such as "
            "0.5."
        )
    return value
