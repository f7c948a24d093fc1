"""Attention and the transformer layer shared by the parts of the concept detector."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Attention", "PreNormLayer"]


class Attention(nn.Module):
    """Multi-head attention with one packed projection of queries, keys and values."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        bias: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend from M queries to N keys.

        Parameters
        ----------
        query : Tensor, shape (B, M, C)
        key, value : Tensor, shape (B, N, C)
        bias : Tensor, shape (B, heads, M, N), optional
            Added to the logits.
        causal : bool
            Let each query attend to the keys up to its own position only.

        Returns
        -------
        Tensor, shape (B, M, C)
        """
        weights, biases = self.in_proj.weight.chunk(3), self.in_proj.bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias_).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias_ in zip((query, key, value), weights, biases, strict=True)
        )
        if bias is not None:
            bias = bias.to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class PreNormLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and MLP."""

    def __init__(self, channels: int, heads: int, mlp_hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads)
        self.cross_attn = Attention(channels, heads)
        self.linear1 = nn.Linear(channels, mlp_hidden)
        self.linear2 = nn.Linear(mlp_hidden, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, positions: Tensor | None, keys: Tensor, values: Tensor) -> Tensor:
        """Update tokens.

        Parameters
        ----------
        x : Tensor, shape (B, M, C)
            Tokens.
        positions : Tensor, shape (M, C), optional
            Added to queries and keys of self-attention.
        keys, values : Tensor, shape (B, N, C)
            Keys and values of the tokens to attend to.

        Returns
        -------
        Tensor, shape (B, M, C)
        """
        y = self.norm1(x)
        queries = y if positions is None else y + positions
        x = x + self.self_attn(queries, queries, y)
        x = x + self.cross_attn(self.norm2(x), keys, values)
        return x + self.linear2(F.relu_(self.linear1(self.norm3(x))))  # type: ignore[no-any-return]
