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

        Parameters
        ----------
        x : Tensor, shape (B, width, H, W)
        then : nn.Conv2d, optional
            1x1 convolution of the result, for levels that upscale.
        """
        steps = list(self.upscale)
        for step in steps[:-1]:
            x = step(x)
        if not steps:
            return self.conv_3x3(self.conv_1x1(x))  # type: ignore[no-any-return]
        last = steps[-1]
        assert isinstance(last, nn.ConvTranspose2d)
        if then is not None:
            return _upscaled(x, last, self.conv_1x1, self.conv_3x3, then)
        weight, bias = _with_1x1(last.weight.transpose(0, 1), last.bias, self.conv_1x1)
        return self.conv_3x3(F.conv_transpose2d(x, weight.transpose(0, 1), bias, stride=2))  # type: ignore[no-any-return]


def _upscaled(
    x: Tensor, up: nn.ConvTranspose2d, mix: nn.Conv2d, conv: nn.Conv2d, then: nn.Conv2d
) -> Tensor:
    """Apply four layers without a nonlinearity between them as one transposed convolution.

    Tap a of the upscaling (2 x 2, stride 2) and tap k of the 3 x 3 convolution meet in tap
    a - k + 2 of a 4 x 4 kernel. As `then` keeps few channels, that is a fifth to two fifths of the
    arithmetic.

    Parameters
    ----------
    x : Tensor, shape (B, I, H, W)
    up, mix, conv, then : nn.Module
        In the order of application: upscaling, 1x1, 3x3, 1x1.

    Returns
    -------
    Tensor, shape (B, O, 2H, 2W)
    """
    assert up.bias is not None
    with torch.autocast(x.device.type, enabled=False):
        conv_weight, conv_bias = _with_1x1(conv.weight, conv.bias, then)
        mix_weight = mix.weight[:, :, 0, 0]
        mixed = torch.einsum("ochw,cm->omhw", conv_weight, mix_weight)
        products = torch.einsum("imab,omhw->abhwio", up.weight, mixed)
        kernel = sum(
            F.pad(products[a, b].flip(0, 1), (0, 0, 0, 0, b, 1 - b, a, 1 - a))
            for a in (0, 1)
            for b in (0, 1)
        )
        assert isinstance(kernel, Tensor)
        # The bias of the upscaling passes through the 3 x 3 convolution, which meets zeros at the
        # border of the image: corners, edges and interior of a 3 x 3 image show all cases.
        constant = F.linear(up.bias, mix_weight, mix.bias)[None, :, None, None].expand(1, -1, 3, 3)
        offset = F.conv2d(constant, conv_weight, conv_bias, padding=1)
    x = F.conv_transpose2d(x, kernel.permute(2, 3, 0, 1), stride=2, padding=1)
    rows, columns = (_first_inner_last(length, x.device) for length in x.shape[-2:])
    return x + offset[:, :, rows[:, None], columns].to(x.dtype)


def _first_inner_last(length: int, device: torch.device) -> Tensor:
    """Return 0, then 1 as often as needed, and 2."""
    index = torch.ones(length, dtype=torch.long, device=device)
    index[0], index[-1] = 0, 2
    return index


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
