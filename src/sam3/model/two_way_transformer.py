"""Attention between prompt tokens and the image, in both directions.

Source: Kirillov et al., Segment Anything (2023), appendix A.

There are few tokens and thousands of image tokens, so products are put in the order that keeps
projections away from the image where that is less work: q (K W)^T = (q W^T) K^T, and what does not
depend on a prompt is computed once an image (:class:`FirstLook`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DecoderConfig

__all__ = ["FirstLook", "TwoWayTransformer"]


class FirstLook(NamedTuple):
    """The image as the first layer sees it, before any prompt has changed it.

    H heads have D channels each.

    Attributes
    ----------
    keys : Tensor, shape (B, H, D, M)
        For the tokens that look at the image.
    values : Tensor, shape (B, H, M, D)
        For the same.
    queries : Tensor, shape (B, H, D, M)
        Of the image that looks at the tokens, scaled.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


class Attention(nn.Module):
    """Multi-head attention that may work at fewer channels than its input has."""

    def __init__(self, channels: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        self.inner = channels // downsample
        self.heads = heads
        self.scale = (self.inner // heads) ** -0.5
        self.q_proj = nn.Linear(channels, self.inner)
        self.k_proj = nn.Linear(channels, self.inner)
        self.v_proj = nn.Linear(channels, self.inner)
        self.out_proj = nn.Linear(self.inner, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        """Attend from (B, N, C) to keys and values (B, M, C), of which `seen` (B, M) count."""
        out = F.scaled_dot_product_attention(
            self.split(self.q_proj(q)),
            self.split(self.k_proj(k)),
            self.split(self.v_proj(v)),
            attn_mask=None if seen is None else seen[:, None, None],
        )
        return self._join(out)

    def look_at_image(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend from tokens (B, N, C) to an image's keys and values (B or 1, M, C)."""
        if not self._are_few(tokens):
            return self.forward(tokens, keys, values)
        q = self.split(self.q_proj(tokens)) * self.scale
        # The bias of the keys adds the same to all scores of a token: softmax takes it out again.
        asked = (q @ self._by_head(self.k_proj)).flatten(1, 2)
        shares = (asked @ keys.transpose(1, 2)).softmax(-1)
        found = (shares @ values).unflatten(1, (self.heads, -1))
        out = found @ self._by_head(self.v_proj).transpose(1, 2)
        return self._join(out + self._bias_by_head(self.v_proj))

    def look_at_tokens(
        self, image: Tensor, keys: Tensor, tokens: Tensor, token_keys: Tensor, seen: Tensor | None
    ) -> Tensor:
        """Add to an image (B or 1, M, C) what its queries find among tokens (B, N, C)."""
        if not self._are_few(tokens):
            return image + self.forward(keys, token_keys, tokens, seen)
        k = self.split(self.k_proj(token_keys)) * self.scale
        asked = (k @ self._by_head(self.q_proj)).flatten(1, 2)
        offset = (k * self._bias_by_head(self.q_proj)).sum(-1, keepdim=True)
        scores = (asked @ keys.transpose(1, 2)).unflatten(1, (self.heads, -1)) + offset
        return self._spread(image, scores, tokens, seen)

    def first_look_at_image(self, tokens: Tensor, look: FirstLook) -> Tensor:
        """Do the same as :meth:`look_at_image` with an image's projections at hand."""
        q = self.split(self.q_proj(tokens)) * self.scale
        return self._join((q @ look.keys).softmax(-1) @ look.values)

    def first_look_at_tokens(
        self,
        image: Tensor,
        look: FirstLook,
        tokens: Tensor,
        token_keys: Tensor,
        seen: Tensor | None,
    ) -> Tensor:
        """Do the same as :meth:`look_at_tokens` with an image's projections at hand."""
        scores = self.split(self.k_proj(token_keys)) @ look.queries
        return self._spread(image, scores, tokens, seen)

    def _spread(self, image: Tensor, scores: Tensor, tokens: Tensor, seen: Tensor | None) -> Tensor:
        """Add tokens (B, N, C) to an image (B or 1, M, C) by scores (B, H, N, M)."""
        if seen is not None:
            scores = scores.masked_fill(~seen[:, None, :, None], -torch.inf)
        shares = scores.softmax(2)
        values = self.split(self.v_proj(tokens))
        if not self._are_few(tokens):
            return image + self._join(shares.transpose(2, 3) @ values)
        # Shares of a head add up to one, so each head brings its part of the bias.
        out = values @ self.out_proj.weight.T.unflatten(0, (self.heads, -1))
        out = out + self.out_proj.bias / self.heads
        image = image.expand(len(scores), -1, -1)
        return torch.baddbmm(image, shares.flatten(1, 2).transpose(1, 2), out.flatten(1, 2))

    def split(self, x: Tensor) -> Tensor:
        """(B, N, inner) -> (B, H, N, D)."""
        split: Tensor = x.unflatten(-1, (self.heads, -1))
        return split.transpose(1, 2)

    def _are_few(self, tokens: Tensor) -> bool:
        """Whether a row a head and token is less than the channels of a projection."""
        return self.heads * tokens.shape[1] <= self.inner

    def _join(self, x: Tensor) -> Tensor:
        return self.out_proj(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _by_head(self, linear: nn.Linear) -> Tensor:
        weight: Tensor = linear.weight.unflatten(0, (self.heads, -1))
        return weight

    def _bias_by_head(self, linear: nn.Linear) -> Tensor:
        return linear.bias.view(self.heads, 1, -1)


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

    def first_look(self, image: Tensor, image_pos: Tensor) -> FirstLook:
        """Project an image (B, M, C) for all prompts that leave it as it is."""
        tokens, there = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        keys = image + image_pos
        return FirstLook(
            tokens.split(tokens.k_proj(keys)).transpose(2, 3).contiguous(),
            tokens.split(tokens.v_proj(image)).contiguous(),
            (there.split(there.q_proj(keys)) * there.scale).transpose(2, 3).contiguous(),
        )

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_pos: Tensor,
        image_pos: Tensor,
        seen: Tensor | None,
        look: FirstLook | None,
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, N, C) and image (B or 1, M, C), of which a first look may be given."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens, seen)
        else:
            q = tokens + token_pos
            tokens = tokens + self.self_attn(q, q, tokens, seen)
        tokens = self.norm1(tokens)
        from_tokens, from_image = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        if look is None:
            keys = image + image_pos
            found = from_tokens.look_at_image(tokens + token_pos, keys, image)
        else:
            found = from_tokens.first_look_at_image(tokens + token_pos, look)
        tokens = self.norm2(tokens + found)
        tokens = self.norm3(tokens + self.lin2(F.relu(self.lin1(tokens))))
        if look is None:
            image = from_image.look_at_tokens(image, keys, tokens, tokens + token_pos, seen)
        else:
            image = from_image.first_look_at_tokens(image, look, tokens, tokens + token_pos, seen)
        return tokens, self.norm4(image)


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

    def first_look(self, image: Tensor, image_pos: Tensor) -> FirstLook:
        """Do what the first layer does with an image (B, M, C) before it knows of prompts."""
        return self.layers[0].first_look(image, image_pos)  # type: ignore[operator,no-any-return]

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        image_pos: Tensor,
        seen: Tensor | None = None,
        look: FirstLook | None = None,
        wanted: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Parameters
        ----------
        tokens : Tensor, shape (B, N, C)
            Output tokens and prompts; they also serve as their own positions.
        image : Tensor, shape (1 or B, M, C)
            Image tokens with the dense prompt added.
        image_pos : Tensor, shape (1, M, C)
            Positions of the image tokens.
        seen : Tensor of bool, shape (B, N), optional
            Tokens that others attend to; all by default. Training leaves out the padding that
            brings objects with different numbers of prompts to one length.
        look : FirstLook, optional
            Of this image, from :meth:`first_look`; it saves time and changes nothing.
        wanted : sequence of int, optional
            Tokens that are of use when all layers are done; all by default.

        Returns
        -------
        tokens : Tensor, shape (B, N or number wanted, C)
        image : Tensor, shape (B, M, C)
        """
        token_pos = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pos, image_pos, seen, look)
            look = None
        if wanted is not None:
            index = torch.tensor(wanted, device=tokens.device)
            tokens, token_pos = tokens[:, index], token_pos[:, index]
        attended = self.final_attn_token_to_image.look_at_image(
            tokens + token_pos, image + image_pos, image
        )
        return self.norm_final_attn(tokens + attended), image
