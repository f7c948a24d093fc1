"""Attention that conditions the features of a frame on the memory of an object.

Source: Ravi et al., SAM 2 (2024).

::

    frame tokens --self-attention--cross-attention--MLP--> x 4 --norm--> conditioned tokens
                                        |
              memories of frames (rotated by position) | pointer tokens (not rotated)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import MemoryConfig
from sam3.model.rope import apply_rope, apply_rope_, axial_rope_table

__all__ = ["MemoryAttention", "Remembered"]

_POSITION_SHARE = 0.1
# Queries and keys whose products are computed together, so that these stay in the cache of a CPU.
_QUERIES, _KEYS = 648, 512


class Remembered:
    """Memory tokens of objects, N = F g**2 + P: those of F frames, then the pointers.

    Parameters
    ----------
    tokens : Tensor, shape (B, N, memory channels)
    positions : Tensor, shape (1 or B, N, memory channels)
        Embeddings of position and time.
    pointers : int
        Number P of pointer tokens.
    """

    def __init__(self, tokens: Tensor, positions: Tensor, pointers: int) -> None:
        self.tokens = tokens
        self.keys = tokens + positions
        self.pointers = pointers


class SelfAttention(nn.Module):
    """Single-head attention among the tokens of a frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        """Attend within tokens (B, M, C), with rotated queries and keys."""
        q, k = self.q_proj(x), self.k_proj(x)
        if _is_lean(q):
            rotations = torch.complex(*rope.unbind(0))
            q, k = apply_rope_(q, rotations), apply_rope_(k, rotations)
        else:
            q, k = apply_rope(q, rope), apply_rope(k, rope)
        return self.out_proj(_attend(q, k, self.v_proj(x)))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Single-head attention from the tokens of a frame to its memory."""

    def __init__(self, channels: int, memory_channels: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(memory_channels, channels)
        self.v_proj = nn.Linear(memory_channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, remembered: Remembered, rope: Tensor) -> Tensor:
        """Attend from tokens (B, M, C) to the memory."""
        q, k = self.q_proj(x), self.k_proj(remembered.keys)
        spatial = k.shape[1] - remembered.pointers
        frames = k[:, :spatial].unflatten(1, (-1, rope.shape[1]))
        if _is_lean(q):
            rotations = torch.complex(*rope.unbind(0))
            apply_rope_(frames, rotations)
            # The weights of a query add up to one: averages are projected, not all of the memory.
            v = self.v_proj(_average(apply_rope_(q, rotations), k, remembered.tokens))
        else:
            k = torch.cat([apply_rope(frames, rope).flatten(1, 2), k[:, spatial:]], dim=1)
            v = _attend(apply_rope(q, rope), k, self.v_proj(remembered.tokens))
        return self.out_proj(v)  # type: ignore[no-any-return]


def _is_lean(x: Tensor) -> bool:
    """Tell whether to overwrite tensors and to average in parts, as is fastest on a CPU."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Average values (B, N, C) by the products of queries (B, M, C) and keys (B, N, C)."""
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


def _average(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Do the same for values (B, N, D) of fewer channels, which :func:`_attend` does slowly.

    Source: Dao et al., FlashAttention (2022): parts of the keys, each by its own maximum.
    """
    blocks = list(zip(k.split(_KEYS, 1), values.split(_KEYS, 1), strict=True))
    averages = []
    for queries in (q * q.shape[-1] ** -0.5).split(_QUERIES, 1):
        tops, totals, sums = [], [], []
        for keys, block in blocks:
            weights = queries @ keys.transpose(1, 2)
            top = weights.amax(-1, keepdim=True)
            weights.sub_(top).exp_()
            tops.append(top)
            totals.append(weights.sum(-1, keepdim=True))
            sums.append(weights @ block)
        factors = torch.stack(tops)
        factors = (factors - factors.amax(0)).exp()
        total = (torch.stack(totals) * factors).sum(0)
        averages.append((torch.stack(sums) * factors).sum(0) / total)
    return torch.cat(averages, 1)


class MemoryLayer(nn.Module):
    """Pre-norm self-attention, cross-attention and MLP."""

    def __init__(self, config: MemoryConfig, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attn = SelfAttention(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attn = CrossAttention(channels, config.channels)
        self.norm3 = nn.LayerNorm(channels)
        self.lin1 = nn.Linear(channels, config.mlp_hidden)
        self.lin2 = nn.Linear(config.mlp_hidden, channels)

    def forward(self, x: Tensor, remembered: Remembered, rope: Tensor) -> Tensor:
        """Map tokens (B, M, C) to (B, M, C)."""
        x = x + self.self_attn(self.norm1(x), rope)
        x = x + self.cross_attn(self.norm2(x), remembered, rope)
        return x + self.lin2(F.relu_(self.lin1(self.norm3(x))))  # type: ignore[no-any-return]


class MemoryAttention(nn.Module):
    """Condition the features of a frame on memory.

    Parameters
    ----------
    config : MemoryConfig
        Sizes.
    channels : int
        Channels C of the features, a multiple of 4.
    """

    def __init__(self, config: MemoryConfig, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryLayer(config, channels) for _ in range(config.layers))
        self.norm = nn.LayerNorm(channels)
        self._rope: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, features: Tensor, positions: Tensor, remembered: Remembered) -> Tensor:
        """Condition the features of one frame.

        Parameters
        ----------
        features : Tensor, shape (1 or B, C, g, g)
            Of the frame, from the neck.
        positions : Tensor, shape (C, g, g)
            From :func:`sam3.model.sine_positions.sine_of_grid`.
        remembered : Remembered
            Memory of B objects.

        Returns
        -------
        Tensor, shape (B, C, g, g)
        """
        grid, channels = features.shape[-1], features.shape[1]
        x = (features + _POSITION_SHARE * positions).flatten(2).transpose(1, 2)
        x = x.expand(len(remembered.tokens), -1, -1)
        rope = self._table(grid, channels, features.device)
        for layer in self.layers:
            x = layer(x, remembered, rope)
        return self.norm(x).transpose(1, 2).unflatten(2, (grid, grid))  # type: ignore[no-any-return]

    def _table(self, grid: int, channels: int, device: torch.device) -> Tensor:
        """Return the cached table of rotations for a grid."""
        key = grid, device
        if key not in self._rope:
            # Outside inference_mode, so that a table computed there also serves a training step.
            with torch.inference_mode(False):
                self._rope[key] = axial_rope_table(grid, grid, channels).to(device)
        return self._rope[key]
