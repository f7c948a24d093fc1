"""Attention between prompt tokens and the image, in both directions.

Source: Kirillov et al., Segment Anything (2023), appendix A.

There are few tokens and thousands of image tokens, so products are put in the order that keeps
projections away from the image where that is less work: q (K W)^T = (q W^T) K^T, and what does not
depend on a prompt is computed once an image (:class:`FirstLook`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DecoderConfig

__all__ = ["FirstLook", "TwoWayTransformer", "parts_of_image"]

#: Image tokens of a core that go through a few steps together, so that they stay in its cache.
_TOGETHER = 576


def parts_of_image(tokens: Tensor) -> list[slice]:
    """Return which tokens (B, M, C) of an image to work on together, for least time."""
    count = tokens.shape[1]
    step = _TOGETHER * torch.get_num_threads() if tokens.device.type == "cpu" else count
    return [slice(first, first + step) for first in range(0, count, step)]


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


class TwoWayAttention(nn.Module):
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

    def look_at_image(self, tokens: Tensor, image: Tensor, image_pos: Tensor) -> Tensor:
        """Attend from tokens (B, N, C) to an image (B or 1, M, C)."""
        if not self._are_few(tokens):
            return self.forward(tokens, image + image_pos, image)
        q = self.split(self.q_proj(tokens)) * self.scale
        # The bias of the keys adds the same to all scores of a token: softmax takes it out again.
        asked = (q @ self._by_head(self.k_proj)).flatten(1, 2)
        shares = _scores(asked, image, image_pos).softmax(-1)
        found = (shares @ image).unflatten(1, (self.heads, -1))
        out = found @ self._by_head(self.v_proj).transpose(1, 2)
        return self._join(out + self._bias_by_head(self.v_proj))

    def look_at_tokens(
        self,
        image: Tensor,
        image_pos: Tensor,
        tokens: Tensor,
        token_keys: Tensor,
        seen: Tensor | None,
    ) -> Iterator[Tensor]:
        """Add to an image (B or 1, M, C) what its queries find among tokens (B, N, C).

        Yields it part by part, see :func:`parts_of_image`.
        """
        if not self._are_few(tokens):
            yield image + self.forward(image + image_pos, token_keys, tokens, seen)
            return
        k = self.split(self.k_proj(token_keys)) * self.scale
        asked = (k @ self._by_head(self.q_proj)).flatten(1, 2)
        offset = (k * self._bias_by_head(self.q_proj)).sum(-1, keepdim=True)
        scores = _scores(asked, image, image_pos).unflatten(1, (self.heads, -1)) + offset
        yield from self._spread(image, scores, tokens, seen)

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
    ) -> Iterator[Tensor]:
        """Do the same as :meth:`look_at_tokens` with an image's projections at hand."""
        scores = self.split(self.k_proj(token_keys)) @ look.queries
        return self._spread(image, scores, tokens, seen)

    def _spread(
        self, image: Tensor, scores: Tensor, tokens: Tensor, seen: Tensor | None
    ) -> Iterator[Tensor]:
        """Add tokens (B, N, C) to parts of an image (B or 1, M, C) by scores (B, H, N, M)."""
        if seen is not None:
            scores = scores.masked_fill(~seen[:, None, :, None], -torch.inf)
        shares = scores.softmax(2)
        values = self.split(self.v_proj(tokens))
        if not self._are_few(tokens):
            yield image + self._join(shares.transpose(2, 3) @ values)
            return
        # Shares of a head add up to one, so each head brings its part of the bias.
        out = values @ self.out_proj.weight.T.unflatten(0, (self.heads, -1))
        out = out + self.out_proj.bias / self.heads
        image, out = image.expand(len(scores), -1, -1), out.flatten(1, 2)
        shares = shares.flatten(1, 2).transpose(1, 2)
        for part in parts_of_image(image):
            yield torch.baddbmm(image[:, part], shares[:, part], out)

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


def _scores(asked: Tensor, image: Tensor, image_pos: Tensor) -> Tensor:
    """Products (B, N, M) of vectors (B, N, C) and an image (B or 1, M, C) with its positions."""
    parts = parts_of_image(image)
    return torch.cat(
        [asked @ (image[:, part] + image_pos[:, part]).transpose(1, 2) for part in parts], -1
    )


def _joined(parts: Iterable[Tensor], image: Tensor, *, overwrite: bool) -> Tensor:
    """Put parts (B, n, C) of an image (B or 1, M, C) together, each as soon as it is there."""
    whole, start = image if overwrite else None, 0
    for part in parts:
        if part.shape[1] == image.shape[1]:
            return part
        if whole is None:
            whole = part.new_empty(len(part), *image.shape[1:])
        whole[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    assert whole is not None
    return whole


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens."""

    def __init__(self, config: DecoderConfig, channels: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        down = config.attention_downsample
        self.self_attn = TwoWayAttention(channels, config.heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = TwoWayAttention(channels, config.heads, down)
        self.norm2 = nn.LayerNorm(channels)
        self.lin1 = nn.Linear(channels, config.mlp_hidden)
        self.lin2 = nn.Linear(config.mlp_hidden, channels)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = TwoWayAttention(channels, config.heads, down)

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
            found = from_tokens.look_at_image(tokens + token_pos, image, image_pos)
        else:
            found = from_tokens.first_look_at_image(tokens + token_pos, look)
        tokens = self.norm2(tokens + found)
        tokens = self.norm3(tokens + self.lin2(F.relu(self.lin1(tokens))))
        keys = tokens + token_pos
        if look is None:
            parts = from_image.look_at_tokens(image, image_pos, tokens, keys, seen)
        else:
            parts = from_image.first_look_at_tokens(image, look, tokens, keys, seen)
        # What a layer made, and nobody else has seen, the next may overwrite: memory is dear.
        overwrite = not (self.first or torch.is_grad_enabled())
        return tokens, _joined(map(self.norm4, parts), image, overwrite=overwrite)


class TwoWayTransformer(nn.Module):
    """A stack of :class:`TwoWayLayer` and a last look of the tokens at the image."""

    def __init__(self, config: DecoderConfig, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(config, channels, first=i == 0) for i in range(config.depth)
        )
        self.final_attn_token_to_image = TwoWayAttention(
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
            tokens + token_pos, image, image_pos
        )
        return self.norm_final_attn(tokens + attended), image
