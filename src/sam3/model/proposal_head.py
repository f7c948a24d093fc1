"""Dense object proposals before the first click: a box and a score at every cell.

Sources: Tian et al., FCOS (2019), for boxes at every cell; Weigert et al., StarDist (2020), for the
score, which is a cell's distance to the background as a fraction of the object's largest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import ModelConfig, ProposalConfig
from sam3.errors import ConfigError
from sam3.model.layers import LayerNorm2d

__all__ = ["Proposals", "ProposalHead"]

_MIDDLE_LAYERS = 3
_UNIT = 16.0  # side in px of the model's input that is predicted as 0


class Proposals(NamedTuple):
    """Raw output of the head for every cell of a grid four times as fine as the tokens'.

    ::

         left   right
        <------+->
        +------|--+ ^
        |      |  | | top
        |------o--| +          o: centre of the cell
        |      |  | | bottom
        +---------+ v

    Attributes
    ----------
    scores : Tensor, shape (B, 4g, 4g)
        Logits of the cell lying in the middle of an object.
    sides : Tensor, shape (B, 4, 4g, 4g)
        Distances from the cell's centre to the left, top, right and bottom of the object's box, in
        px of the model's input.
    """

    scores: Tensor
    sides: Tensor


class _Residual(nn.Module):
    """A 3x3 convolution of normed features, added to them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to the same shape."""
        return x + F.gelu(self.conv(self.norm(x)))


class ProposalHead(nn.Module):
    """Propose a box at every cell, from the features used for clicks.

    Parameters
    ----------
    config : ModelConfig
        Sizes; its ``proposals`` must not be None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.proposals is None:
            raise ConfigError(
                f"the model {config.name!r} has no proposal head: its configuration holds "
                "proposals=None. Expected sizes of the head. Use a model with one, or click on a "
                "grid."
            )
        self.config: ProposalConfig = config.proposals
        coarse, middle, fine = self.config.coarse, self.config.middle, self.config.fine
        self.coarse = nn.Sequential(nn.Conv2d(config.channels, coarse, 1), _Residual(coarse))
        self.to_middle = nn.Conv2d(coarse, middle, 1)
        self.middle_in = nn.Conv2d(config.channels // 4, middle, 1)
        self.middle = nn.Sequential(*(_Residual(middle) for _ in range(_MIDDLE_LAYERS)))
        self.to_fine = nn.Conv2d(middle, fine, 1)
        self.fine_in = nn.Conv2d(config.channels // 8, fine, 1)
        self.fine = nn.Sequential(_Residual(fine), LayerNorm2d(fine))
        self.out = nn.Conv2d(fine, 5, 1)

    def forward(self, embedding: Tensor, middle: Tensor, fine: Tensor) -> Proposals:
        """Score B encoded images; see :class:`sam3.model.click_model.EncodedImage`."""
        x = self.to_middle(self.coarse(embedding))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear") + self.middle_in(middle)
        x = self.to_fine(self.middle(x))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear") + self.fine_in(fine)
        out = self.out(self.fine(x))
        return Proposals(out[:, 0], _UNIT * torch.exp(out[:, 1:].clamp(-4, 4)))
