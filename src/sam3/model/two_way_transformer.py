"""Attention between prompt tokens and the image, in both directions.

Source: Kirillov et al., Segment Anything (2023), appendix A.

There are few prompt tokens and thousands of image tokens. Matrix products are therefore ordered so
that projections of the image are avoided where that saves work, q (K W)^T = (q W^T) K^T, and the
projections that do not depend on prompts are computed once per image (:class:`ImageProjections`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DecoderConfig

__all__ = ["ImageProjections", "TwoWayTransformer", "parts_of_image"]

#: Image tokens per core that pass a few steps together, so that they stay in its cache.
_TOGETHER = 576


def parts_of_image(tokens: Tensor) -> list[slice]:
    """Split tokens (B, M, C) of an image into parts that are fastest to process together."""
    count = tokens.shape[1]
    step = _TOGETHER * torch.get_num_threads() if tokens.device.type == "cpu" else count
    return [slice(first, first + step) for first in range(0, count, step)]


class ImageProjections(NamedTuple):
    """Projections of the image in the first layer, before any prompt has changed it.

    H heads have D channels each.

    Attributes
    ----------
    keys : Tensor, shape (B, H, D, M)
        For tokens that attend to the image.
    values : Tensor, shape (B, H, M, D)
        For the same tokens.
    queries : Tensor, shape (B, H, D, M)
        Scaled; for the image that attends to the tokens.
    """

    keys: Tensor
    values: Tensor
    queries: Tensor


class TwoWayAttention(nn.Module):
    """Multi-head attention, optionally with fewer channels than its input."""

    def __init__(self, channels: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        self.inner = channels // downsample
        self.heads = heads
        self.scale = (self.inner // heads) ** -0.5
        self.q_proj = nn.Linear(channels, self.inner)
        self.k_proj = nn.Linear(channels, self.inner)
        self.v_proj = nn.Linear(channels, self.inner)
        self.out_proj = nn.Linear(self.inner, channels)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attend from (B, N, C) to keys and values (B, M, C) where `valid` (B, M) is true."""
        out = F.scaled_dot_product_attention(
            self.split(self.q_proj(q)),
            self.split(self.k_proj(k)),
            self.split(self.v_proj(v)),
            attn_mask=None if valid is None else valid[:, None, None],
        )
        return self._join(out)

    def attend_to_image(self, tokens: Tensor, image: Tensor, image_pos: Tensor) -> Tensor:
        """Attend from tokens (B, N, C) to an image (B or 1, M, C)."""
        if not self._are_few(tokens):
            return self.forward(tokens, image + image_pos, image)
        q = self.split(self.q_proj(tokens)) * self.scale
        # The bias of the keys adds the same to all scores of a token, so softmax cancels it.
        queries = (q @ self._by_head(self.k_proj)).flatten(1, 2)
        weights = _scores(queries, image, image_pos).softmax(-1)
        averages = (weights @ image).unflatten(1, (self.heads, -1))
        out = averages @ self._by_head(self.v_proj).transpose(1, 2)
        return self._join(out + self._bias_by_head(self.v_proj))

    def attend_to_tokens(
        self,
        image: Tensor,
        image_pos: Tensor,
        tokens: Tensor,
        token_keys: Tensor,
        valid: Tensor | None,
    ) -> Iterator[Tensor]:
        """Attend from an image (B or 1, M, C) to tokens (B, N, C) and add the result to the image.

        Yields the image in the parts of :func:`parts_of_image`.
        """
        if not self._are_few(tokens):
            yield image + self.forward(image + image_pos, token_keys, tokens, valid)
            return
        k = self.split(self.k_proj(token_keys)) * self.scale
        keys = (k @ self._by_head(self.q_proj)).flatten(1, 2)
        offset = (k * self._bias_by_head(self.q_proj)).sum(-1, keepdim=True)
        scores = _scores(keys, image, image_pos).unflatten(1, (self.heads, -1)) + offset
        yield from self._spread(image, scores, tokens, valid)

    def attend_to_projected_image(self, tokens: Tensor, projections: ImageProjections) -> Tensor:
        """Do the same as :meth:`attend_to_image`, given the projections of the image."""
        q = self.split(self.q_proj(tokens)) * self.scale
        return self._join((q @ projections.keys).softmax(-1) @ projections.values)

    def attend_from_projected_image(
        self,
        image: Tensor,
        projections: ImageProjections,
        tokens: Tensor,
        token_keys: Tensor,
        valid: Tensor | None,
    ) -> Iterator[Tensor]:
        """Do the same as :meth:`attend_to_tokens`, given the projections of the image."""
        scores = self.split(self.k_proj(token_keys)) @ projections.queries
        return self._spread(image, scores, tokens, valid)

    def _spread(
        self, image: Tensor, scores: Tensor, tokens: Tensor, valid: Tensor | None
    ) -> Iterator[Tensor]:
        """Add tokens (B, N, C) to parts of an image (B or 1, M, C) by scores (B, H, N, M)."""
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, :, None], -torch.inf)
        weights = scores.softmax(2)
        values = self.split(self.v_proj(tokens))
        if not self._are_few(tokens):
            yield image + self._join(weights.transpose(2, 3) @ values)
            return
        # The weights of a head add up to one, so each head contributes its part of the bias.
        out = values @ self.out_proj.weight.T.unflatten(0, (self.heads, -1))
        out = out + self.out_proj.bias / self.heads
        image, out = image.expand(len(scores), -1, -1), out.flatten(1, 2)
        weights = weights.flatten(1, 2).transpose(1, 2)
        for part in parts_of_image(image):
            yield torch.baddbmm(image[:, part], weights[:, part], out)

    def split(self, x: Tensor) -> Tensor:
        """Split (B, N, inner) into heads (B, H, N, D)."""
        split: Tensor = x.unflatten(-1, (self.heads, -1))
        return split.transpose(1, 2)

    def _are_few(self, tokens: Tensor) -> bool:
        """Tell whether one row per head and token is less than the channels of a projection."""
        return self.heads * tokens.shape[1] <= self.inner

    def _join(self, x: Tensor) -> Tensor:
        return self.out_proj(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _by_head(self, linear: nn.Linear) -> Tensor:
        weight: Tensor = linear.weight.unflatten(0, (self.heads, -1))
        return weight

    def _bias_by_head(self, linear: nn.Linear) -> Tensor:
        return linear.bias.view(self.heads, 1, -1)


def _scores(vectors: Tensor, image: Tensor, image_pos: Tensor) -> Tensor:
    """Multiply vectors (B, N, C) and an image (B or 1, M, C) with its positions: (B, N, M)."""
    parts = parts_of_image(image)
    return torch.cat(
        [vectors @ (image[:, part] + image_pos[:, part]).transpose(1, 2) for part in parts], -1
    )


def _joined(parts: Iterable[Tensor], image: Tensor, *, overwrite: bool) -> Tensor:
    """Concatenate parts (B, n, C) of an image (B or 1, M, C), writing each as soon as it comes."""
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

    def project_image(self, image: Tensor, image_pos: Tensor) -> ImageProjections:
        """Project an image (B, M, C) for all prompts that leave it unchanged."""
        to_image, from_image = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        keys = image + image_pos
        queries = from_image.split(from_image.q_proj(keys)) * from_image.scale
        return ImageProjections(
            to_image.split(to_image.k_proj(keys)).transpose(2, 3).contiguous(),
            to_image.split(to_image.v_proj(image)).contiguous(),
            queries.transpose(2, 3).contiguous(),
        )

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_pos: Tensor,
        image_pos: Tensor,
        valid: Tensor | None,
        projections: ImageProjections | None,
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, N, C) and image (B or 1, M, C), given its projections, if any."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens, valid)
        else:
            q = tokens + token_pos
            tokens = tokens + self.self_attn(q, q, tokens, valid)
        tokens = self.norm1(tokens)
        to_image, from_image = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        if projections is None:
            attended = to_image.attend_to_image(tokens + token_pos, image, image_pos)
        else:
            attended = to_image.attend_to_projected_image(tokens + token_pos, projections)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.lin2(F.relu(self.lin1(tokens))))
        keys = tokens + token_pos
        if projections is None:
            parts = from_image.attend_to_tokens(image, image_pos, tokens, keys, valid)
        else:
            parts = from_image.attend_from_projected_image(image, projections, tokens, keys, valid)
        # To save memory, overwrite an image that an earlier layer made: nothing else refers to it.
        overwrite = not (self.first or torch.is_grad_enabled())
        return tokens, _joined(map(self.norm4, parts), image, overwrite=overwrite)


