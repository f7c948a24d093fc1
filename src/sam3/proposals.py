"""Proposals of objects on an encoded image, before the first click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sam3.errors import ConfigError
from sam3.features import ImageFeatures
from sam3.model.box_operators import nms
from sam3.predictor import Predictor

__all__ = ["BoxProposals", "propose"]

_DUPLICATE_IOU = 0.6


@dataclass(frozen=True, eq=False)
class BoxProposals:
    """Boxes of N objects of an image, in order of decreasing score.

    Attributes
    ----------
    boxes : ndarray of float64, shape (N, 4)
        x0, y0, x1, y1 in pixels of the image, clipped to it; pixel centres are at integers.
    points : ndarray of float64, shape (N, 2)
        (x, y) of a point well inside each object.
    scores : ndarray of float32, shape (N,)
        Depth of that point in the object: 1 in its middle, 0 on the background.
    """

    boxes: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]


def propose(
    predictor: Predictor, features: ImageFeatures, least_score: float = 0.4
) -> BoxProposals:
    """Propose boxes for all objects of an encoded image.

    Each local maximum of the score proposes a box; of boxes that overlap by more than an IoU of
    0.6, the best is kept.

    Parameters
    ----------
    predictor : Predictor
        With a proposal head, as the embedded model has.
    features : ImageFeatures
        From its :meth:`~sam3.predictor.Predictor.encode`.
    least_score : float
        Minimum score of a proposal, 0 to 1.

    Returns
    -------
    BoxProposals

    Raises
    ------
    ConfigError
        If the weights have no proposal head.
    """
    head = predictor.proposal_head
    if head is None:
        raise ConfigError(
            f"the model {predictor.config.name!r} has no proposal head. Expected weights with "
            "one, such as the embedded model's. Click on a grid instead."
        )
    with predictor.running("propose objects"):
        encoded = features.to(predictor.device).encoded
        proposals = head(encoded.embedding, encoded.middle, encoded.fine)
    scores, sides = proposals.scores[0].float().sigmoid().cpu(), proposals.sides[0].float().cpu()
    highest = F.max_pool2d(scores[None, None], 3, stride=1, padding=1)[0, 0]
    rows, columns = torch.nonzero((scores >= least_score) & (scores == highest), as_tuple=True)
    size = predictor.config.resolution
    cell = size / scores.shape[-1]
    x, y = (columns + 0.5) * cell, (rows + 0.5) * cell
    left, top, right, bottom = sides[:, rows, columns]
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=1).clamp(0, size)
    kept = nms(boxes, scores[rows, columns], _DUPLICATE_IOU)
    return BoxProposals(
        _to_image(boxes[kept], features.size, size),
        _to_image(torch.stack([x, y], dim=1)[kept], features.size, size),
        scores[rows, columns][kept].numpy(),
    )


def _to_image(places: Tensor, size: tuple[int, int], side: int) -> npt.NDArray[np.float64]:
    """Map (x, y) pairs from the model's input, with edges at 0 and `side`, to image pixels."""
    height, width = size
    pairs = places.double().numpy().reshape(-1, 2) * (np.array([width, height]) / side) - 0.5
    return np.clip(pairs, 0, [width - 1, height - 1]).reshape(places.shape)
