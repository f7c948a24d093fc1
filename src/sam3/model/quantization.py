"""Eight-bit matrix products for the image encoder on a CPU, for ``precision="int8"``.

The linear layers of the trunk account for most of the arithmetic. Their weights are rounded once to
8 bits, with one scale per output channel; their inputs on each call, with one scale per token.
Everything else, attention included, stays in float32. No calibration images are needed.

A few channels of a vision transformer are ten times as large as the rest and would leave few of the
256 levels to them. Before rounding, small groups of channels are therefore mixed by an orthogonal
matrix, and the weights by its inverse, which evens out the channels and preserves the product.

Source: scales per token and channel as in Dettmers et al., LLM.int8() (2022); rotations as in
Ashkboos et al., QuaRot (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from sam3.errors import UnsupportedError
from sam3.model.block import Block
from sam3.model.trunk import Trunk
from sam3.model.trunk_linears import BlockLinears

__all__ = ["Int8Linear", "quantize_trunk"]

_GELU_MINIMUM = -0.17  # below the minimum of GELU, -0.16997
_SMALLEST_SCALE = 1e-20  # replaces a scale of 0, where a whole token or channel is 0
_GROUP = 32  # most channels mixed together: larger groups cost more


def quantize_trunk(trunk: Trunk) -> Sequence[BlockLinears]:
    """Round the linear layers of a trunk to 8 bits, leaving the trunk unchanged.

    Parameters
    ----------
    trunk : Trunk
        Float32, on the CPU.

    Returns
    -------
    sequence of BlockLinears
        For :meth:`sam3.model.trunk.Trunk.forward`; a quarter of the size of the original layers.

    Raises
    ------
    UnsupportedError
        If PyTorch or the processor lacks exact 8-bit products.
    """
    _check_products()
    with torch.no_grad():
        return [_quantize_block(cast(Block, block)) for block in trunk.blocks]


def _quantize_block(block: Block) -> BlockLinears:
    attn, mlp = block.attn, block.mlp
    channels = attn.proj.in_features
    # Attention averages values over tokens and keeps channels apart, so mixing the channels of
    # the values also mixes its output, at no cost.
    mix = _hadamard(channels // attn.heads, channels)
    qkv_weight, qkv_bias = attn.qkv.weight.clone(), attn.qkv.bias.clone()
    qkv_weight[2 * channels :] = _mixed(qkv_weight[2 * channels :].T, mix).T
    qkv_bias[2 * channels :] = _mixed(qkv_bias[2 * channels :], mix)
    return BlockLinears(
        qkv=Int8Linear(qkv_weight, qkv_bias, mix=True),
        qkv_bias=qkv_bias,
        proj=Int8Linear(_mixed(attn.proj.weight, mix), attn.proj.bias),
        fc1=Int8Linear(mlp.fc1.weight, mlp.fc1.bias, mix=True, gelu=True),
        fc2=Int8Linear(mlp.fc2.weight, mlp.fc2.bias, after_gelu=True),
    )


class Int8Linear:
    """A linear layer with 8-bit weights and inputs, and float32 bias and output.

    Parameters
    ----------
    weight : Tensor, float32, shape (out, in)
    bias : Tensor, float32, shape (out,)
    mix : bool
        Mix adjacent channels of the inputs before rounding.
    gelu : bool
        Apply a GELU to the output.
    after_gelu : bool
        Inputs are outputs of a GELU, hardly ever negative, so all 256 levels cover positive
        values.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        mix: bool = False,
        gelu: bool = False,
        after_gelu: bool = False,
    ) -> None:
        self._mix = _hadamard(_GROUP, weight.shape[1]) if mix else None
        if self._mix is not None:
            weight = _mixed(weight, self._mix)
        scales = weight.abs().amax(1).clamp_min(_SMALLEST_SCALE) / 127
        rounded = (weight / scales[:, None]).round_().to(torch.int8)
        self._bias = bias.detach().clone()
        if after_gelu:
            self._bias += _GELU_MINIMUM * scales * rounded.sum(1, dtype=torch.int32)
        self._scales = scales.detach()
        self._zeros = torch.zeros(len(scales), dtype=torch.int32)
        self._weight = _packed(rounded)
        self._gelu = gelu
        self._after_gelu = after_gelu

    def __call__(self, x: Tensor) -> Tensor:
        """Map tokens (N, in) to (N, out), float32; `after_gelu` overwrites the input."""
        if self._mix is not None:
            x = _mixed(x, self._mix)
        if self._after_gelu:
            steps = x.amax(1, keepdim=True).sub_(_GELU_MINIMUM).div_(255)
            levels = x.sub_(_GELU_MINIMUM).div_(steps).sub_(128)
        else:
            largest = torch.maximum(x.amax(1, keepdim=True), x.amin(1, keepdim=True).neg_())
            steps = largest.clamp_min_(_SMALLEST_SCALE).div_(127)
            levels = x / steps
        # oneDNN needs uint8, but PyTorch converts to int8 ten times as fast: convert to int8 and
        # add 128 by flipping the sign bit.
        inputs = levels.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        zero = 0 if self._after_gelu else 128
        products = _product(inputs, zero, self._weight, self._scales, self._zeros)
        torch.addcmul(self._bias, products, steps, out=products)
        if self._gelu:
            torch.ops.aten.gelu_(products)
        return products

    def __getstate__(self) -> dict[str, Any]:
        """Return a state with unpacked weights (out, in), since packed ones cannot be copied."""
        return {**self.__dict__, "_weight": self._weight.to_dense().T.contiguous()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of :meth:`__getstate__`."""
        self.__dict__.update(state, _weight=_packed(state["_weight"]))


def _hadamard(most: int, channels: int) -> Tensor:
    """Return a symmetric Hadamard matrix; its side, at most `most`, divides both numbers."""
    matrix = torch.ones(1, 1)
    while most % (2 * len(matrix)) == channels % (2 * len(matrix)) == 0:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    scaled: Tensor = matrix / len(matrix) ** 0.5
    return scaled


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each group of adjacent channels (the last axis of `x`) by a matrix."""
    groups: Tensor = x.reshape(-1, len(matrix)) @ matrix
    return groups.view(x.shape)


def _packed(weight: Tensor) -> Tensor:
    """Pack 8-bit weights (out, in) for :func:`_product`."""
    return torch.ops.onednn.qlinear_prepack(weight, None)  # type: ignore[no-any-return]


def _product(inputs: Tensor, zero: int, weight: Any, scales: Tensor, zeros: Tensor) -> Tensor:
    """Compute (inputs - zero) @ weight.T * scales from uint8 and int8, exact before scaling."""
    return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
        inputs, 1.0, zero, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def _check_products() -> None:
    """Raise if 8-bit products are missing, or overflow as on processors without VNNI."""
    width = 64
    inputs = torch.full((2, width), 255, dtype=torch.uint8)
    weight = torch.full((2, width), 127, dtype=torch.int8)
    expected = float(255 * 127 * width)
    remedy = 'Use precision="float32", which runs everywhere.'
    try:
        products = _product(
            inputs, 0, _packed(weight), torch.ones(2), torch.zeros(2, dtype=torch.int32)
        )
    except (AttributeError, RuntimeError) as error:
        raise UnsupportedError(
            'precision="int8" needs the oneDNN operators of PyTorch for x86 processors. '
            f"Expected them in PyTorch {torch.__version__} ({str(error).splitlines()[0]}). "
            f"{remedy}"
        ) from error
    if not bool((products == expected).all()):
        raise UnsupportedError(
            'precision="int8" needs a processor that adds 8-bit products without overflow '
            f"(AVX-512 VNNI or AVX-VNNI). Expected {expected:g} as a product, not "
            f"{products[0, 0]:g}. {remedy}"
        )
