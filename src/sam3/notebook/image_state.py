"""State of the public SAM 3 notebook's processor: encoded images and the concept searched."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor

from sam3.concepts.detections import Candidates
from sam3.features import ImageFeatures

__all__ = ["ImageState"]

_LOG = logging.getLogger(__name__)


class ImageState:
    """Encoded images, and the results of a concept on them.

    The results are read like a dict: ``state["masks"]``, a bool tensor of shape (K, 1, H, W);
    ``state["boxes"]``, (K, 4) with x0, y0, x1, y1 in pixels; and ``state["scores"]``, (K,). Clicks
    do not change the state.

    Parameters
    ----------
    images : iterable of ImageFeatures

    Attributes
    ----------
    images : tuple of ImageFeatures
    text : str or None
        The text prompt.
    boxes, labels : list
        Example boxes (centre x, centre y, width, height in 0..1) and whether each is positive.
    """

    def __init__(self, images: Iterable[ImageFeatures]) -> None:
        self.images = tuple(images)
        self.reset()

    def reset(self) -> None:
        """Remove the concept and its results; the images stay encoded."""
        self.text: str | None = None
        self.boxes: list[list[float]] = []
        self.labels: list[bool] = []
        self.candidates: Candidates | None = None
        self._results: dict[str, Tensor] = {}

    def show(self, threshold: float) -> None:
        """Compute the results from the candidates above a threshold."""
        if self.candidates is None:
            return
        detections = self.candidates.above(threshold)
        if not len(detections):
            best = float(self.candidates.scores.max())
            _LOG.info("no instance was found: best score %.3f, threshold %.3f", best, threshold)
        self._results = {
            "masks": torch.from_numpy(detections.masks())[:, None],
            "boxes": torch.from_numpy(detections.boxes),
            "scores": torch.from_numpy(detections.scores),
        }

    def keys(self) -> tuple[str, ...]:
        """Return the names of the results, if there are any."""
        return tuple(self._results)

    def __contains__(self, name: object) -> bool:
        return name in self._results

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._results[name]
        except KeyError:
            raise KeyError(
                f'the state has no {name!r}. Expected "masks", "boxes" or "scores", after '
                "set_text_prompt or add_geometric_prompt. Call one of these first."
            ) from None
