"""The text encoder: a causal transformer over byte-pair tokens.

Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision
(2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3.config import DetectorConfig
from sam3.model.attention import Attention
from sam3.model.block import Mlp

__all__ = ["TextEncoder"]


class TextBlock(nn.Module):
    """Pre-norm transformer block with causal attention."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        width = config.text_width
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, config.text_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, config.text_mlp_hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, W) to (B, N, W)."""
        y = self.norm1(x)
        x = x + self.attn(y, y, y, causal=True)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class TextEncoder(nn.Module):
    """Encode the tokens of a text for the detector.

    Parameters
    ----------
    config : DetectorConfig
        Sizes.
    channels : int
        Channels C of the detector.
    """

    def __init__(self, config: DetectorConfig, channels: int) -> None:
        super().__init__()
        self.token_embed = nn.Embedding(config.vocabulary, config.text_width)
        self.position_embed = nn.Parameter(torch.zeros(config.context, config.text_width))
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.text_depth))
        self.norm = nn.LayerNorm(config.text_width)
        self.resize = nn.Linear(config.text_width, channels)

    def forward(self, ids: Tensor) -> Tensor:
        """Encode one text.

        No padding is needed: attention is causal, so padding would not change the result.

        Parameters
        ----------
        ids : Tensor of int64, shape (N,)
            Token ids, at most as many as the context length.

        Returns
        -------
        Tensor, shape (N, C)
        """
        x = (self.token_embed(ids) + self.position_embed[: len(ids)])[None]
        for block in self.blocks:
            x = block(x)
        return self.resize(self.norm(x))[0]  # type: ignore[no-any-return]
