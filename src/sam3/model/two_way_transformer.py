"""Attention between prompt tokens and the image, in both directions.

Source: Kirillov et al., Segment Anything (2023), appendix A.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DecoderConfig

__all__ = ["TwoWayTransformer"]


class Attention(nn.Module):
    """Multi-head attention that may work at fewer channels than its input has."""

    def __init__(self, channels: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = channels // downsample
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        """Attend from (B, N, C) to keys and values (B, M, C), of which `seen` (B, M) count."""
        out = F.scaled_dot_product_attention(
            self._heads(self.q_proj(q)),
            self._heads(self.k_proj(k)),
            self._heads(self.v_proj(v)),
            attn_mask=None if seen is None else seen[:, None, None],
        )
        return self.out_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (self.heads, -1))
        return split.transpose(1, 2)


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens."""

    def __init__(self, config: DecoderConfig, channels: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        down = config.attention_downsample
        self.self_attn = Attention(channels, config.heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, config.heads, down)
        self.norm2 = nn.LayerNorm(channels)
        self.lin1 = nn.Linear(channels, config.mlp_hidden)
        self.lin2 = nn.Linear(config.mlp_hidden, channels)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, config.heads, down)

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_pos: Tensor,
        image_pos: Tensor,
        seen: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, N, C) and image (B, M, C)."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens, seen)
        else:
            q = tokens + token_pos
            tokens = tokens + self.self_attn(q, q, tokens, seen)
        tokens = self.norm1(tokens)
        keys = image + image_pos
        tokens = self.norm2(
            tokens + self.cross_attn_token_to_image(tokens + token_pos, keys, image)
        )
        tokens = self.norm3(tokens + self.lin2(F.relu(self.lin1(tokens))))
        image = self.norm4(
            image + self.cross_attn_image_to_token(keys, tokens + token_pos, tokens, seen)
        )
        return tokens, image


class TwoWayTransformer(nn.Module):
    """A stack of :class:`TwoWayLayer` and a last look of the tokens at the image."""

    def __init__(self, config: DecoderConfig, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(config, channels, first=i == 0) for i in range(config.depth)
        )
        self.final_attn_token_to_image = Attention(
            channels, config.heads, config.attention_downsample
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self, tokens: Tensor, image: Tensor, image_pos: Tensor, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Parameters
        ----------
        tokens : Tensor, shape (B, N, C)
            Output tokens and prompts; they also serve as their own positions.
        image : Tensor, shape (B, M, C)
            Image tokens with the dense prompt added.
        image_pos : Tensor, shape (1, M, C)
            Positions of the image tokens.
        seen : Tensor of bool, shape (B, N), optional
            Tokens that others attend to; all by default. Training leaves out the padding that
            brings objects with different numbers of prompts to one length.

        Returns
        -------
        tokens : Tensor, shape (B, N, C)
        image : Tensor, shape (B, M, C)
        """
        token_pos = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pos, image_pos, seen)
        attended = self.final_attn_token_to_image(tokens + token_pos, image + image_pos, image)
        return self.norm_final_attn(tokens + attended), image
