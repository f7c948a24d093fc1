"""The feature pyramid over the trunk's map.

Source: the simple feature pyramid of Li et al. (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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

    def forward(self, x: Tensor, then: nn.Conv2d | None = None) -> Tensor:
        """Map (B, width, H, W) to (B, channels, H * 2**upscalings, W * 2**upscalings).

        A 1x1 convolution `then` that follows is folded into the last one: both are linear, and
        the product has an eighth of the arithmetic where `then` keeps an eighth of the channels.
        """
        x = self.conv_1x1(self.upscale(x))
        last = self.conv_3x3
        if then is None:
            return last(x)  # type: ignore[no-any-return]
        narrow = then.weight[:, :, 0, 0]
        weight = torch.einsum("oc,cikl->oikl", narrow, last.weight)
        assert last.bias is not None
        assert then.bias is not None
        return F.conv2d(x, weight, narrow @ last.bias + then.bias, padding=1)


class Neck(nn.Module):
    """Three levels at 4, 2 and 1 times the token grid, as clicks need them."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(width, channels, n) for n in (2, 1, 0))

    def forward(
        self, x: Tensor, then_fine: nn.Conv2d, then_middle: nn.Conv2d
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make the three maps.

        Parameters
        ----------
        x : Tensor, shape (B, width, h, w)
            The trunk's map.
        then_fine, then_middle : nn.Conv2d
            The decoder's 1x1 convolutions of the two finer maps.

        Returns
        -------
        fine, middle, coarse : Tensor
            At 4x, 2x and 1x the grid of `x`; the finer two after their 1x1 convolutions.
        """
        fine, middle, coarse = self.levels
        return fine(x, then_fine), middle(x, then_middle), coarse(x)
