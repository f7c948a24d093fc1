"""Distorted masks as prompts, like those from another plane or another program."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["near_masks"]

# In units of the square root of an object's area, except for the scale and the shares.
_LARGEST_SHIFT = 0.3
_LARGEST_BEND = 0.12
_LARGEST_SCALE = 0.45  # natural logarithm
_BENDS = 5  # knots of the bending field along an axis
_CUT_SHARE = 0.2
_ABSENT_SHARE = 0.25
_ABSENT_OVERLAP = 0.1


def near_masks(
    target: Tensor, foreground: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Distort masks by moving, scaling, bending and cutting; move a few to the background.

    Parameters
    ----------
    target : Tensor, shape (B, L, L)
        Fraction of each pixel that the object covers, in [0, 1].
    foreground : Tensor, shape (B, L, L)
        The same for all objects of the image.
    generator : torch.Generator
        Source of randomness, on the device of the masks.

    Returns
    -------
    masks : Tensor, shape (B, L, L)
        Distorted masks, in [0, 1].
    absent : Tensor, shape (B,)
        True where the mask lies on background, so that there is no object to segment.
    """
    count, size = target.shape[0], target.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand(count, *shape, generator=generator, device=target.device)
        return low + (high - low) * values

    area = target.sum((1, 2)).clamp(min=1)
    length = area.sqrt()[:, None]
    steps = torch.arange(size, dtype=torch.float32, device=target.device) + 0.5
    centre = torch.stack([(target.sum(axis) * steps).sum(1) for axis in (1, 2)], 1) / area[:, None]
    strength = uniform(0, 1, 1)
    scale = (strength * uniform(-_LARGEST_SCALE, _LARGEST_SCALE, 1)).exp()
    shift = strength * length * uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, 2)
    # Some masks move anywhere in the crop, possibly to the background.
    moved_away = uniform(0, 1) < _ABSENT_SHARE
    shift = torch.where(moved_away[:, None], uniform(-size / 2, size / 2, 2), shift)
    knots = uniform(-1, 1, 2, _BENDS, _BENDS) * (_LARGEST_BEND * strength * length)[..., None, None]
    bend = F.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)
    pixels = torch.stack(torch.meshgrid(steps, steps, indexing="xy"))  # (2, L, L), x first

    def field(values: Tensor) -> Tensor:
        return values[..., None, None]

    offsets = pixels - field(centre + shift)
    sources = field(centre) + offsets * field(scale) + bend
    grid = (2 * sources / size - 1).permute(0, 2, 3, 1)
    masks = F.grid_sample(target[:, None], grid, align_corners=False)[:, 0]

    # Some masks lose the part beyond a straight line.
    angle = uniform(0, 2 * torch.pi, 1)
    distance = (offsets * field(torch.cat([angle.cos(), angle.sin()], 1))).sum(1)
    cut = (uniform(0, 1) < _CUT_SHARE) & ~moved_away
    limit = torch.where(cut[:, None], uniform(0, 0.5, 1) * length, 2.0 * size)
    masks = masks * (distance < field(limit[:, 0]))

    # Masks that moved only partly to the background, or vanished, are replaced by the object.
    mask_area = masks.sum((1, 2))
    overlap = (masks * foreground).sum((1, 2))
    absent = moved_away & (overlap < _ABSENT_OVERLAP * mask_area)
    absent &= mask_area > (area / 2).clamp(min=1)
    unclear = (moved_away & ~absent) | (mask_area < 1)
    return torch.where(field(unclear), target, masks), absent
