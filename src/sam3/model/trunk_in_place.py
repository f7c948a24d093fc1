"""A block of the trunk on a CPU: the same arithmetic, window by window and in place.

A block as written down in :mod:`sam3.model.block` makes half a gigabyte of intermediates for an
image of full size. Here each is made for a few hundred tokens, used while it is in the cache, and
added to the tokens where they lie. What pads an image to whole windows is never multiplied.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from sam3.model.block import Block
from sam3.model.trunk_linears import BlockLinears

__all__ = ["apply_in_place", "can_work_in_place"]

#: Tokens that go through a layer together, about: few enough for the cache, and enough that the
#: matrix products run at their full rate.
_TOGETHER = 576


def can_work_in_place(x: Tensor) -> bool:
    """Tell whether tokens `x` may be worked on by :func:`apply_in_place`."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def apply_in_place(block: Block, x: Tensor, rope: Tensor, linears: BlockLinears) -> None:
    """Put tokens through a block.

    Parameters
    ----------
    block : Block
        Gives the norms and the shape of the attention.
    x : Tensor, float32, shape (B, H, W, C)
        Contiguous tokens on the CPU, overwritten.
    rope : Tensor, complex64, shape (N, C / heads / 2)
        Rotations of queries and keys, with N the tokens of a window, or H * W for global
        attention.
    linears : BlockLinears
        The block's own, ready to be used.
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
    """Yield views (n, h, w, C) of tokens (H, W, C): windows of one size, side by side."""
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
    cut = height < block.window or width < block.window
    if cut:
        # Padding is zero after the norm, so that its queries, keys and values are the biases.
        whole = linears.qkv_bias.expand(n, block.window, block.window, -1).clone()
        whole[:, :height, :width] = qkv
        qkv = whole
    q, k, v = _rotated(qkv.flatten(1, 2), rotations, block.attn.heads)
    if cut:
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
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(count, channels)
    for part, attended in zip(tokens.split(_TOGETHER), out.split(_TOGETHER), strict=True):
        part.add_(linears.proj(attended))


def _rotated(qkv: Tensor, rotations: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return q, k and v (B, heads, N, C / heads) as views of `qkv` (B, N, 3 C), overwritten.

    Adjacent channels are the two parts of a complex number, and the rotation is a product.
    """
    parts = qkv.unflatten(-1, (3 * heads, -1))
    turned = torch.view_as_complex(parts[:, :, : 2 * heads].unflatten(-1, (-1, 2)))
    torch.mul(turned, rotations, out=turned)
    q, k, v = parts.transpose(1, 2).chunk(3, 1)
    return q, k, v
