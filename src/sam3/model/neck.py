"""The feature pyramid on top of the trunk.

Source: the simple feature pyramid of Li et al. (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Neck"]


class Level(nn.Module):
    """One level: transposed convolutions that upscale, then a 1x1 and a 3x3 convolution."""

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

        A convolution and the 1x1 convolution after it are both linear, so one layer with the
        product of their weights replaces them. That halves the arithmetic of the upscaling; where
        `then` keeps an eighth of the channels, the last convolution costs an eighth.
        """
        steps = list(self.upscale)
        for step in steps[:-1]:
            x = step(x)
        if steps:
            last = steps[-1]
            assert isinstance(last, nn.ConvTranspose2d)
            weight, bias = _with_1x1(last.weight.transpose(0, 1), last.bias, self.conv_1x1)
            x = F.conv_transpose2d(x, weight.transpose(0, 1), bias, stride=2)
        else:
            x = self.conv_1x1(x)
        if then is None:
            return self.conv_3x3(x)  # type: ignore[no-any-return]
        weight, bias = _with_1x1(self.conv_3x3.weight, self.conv_3x3.bias, then)
        return F.conv2d(x, weight, bias, padding=1)


def _with_1x1(weight: Tensor, bias: Tensor | None, then: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Merge a layer and the 1x1 convolution after it into weight (O, I, h, w) and bias (O,)."""
    assert bias is not None
    assert then.bias is not None
    mix = then.weight[:, :, 0, 0]
    return torch.einsum("po,oihw->pihw", mix, weight), mix @ bias + then.bias


class Neck(nn.Module):
    """Three levels, at 4, 2 and 1 times the resolution of the token grid."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(width, channels, n) for n in (2, 1, 0))

    def forward(
        self,
        x: Tensor,
        then_fine: nn.Conv2d | None = None,
        then_middle: nn.Conv2d | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the three feature maps.

        Parameters
        ----------
        x : Tensor, shape (B, width, h, w)
            The trunk's feature map.
        then_fine, then_middle : nn.Conv2d, optional
            1x1 convolutions that the mask decoder applies to the two finer maps.

        Returns
        -------
        fine, middle, coarse : Tensor
            At 4, 2 and 1 times the grid of `x`; the finer two after their 1x1 convolutions, if any.
        """
        fine, middle, coarse = self.levels
        return fine(x, then_fine), middle(x, then_middle), coarse(x)
