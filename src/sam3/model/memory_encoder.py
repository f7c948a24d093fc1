"""The memory encoder: features of a frame and an object's mask on it in, its memory out.

Source: Ravi et al., SAM 2 (2024); the blocks are those of Liu et al., ConvNeXt (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import MemoryConfig
from sam3.model.layers import LayerNorm2d

__all__ = ["MemoryEncoder"]

_HALVINGS = 4  # from 16 mask pixels to one token, along each axis
_MASK_SCALE, _MASK_OFFSET = 20.0, -10.0


class ConvNextBlock(nn.Module):
    """Depthwise 7x7 convolution, norm and MLP, with a scaled residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C, h, w)."""
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)
        y = self.gamma * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class MemoryEncoder(nn.Module):
    """Encode masks with the features of their frame.

    Parameters
    ----------
    config : MemoryConfig
        Sizes.
    channels : int
        Channels C of the frame's features.
    """

    def __init__(self, config: MemoryConfig, channels: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        width = 1
        for _ in range(_HALVINGS):
            steps += [
                nn.Conv2d(width, 4 * width, 3, stride=2, padding=1),
                LayerNorm2d(4 * width),
                nn.GELU(),
            ]
            width *= 4
        steps.append(nn.Conv2d(width, channels, 1))
        self.mask_embed = nn.Sequential(*steps)
        self.feature_proj = nn.Conv2d(channels, channels, 1)
        self.blocks = nn.Sequential(*(ConvNextBlock(channels) for _ in range(config.fuser_layers)))
        self.out_proj = nn.Conv2d(channels, config.channels, 1)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Encode B masks.

        Parameters
        ----------
        features : Tensor, shape (1 or B, C, g, g)
            Of the frame, from the neck.
        masks : Tensor, shape (B, 1, S, S)
            Probabilities in 0..1, of any size S.

        Returns
        -------
        Tensor, shape (B, memory channels, g, g)
        """
        side = 2**_HALVINGS * features.shape[-1]
        scaled = masks * _MASK_SCALE + _MASK_OFFSET
        scaled = F.interpolate(scaled, size=(side, side), mode="bilinear", antialias=True)
        fused = self.feature_proj(features) + self.mask_embed(scaled)
        return self.out_proj(self.blocks(fused))  # type: ignore[no-any-return]
