"""The feature pyramid over the trunk's map.

Source: the simple feature pyramid of Li et al. (2022).
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Neck"]


class Level(nn.Module):
    """One level: upscaling by transposed convolutions, then 1x1 and 3x3 convolutions."""

    def __init__(self, width: int, channels: int, upscalings: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for i in range(upscalings):
            if i:
                steps.append(nn.GELU())
            steps.append(nn.ConvTranspose2d(width, width // 2, 2, stride=2))
            width //= 2
        self.upscale = nn.Sequential(*steps)
        self.conv_1x1 = nn.Conv2d(width, channels, 1)
        self.conv_3x3 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, channels, H * 2**upscalings, W * 2**upscalings)."""
        return self.conv_3x3(self.conv_1x1(self.upscale(x)))  # type: ignore[no-any-return]


class Neck(nn.Module):
    """Three levels at 4, 2 and 1 times the token grid, as clicks need them."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(width, channels, n) for n in (2, 1, 0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the maps at 4x, 2x and 1x the grid of `x` (B, width, H, W)."""
        fine, middle, coarse = (level(x) for level in self.levels)
        return fine, middle, coarse
