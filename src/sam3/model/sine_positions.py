"""Sine position embeddings of token grids and of distances in time.

Source: Vaswani et al., Attention Is All You Need (2017); the normalised 2D form is that of Carion
et al., DETR (2020).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sine_of_distances", "sine_of_grid"]

_TEMPERATURE = 10000.0


def _wavelengths(count: int) -> Tensor:
    """Return the divisors of `count` channels, in equal pairs."""
    pairs = torch.arange(count, dtype=torch.float32).div(2, rounding_mode="floor")
    return _TEMPERATURE ** (2 * pairs / count)


def sine_of_grid(grid: int, channels: int) -> Tensor:
    """Embed the positions of a square grid of tokens.

    Parameters
    ----------
    grid : int
        Side of the grid.
    channels : int
        A multiple of 4: y in the first half of the channels, x in the second; sines and cosines
        alternate.

    Returns
    -------
    Tensor, float32, shape (channels, grid, grid)
    """
    half = channels // 2
    steps = torch.arange(1, grid + 1, dtype=torch.float32) / (grid + 1e-6) * (2 * math.pi)
    angles = steps[:, None] / _wavelengths(half)
    waves = torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1).T
    along_y = waves[:, :, None].expand(-1, -1, grid)
    along_x = waves[:, None, :].expand(-1, grid, -1)
    return torch.cat([along_y, along_x])


def sine_of_distances(distances: Tensor, channels: int) -> Tensor:
    """Embed distances (N,) as (N, channels): all sines, then all cosines."""
    angles = distances.float()[:, None] / _wavelengths(channels // 2).to(distances.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
