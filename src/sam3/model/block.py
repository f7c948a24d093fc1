"""The block of the image encoder: windowed or global attention, then an MLP."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import TrunkConfig
from sam3.model.rope import apply_rope

__all__ = ["GridAttention", "Block", "Mlp"]


class GridAttention(nn.Module):
    """Multi-head self-attention over the tokens of one window or of the whole grid."""

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
            Rotations of the queries and keys.

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
    """Pre-norm transformer block; `window` is None for global attention."""

    def __init__(self, config: TrunkConfig, window: int | None) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.width, eps=config.layer_norm_eps)
        self.attn = GridAttention(config.width, config.heads)
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
    """Split (B, H, W, C) into windows (B * windows, window**2, C), zero-padded right and bottom.

    ::

        +----+----+--+
        | 0  | 1  | 2:      windows of one image, in row-major order;
        +----+----+--+      the dots are padding
        | 3  | 4  | 5:
        +....+....+..+
    """
    height, width = x.shape[1:3]
    pad_h, pad_w = -height % window, -width % window
    if pad_h or pad_w:
        x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
    x = x.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def _join_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """Undo :func:`_split_windows` and crop the padding."""
    rows, cols = -(-height // window), -(-width // window)
    x = x.unflatten(1, (window, window)).unflatten(0, (-1, rows, cols))
    x = x.transpose(2, 3).flatten(1, 2).flatten(2, 3)
    return x[:, :height, :width]
