"""The trunk's block on a CPU: the same arithmetic, window by window and in place.

The block of :mod:`sam3.model.block` allocates half a gigabyte of intermediates for a full-size
image. Here each intermediate covers a few hundred tokens, is used while it is in the cache, and is
added to the tokens in place. The padding of incomplete windows is never multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from sam3.model.block import Block
from sam3.model.head_attention import attend_by_head
from sam3.model.rope import apply_rope_
from sam3.model.trunk_linears import BlockLinears

__all__ = ["apply_in_place", "can_work_in_place"]

#: Approximate number of tokens that pass a layer together: few enough for the cache, and enough
#: for the full rate of matrix products.
_TOGETHER = 576


def can_work_in_place(x: Tensor) -> bool:
    """Tell whether :func:`apply_in_place` supports the tokens `x`."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def apply_in_place(block: Block, x: Tensor, rope: Tensor, linears: BlockLinears) -> None:
    """Apply a block to tokens.

    Parameters
    ----------
    block : Block
        Supplies the norms and the shape of the attention.
    x : Tensor, float32, shape (B, H, W, C)
        Contiguous tokens on the CPU, overwritten with the result.
    rope : Tensor, complex64, shape (N, C / heads / 2)
        Rotations of the queries and keys; N is the number of tokens of a window, or H * W for
        global attention.
    linears : BlockLinears
        The block's packed linear layers.
    """
    rotations = rope[:, None]
    for image in x:
        if block.window is None:
            _attend_everywhere(block, image, rotations, linears)
        else:
            for windows in _windows(image, block.window):
                _attend_in_windows(block, windows, rotations, linears)
        for tokens in image.flatten(0, 1).split(_TOGETHER):
            tokens.add_(linears.fc2(linears.fc1(block.norm2(tokens))))


def _windows(image: Tensor, window: int) -> Iterator[Tensor]:
    """Yield views (n, h, w, C) of tokens (H, W, C): neighbouring windows of equal size.

    ::

        +----+----+--+      whole windows of a stripe together, then the narrow one
        |   n=2   |n=1
        +----+----+--+
    """
    width = image.shape[1]
    whole = width // window
    step = max(1, _TOGETHER // window**2)
    for stripe in image.split(window):
        for first in range(0, whole, step):
            last = min(first + step, whole)
            part = stripe[:, first * window : last * window]
            yield part.unflatten(1, (last - first, window)).transpose(0, 1)
        if width % window:
            yield stripe[None, :, whole * window :]


def _attend_in_windows(
    block: Block, windows: Tensor, rotations: Tensor, linears: BlockLinears
) -> None:
    assert block.window is not None
    n, height, width, channels = windows.shape
    qkv = linears.qkv(block.norm1(windows).reshape(-1, channels)).view(n, height, width, -1)
    incomplete = height < block.window or width < block.window
    if incomplete:
        # Padding is zero after the norm, so its queries, keys and values are the biases.
        whole = linears.qkv_bias.expand(n, block.window, block.window, -1).clone()
        whole[:, :height, :width] = qkv
        qkv = whole
    q, k, v = _rotated(qkv.flatten(1, 2), rotations, block.attn.heads)
    if incomplete:
        sides = (block.window, block.window)
        q = q.unflatten(2, sides)[:, :, :height, :width].flatten(2, 3)
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, channels)
    windows.add_(linears.proj(out).view(windows.shape))


def _attend_everywhere(
    block: Block, image: Tensor, rotations: Tensor, linears: BlockLinears
) -> None:
    tokens = image.flatten(0, 1)
    count, channels = tokens.shape
    qkv = tokens.new_empty(1, count, 3 * channels)
    for part, target in zip(tokens.split(_TOGETHER), qkv[0].split(_TOGETHER), strict=True):
        target.copy_(linears.qkv(block.norm1(part)))
    q, k, v = _rotated(qkv, rotations, block.attn.heads)
    out = attend_by_head(q[0], k[0], v[0])
    for part, attended in zip(tokens.split(_TOGETHER), out.split(_TOGETHER), strict=True):
        part.add_(linears.proj(attended))


def _rotated(qkv: Tensor, rotations: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate `qkv` (B, N, 3 C) in place and return views q, k, v (B, heads, N, C / heads)."""
    parts = qkv.unflatten(-1, (3 * heads, -1))
    apply_rope_(parts[:, :, : 2 * heads], rotations)
    q, k, v = parts.transpose(1, 2).chunk(3, 1)
    return q, k, v
