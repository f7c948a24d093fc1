"""Losses of masks, of their predicted quality, and of auxiliary dense targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.model.mask_decoder import RawMasks

__all__ = ["DenseHead", "dense_loss", "mask_iou", "mask_losses", "prompt_loss", "soft_targets"]

_OTHERS_WEIGHT = 0.15  # weight of the two worse masks of three
_SCORE_WEIGHT = 2.0
_RING = 2  # cells around a labelled object that must be background or another labelled object
_CHOICE_TEMPERATURE = 0.05  # difference in IoU between masks that the choice should resolve


def soft_targets(masks: Tensor, size: int) -> Tensor:
    """Resample masks (..., H, W) to (..., size, size) as the fraction of each cell they cover."""
    flat = masks.flatten(0, -3)[:, None].float()
    shares = F.interpolate(flat, size=(size, size), mode="area")
    return shares.view(*masks.shape[:-2], size, size)


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the IoU of ``logits > 0`` and ``target > 0.5`` over the last two axes."""
    a, b = logits > 0, target > 0.5
    union = (a | b).flatten(-2).sum(-1)
    return (a & b).flatten(-2).sum(-1) / union.clamp(min=1)


def prompt_loss(
    raw: RawMasks, target: Tensor, counted: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the loss of the masks of B prompted objects.

    Parameters
    ----------
    raw : RawMasks
        Four masks per object: the single one, then three candidates.
    target : Tensor, shape (B, L, L)
        Fraction of each low-resolution pixel that the object covers, in [0, 1].
    counted : Tensor, shape (B,), optional
        Objects included in the figures; all by default.

    Returns
    -------
    loss : Tensor
        Sum of the losses of the single mask, of the best of the three, of the predicted IoUs, and
        of the choice among the three: one minus the expected IoU if a softmax of the predicted
        IoUs draws the mask.
    figures : dict of Tensor
        Mean IoU of the single mask, of the best of the three, and of the one scored best.
    """
    logits = raw.logits.float()
    expanded = target[:, None].expand_as(logits)
    each = mask_losses(logits, expanded)
    three = each[:, 1:]
    best = three.min(1).values
    masks = each[:, 0] + best + _OTHERS_WEIGHT * (three.mean(1) - best)
    with torch.no_grad():
        iou = mask_iou(logits, expanded)
    score = (raw.iou.float() - iou).abs()
    choice = (raw.iou[:, 1:].float() / _CHOICE_TEMPERATURE).softmax(1)
    expected = (choice * iou[:, 1:]).sum(1)
    loss = masks.mean() + _SCORE_WEIGHT * score.mean() + (1 - expected).mean()
    chosen = iou[:, 1:].gather(1, raw.iou[:, 1:].argmax(1, keepdim=True))
    weights = torch.ones(len(iou), device=iou.device) if counted is None else counted.float()

    def mean(values: Tensor) -> Tensor:
        return (values * weights).sum() / weights.sum().clamp(min=1)

    return loss, {
        "single": mean(iou[:, 0]),
        "best_of_three": mean(iou[:, 1:].max(1).values),
        "best_scored": mean(chosen[:, 0]),
    }


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Sum cross-entropy, its class-balanced form, and Dice loss for each mask (B, C)."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(-2)
    probability, share = logits.sigmoid().flatten(-2), target.flatten(-2)
    inside = (entropy * share).sum(-1) / share.sum(-1).clamp(min=1)
    outside = (entropy * (1 - share)).sum(-1) / (1 - share).sum(-1).clamp(min=1)
    dice = 1 - (2 * (probability * share).sum(-1) + 1) / (probability.sum(-1) + share.sum(-1) + 1)
    return 2 * entropy.mean(-1) + 0.5 * (inside + outside) + dice


class DenseHead(nn.Module):
    """Predict foreground, boundary and offset to the object's centre, in training only.

    It gives the encoder a signal at every pixel, long before the decoder has learnt the meaning of
    prompts.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, h, w) to (N, 4, h, w)."""
        return self.conv(x)  # type: ignore[no-any-return]


def dense_loss(prediction: Tensor, labels: Tensor, complete: Tensor | None = None) -> Tensor:
    """Compute the loss of the auxiliary dense targets.

    Parameters
    ----------
    prediction : Tensor, shape (N, 4, h, w)
        From :class:`DenseHead`.
    labels : Tensor, shape (N, H, W)
        Instance map, 0 for background.
    complete : Tensor, shape (N,), optional
        Where it is False, only objects and their close surroundings contribute.

    Returns
    -------
    Tensor
    """
    height, width = prediction.shape[-2:]
    rows = _cell_centres(labels.shape[1], height, labels.device)
    columns = _cell_centres(labels.shape[2], width, labels.device)
    small = labels[:, rows][:, :, columns].long()
    foreground = (small > 0).float()
    padded = F.pad(small.float()[:, None], (1, 1, 1, 1), mode="replicate")
    highest = F.max_pool2d(padded, 3, stride=1)[:, 0]
    lowest = -F.max_pool2d(-padded, 3, stride=1)[:, 0]
    boundary = ((highest != lowest) & (highest > 0)).float()
    offsets, scale = _centre_offsets(small)
    prediction = prediction.float()
    entropy = F.binary_cross_entropy_with_logits(
        prediction[:, :2], torch.stack([foreground, boundary], dim=1), reduction="none"
    ).mean(1)
    known = F.max_pool2d(foreground[:, None], 2 * _RING + 1, stride=1, padding=_RING)[:, 0]
    known = (
        torch.ones_like(known)
        if complete is None
        else known.masked_fill(complete[:, None, None], 1)
    )
    error = (prediction[:, 2:] - offsets / scale).abs() * foreground[:, None]
    entropy = (entropy * known).sum() / known.sum().clamp(min=1)
    return entropy + 0.5 * error.sum() / foreground.sum().clamp(min=1)


def _cell_centres(size: int, cells: int, device: torch.device) -> Tensor:
    return ((torch.arange(cells, device=device) + 0.5) * size / cells).long()


def _centre_offsets(labels: Tensor) -> tuple[Tensor, float]:
    """Return (dx, dy) from each cell to the centroid of its object, (N, 2, h, w), and a scale."""
    count, height, width = labels.shape
    ids = labels + torch.arange(count, device=labels.device)[:, None, None] * (labels.max() + 1)
    flat = ids.flatten()
    y, x = torch.meshgrid(
        torch.arange(height, device=labels.device).float(),
        torch.arange(width, device=labels.device).float(),
        indexing="ij",
    )
    sizes = torch.bincount(flat).clamp(min=1)
    offsets = []
    for coordinate in (x, y):
        values = coordinate.expand(count, -1, -1).flatten()
        means = torch.bincount(flat, weights=values) / sizes
        offsets.append((means[flat] - values).view(count, height, width))
    return torch.stack(offsets, dim=1).float(), 4.0
