"""What the public SAM 3 notebook's processor keeps of images and of the concept asked for."""

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
    """Encoded images, and the concept that was asked for on them.

    The results of a concept are read like those of a dict: ``state["masks"]``, a bool tensor of
    shape (K, 1, H, W); ``state["boxes"]``, (K, 4) with x0, y0, x1, y1 in pixels; and
    ``state["scores"]``, (K,). Clicks leave the state as it is.

    Parameters
    ----------
    images : iterable of ImageFeatures

    Attributes
    ----------
    images : tuple of ImageFeatures
    text : str or None
        The text prompt.
    boxes, labels : list
        Example boxes (centre x, centre y, width, height in 0..1) and whether each is wanted.
    """

    def __init__(self, images: Iterable[ImageFeatures]) -> None:
        self.images = tuple(images)
        self.reset()

    def reset(self) -> None:
        """Forget the concept and its results; the images stay encoded."""
        self.text: str | None = None
        self.boxes: list[list[float]] = []
        self.labels: list[bool] = []
        self.candidates: Candidates | None = None
        self._results: dict[str, Tensor] = {}

    def show(self, threshold: float) -> None:
        """Make the results of the candidates above a threshold."""
        if self.candidates is None:
            return
        found = self.candidates.above(threshold)
        if not len(found):
            best = float(self.candidates.scores.max())
            _LOG.info("no instance was found: best score %.3f, threshold %.3f", best, threshold)
        self._results = {
            "masks": torch.from_numpy(found.masks())[:, None],
            "boxes": torch.from_numpy(found.boxes),
            "scores": torch.from_numpy(found.scores),
        }

    def keys(self) -> tuple[str, ...]:
        """Return the names of the results that there are."""
        return tuple(self._results)

    def __contains__(self, name: object) -> bool:
        return name in self._results

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._results[name]
        except KeyError:
            raise KeyError(
                f'the state has no {name!r}. Expected "masks", "boxes" or "scores", after '
                "set_text_prompt or add_geometric_prompt."
            ) from None
