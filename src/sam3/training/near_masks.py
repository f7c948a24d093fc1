"""Mask prompts that are near an object, as another plane or another program gives them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["near_masks"]

# Shares of the square root of an object's area, except for the scale, and for the frame.
_MOST_SHIFT = 0.3
_MOST_BEND = 0.12
_MOST_SCALE = 0.45  # natural logarithm
_BENDS = 5  # knots of the bending field along an axis
_CUT_SHARE = 0.2
_ENDED_SHARE = 0.25
_ENDED_OVERLAP = 0.1


def near_masks(
    target: Tensor, foreground: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Distort masks: moved, larger or smaller, bent, cut; a few lie where nothing is.

    Parameters
    ----------
    target : Tensor, shape (B, L, L)
        Share of each pixel that the object covers, in [0, 1].
    foreground : Tensor, shape (B, L, L)
        The same for all objects of its image together.
    generator : torch.Generator
        Source of randomness, on the device of the masks.

    Returns
    -------
    masks : Tensor, shape (B, L, L)
        What is shown to the model, in [0, 1].
    ended : Tensor, shape (B,)
        True where the mask lies on background: there is no object to find.
    """
    count, size = target.shape[0], target.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        values = torch.rand(count, *shape, generator=generator, device=target.device)
        return low + (high - low) * values

    area = target.sum((1, 2)).clamp(min=1)
    reach = area.sqrt()[:, None]
    steps = torch.arange(size, dtype=torch.float32, device=target.device) + 0.5
    centre = torch.stack([(target.sum(axis) * steps).sum(1) for axis in (1, 2)], 1) / area[:, None]
    strength = uniform(0, 1, 1)
    scale = (strength * uniform(-_MOST_SCALE, _MOST_SCALE, 1)).exp()
    shift = strength * reach * uniform(-_MOST_SHIFT, _MOST_SHIFT, 2)
    away = uniform(0, 1) < _ENDED_SHARE
    shift = torch.where(away[:, None], uniform(-size / 2, size / 2, 2), shift)
    knots = uniform(-1, 1, 2, _BENDS, _BENDS) * (_MOST_BEND * strength * reach)[..., None, None]
    bend = F.interpolate(knots, size=(size, size), mode="bicubic", align_corners=True)
    places = torch.stack(torch.meshgrid(steps, steps, indexing="xy"))  # (2, L, L), x first

    def field(values: Tensor) -> Tensor:
        return values[..., None, None]

    offsets = places - field(centre + shift)
    sources = field(centre) + offsets * field(scale) + bend
    grid = (2 * sources / size - 1).permute(0, 2, 3, 1)
    masks = F.grid_sample(target[:, None], grid, align_corners=False)[:, 0]

    angle = uniform(0, 2 * torch.pi, 1)
    across = (offsets * field(torch.cat([angle.cos(), angle.sin()], 1))).sum(1)
    cut = (uniform(0, 1) < _CUT_SHARE) & ~away
    limit = torch.where(cut[:, None], uniform(0, 0.5, 1) * reach, 2.0 * size)
    masks = masks * (across < field(limit[:, 0]))

    shown = masks.sum((1, 2))
    on_objects = (masks * foreground).sum((1, 2))
    ended = away & (on_objects < _ENDED_OVERLAP * shown) & (shown > (area / 2).clamp(min=1))
    undecided = (away & ~ended) | (shown < 1)
    return torch.where(field(undecided), target, masks), ended
