"""The linear layers of a block, with weights packed for one image on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.model.block import Block

__all__ = ["BlockLinears", "has_onednn", "packed_linears", "plain_product"]

Apply = Callable[[Tensor], Tensor]

_SMALL = 8_000_000  # bytes


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


class _Kept(NamedTuple):
    state: object
    memory: tuple[Tensor, ...]
    linears: BlockLinears


_kept: WeakKeyDictionary[Block, _Kept] = WeakKeyDictionary()


def packed_linears(block: Block) -> BlockLinears:
    """Pack the weights of a block for the fastest matrix product available.

    Packing takes a hundredth of the block's time on a full-size image, but a fifteenth on the small
    ones of the embedded model. Small blocks are therefore packed again only when their parameters
    have changed; large ones for each pass, so that a large model is never held twice.

    Parameters
    ----------
    block : Block
        Float32, on the CPU.

    Returns
    -------
    BlockLinears
    """
    parameters = list(block.parameters())
    size = sum(parameter.nbytes for parameter in parameters)
    if size > _SMALL or any(parameter.is_inference() for parameter in parameters):
        return _pack(block)
    layers = (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2)
    state = layers, tuple((one.data_ptr(), one._version) for one in parameters)
    kept = _kept.get(block)
    if kept is None or kept.state != state:
        # The memory of the parameters is kept too, so that its addresses stay theirs.
        memory = tuple(one.detach() for one in parameters)
        kept = _kept[block] = _Kept(state, memory, _pack(block))
    return kept.linears


def _pack(block: Block) -> BlockLinears:
    attn, mlp = block.attn, block.mlp
    return BlockLinears(
        qkv=_packed(attn.qkv),
        qkv_bias=attn.qkv.bias,
        proj=_packed(attn.proj),
        fc1=_packed(mlp.fc1, gelu=True),
        fc2=_packed(mlp.fc2),
    )


def _packed(layer: nn.Linear, *, gelu: bool = False) -> Apply:
    if not has_onednn() or type(layer) is not nn.Linear:
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


def plain_product(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply x (N, in) by weight (out, in), transposed, with oneDNN; see :func:`has_onednn`."""
    return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
        x, weight, None, "none", [], ""
    )


def has_onednn() -> bool:
    """Tell whether the operators of oneDNN are available."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in names
    )
