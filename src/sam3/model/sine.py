"""Sine position embeddings of coordinates in the concept detector."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sine_features", "sine_map"]

_TEMPERATURE = 10000.0


def sine_features(values: Tensor, channels: int) -> Tensor:
    """Embed numbers in 0..1 by sines (even channels) and cosines (odd) of falling frequency.

    Parameters
    ----------
    values : Tensor, shape (...)
    channels : int
        Even.

    Returns
    -------
    Tensor, float32, shape (..., channels)
    """
    steps = torch.arange(channels // 2, device=values.device, dtype=torch.float32)
    angles = values.float()[..., None] * (2 * math.pi) / _TEMPERATURE ** (2 * steps / channels)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)


def sine_map(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Embed the cells of a grid: half of the channels for y, then half for x.

    Returns
    -------
    Tensor, float32, shape (height * width, channels)
        Cells in row-major order.
    """
    rows, columns = (
        sine_features(torch.arange(1, n + 1, device=device) / (n + 1e-6), channels // 2)
        for n in (height, width)
    )
    y = rows[:, None].expand(-1, width, -1)
    x = columns[None].expand(height, -1, -1)
    return torch.cat((y, x), -1).flatten(0, 1)