class TwoWayTransformer(nn.Module):
    """A stack of :class:`TwoWayLayer` and a final attention from the tokens to the image."""

    def __init__(self, config: DecoderConfig, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayLayer(config, channels, first=i == 0) for i in range(config.depth)
        )
        self.final_attn_token_to_image = TwoWayAttention(
            channels, config.heads, config.attention_downsample
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def project_image(self, image: Tensor, image_pos: Tensor) -> ImageProjections:
        """Compute the part of the first layer that depends on the image (B, M, C) alone."""
        return self.layers[0].project_image(image, image_pos)  # type: ignore[operator,no-any-return]

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        image_pos: Tensor,
        valid: Tensor | None = None,
        projections: ImageProjections | None = None,
        outputs: Sequence[int] | None = None,
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
        valid : Tensor of bool, shape (B, N), optional
            Tokens that others attend to; all by default. Training leaves out the padding that
            gives objects with different numbers of prompts the same length.
        projections : ImageProjections, optional
            Of this image, from :meth:`project_image`; saves time without changing the result.
        outputs : sequence of int, optional
            Indices of the tokens to return; all by default.

        Returns
        -------
        tokens : Tensor, shape (B, N or number of outputs, C)
        image : Tensor, shape (B, M, C)
        """
        token_pos = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pos, image_pos, valid, projections)
            projections = None
        if outputs is not None:
            # An index would be copied to the device, which a CUDA graph cannot record.
            tokens, token_pos = (
                torch.cat([x[:, i : i + 1] for i in outputs], 1) for x in (tokens, token_pos)
            )
        attended = self.final_attn_token_to_image.attend_to_image(
            tokens + token_pos, image, image_pos
        )
        return self.norm_final_attn(tokens + attended), image
