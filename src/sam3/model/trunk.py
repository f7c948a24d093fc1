"""The image encoder: a plain vision transformer with windowed and global attention.

Source: Li et al., Exploring Plain Vision Transformer Backbones for Object Detection (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import TrunkConfig
from sam3.model.rope import apply_rope, axial_rope_table
from sam3.model.trunk_in_place import apply_in_place, can_work_in_place
from sam3.model.trunk_linears import BlockLinears, packed_linears

__all__ = ["Progress", "Trunk"]

#: Called with a share in 0..1.
Progress = Callable[[float], None]


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of a window or of the whole grid."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        """Attend within each sequence.

        Parameters
        ----------
        x : Tensor, shape (B, N, C)
            Tokens.
        rope : Tensor, shape (2, N, C / heads / 2)
            Rotations of queries and keys.

        Returns
        -------
        Tensor, shape (B, N, C)
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        out = F.scaled_dot_product_attention(apply_rope(q, rope), apply_rope(k, rope), v)
        return self.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block; `window` is None where attention is global."""

    def __init__(self, config: TrunkConfig, window: int | None) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attn = Attention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.mlp = Mlp(config.width, config.mlp_hidden)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        """Map tokens (B, H, W, C) to (B, H, W, C)."""
        height, width = x.shape[1:3]
        y = self.norm1(x)
        if self.window is None:
            y = self.attn(y.flatten(1, 2), rope).unflatten(1, (height, width))
        else:
            y = _join_windows(
                self.attn(_split_windows(y, self.window), rope), self.window, height, width
            )
        x = x + y
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def _split_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, window**2, C); the grid is zero-padded at right and bottom."""
    height, width = x.shape[1:3]
    pad_h, pad_w = -height % window, -width % window
    if pad_h or pad_w:
        x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
    x = x.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _join_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo :func:`_split_windows` and cut the padding away."""
    rows, cols = -(-height // window), -(-width // window)
    x = x.unflatten(1, (window, window)).unflatten(0, (-1, rows, cols))
    x = x.transpose(2, 3).flatten(1, 2).flatten(2, 3)
    return x[:, :height, :width]


class Trunk(nn.Module):
    """Encode an image into one map of tokens.

    Parameters
    ----------
    config : TrunkConfig
        Sizes.
    grid : int
        Side of the token grid at the model's nominal input size. Positions of global attention
        are scaled by ``window / grid``, also for inputs that cover only a part of that grid.
    """

    def __init__(self, config: TrunkConfig, *, grid: int) -> None:
        super().__init__()
        self.config = config
        self.global_scale = config.window / grid
        self.patch_embed = nn.Conv2d(
            3, config.width, config.patch_size, stride=config.patch_size, bias=False
        )
        side = config.pretrain_grid
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, config.width))
        self.ln_pre = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList(
            Block(config, None if i in config.global_blocks else config.window)
            for i in range(config.depth)
        )
        self._tables: dict[tuple[int, int, float, torch.device], Tensor] = {}

    def forward(
        self,
        images: Tensor,
        progress: Progress | None = None,
        linears: Sequence[BlockLinears] | None = None,
    ) -> Tensor:
        """Encode normalised images.

        Parameters
        ----------
        images : Tensor, shape (B, 3, H, W)
            Pixels in [-1, 1]; H and W are multiples of the patch size.
        progress : callable, optional
            Told after each block which share of them is done. What it raises ends the encoding.
        linears : sequence of BlockLinears, optional
            In place of the linear layers of each block, on a CPU and without autograd.

        Returns
        -------
        Tensor, shape (B, C, H / patch, W / patch)
        """
        x = self.patch_embed(images).permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        side = self.config.pretrain_grid
        repeat = (1, -(-height // side), -(-width // side), 1)
        x = self.ln_pre(x + self.pos_embed.repeat(repeat)[:, :height, :width])
        window = self.config.window
        local = self._rope(window, window, 1.0, x.device)
        whole = self._rope(height, width, self.global_scale, x.device)
        in_place = can_work_in_place(x)
        assert in_place or linears is None
        if in_place:
            x, local, whole = x.contiguous(), torch.complex(*local), torch.complex(*whole)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            rope = whole if block.window is None else local
            if in_place:
                ready = packed_linears(block) if linears is None else linears[number]
                apply_in_place(block, x, rope, ready)
            else:
                x = block(x, rope)
            if progress is not None:
                progress((number + 1) / len(self.blocks))
        features: Tensor = x.permute(0, 3, 1, 2)
        return features

    def compile_blocks(self) -> None:
        """Compile the blocks at their first use: two compilations, as there are two kinds.

        On a CPU in float32 blocks are worked on in place instead, which is faster.
        """
        for block in self.blocks:
            block.compile()

    def _rope(self, height: int, width: int, scale: float, device: torch.device) -> Tensor:
        """Table of rotations, kept per grid size; it is recomputed, never loaded."""
        key = (height, width, scale, device)
        if key not in self._tables:
            head_dim = self.config.width // self.config.heads
            # Not under inference_mode, so that a table made there can serve a training step too.
            with torch.inference_mode(False):
                table = axial_rope_table(height, width, head_dim, scale=scale)
                self._tables[key] = table.to(device)
        return self._tables[key]
