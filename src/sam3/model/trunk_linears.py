"""The linear layers of a block, with weights packed for one image on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.model.block import Block

__all__ = ["BlockLinears", "packed_linears"]

Apply = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BlockLinears:
    """The matrix products of a block, each from (N, in) to (N, out).

    Attributes
    ----------
    qkv, proj : callable
        Attention's projections.
    qkv_bias : Tensor, shape (3 C,)
        The result of `qkv` for zeros.
    fc1 : callable
        First layer of the MLP, with its GELU.
    fc2 : callable
        Second layer of the MLP; it may overwrite its input.
    """

    qkv: Apply
    qkv_bias: Tensor
    proj: Apply
    fc1: Apply
    fc2: Apply


def packed_linears(block: Block) -> BlockLinears:
    """Pack the weights of a block for the fastest matrix product available.

    Packing takes a hundredth of the block's time on a full-size image. It is therefore repeated
    for each pass and dropped after the block: the model is never held twice, and no packed copy
    can go stale when parameters are trained, moved or loaded.

    Parameters
    ----------
    block : Block
        Float32, on the CPU.

    Returns
    -------
    BlockLinears
    """
    attn, mlp = block.attn, block.mlp
    return BlockLinears(
        qkv=_packed(attn.qkv),
        qkv_bias=attn.qkv.bias,
        proj=_packed(attn.proj),
        fc1=_packed(mlp.fc1, gelu=True),
        fc2=_packed(mlp.fc2),
    )


def _packed(layer: nn.Linear, *, gelu: bool = False) -> Apply:
    if not _has_onednn() or type(layer) is not nn.Linear:
        return (lambda x: F.gelu(layer(x))) if gelu else layer
    # oneDNN computes float32 products a fifth faster than MKL on AMD processors, and as fast on
    # others. These are the operators that torch.compile calls on a CPU.
    operators, bias = torch.ops.mkldnn, layer.bias
    weight = operators._reorder_linear_weight(layer.weight.detach())
    after: tuple[str, list[None], str]
    after = ("gelu", [], "none") if gelu else ("none", [], "")

    def apply(x: Tensor) -> Tensor:
        return operators._linear_pointwise(x, weight, bias, *after)  # type: ignore[no-any-return]

    return apply


def _has_onednn() -> bool:
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )
