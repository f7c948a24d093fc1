"""Eight-bit matrix products for the image encoder on a CPU, asked for by ``precision="int8"``.

The linear layers of the trunk hold most of the arithmetic. Their weights are rounded to 8 bits with
a scale for each output channel, once; their inputs with a scale for each token, whenever they come.
Everything else, attention included, stays in float32. Nothing is calibrated on images.

A few channels of a vision transformer are ten times as large as the rest, and would leave the rest
few of the 256 levels. So channels are mixed in small groups by an orthogonal matrix before they are
rounded, and the weights by its inverse: the product is the same, and nothing sticks out.

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

_GELU_MINIMUM = -0.17  # GELU is nowhere lower than -0.16997
_NO_LESS = 1e-20  # in place of a scale of 0, where all of a token or channel is 0
_MIXED = 32  # channels that are mixed, at most: the more, the more it costs


def quantize_trunk(trunk: Trunk) -> Sequence[BlockLinears]:
    """Round the linear layers of a trunk to 8 bits; the trunk itself is left as it is.

    Parameters
    ----------
    trunk : Trunk
        Float32, on the CPU.

    Returns
    -------
    sequence of BlockLinears
        For :meth:`sam3.model.trunk.Trunk.forward`; a quarter of the size of the layers.

    Raises
    ------
    UnsupportedError
        If PyTorch or the processor has no exact 8-bit products.
    """
    _check_products()
    with torch.no_grad():
        return [_quantize_block(cast(Block, block)) for block in trunk.blocks]


def _quantize_block(block: Block) -> BlockLinears:
    attn, mlp = block.attn, block.mlp
    channels = attn.proj.in_features
    # Attention averages values over tokens and leaves channels alone: what mixes the channels of
    # the values mixes its output, at no cost.
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
    """A linear layer with 8-bit weights and inputs, and float32 biases and outputs.

    Parameters
    ----------
    weight : Tensor, float32, shape (out, in)
    bias : Tensor, float32, shape (out,)
    mix : bool
        Mix neighbouring channels of the inputs before they are rounded.
    gelu : bool
        Put a GELU after the layer.
    after_gelu : bool
        Inputs are outputs of a GELU. They are hardly negative, so that all 256 levels are used for
        their positive half.
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
        self._mix = _hadamard(_MIXED, weight.shape[1]) if mix else None
        if self._mix is not None:
            weight = _mixed(weight, self._mix)
        scales = weight.abs().amax(1).clamp_min(_NO_LESS) / 127
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
        """Map tokens (N, in) to (N, out), float32; with `after_gelu` the input is overwritten."""
        if self._mix is not None:
            x = _mixed(x, self._mix)
        if self._after_gelu:
            steps = x.amax(1, keepdim=True).sub_(_GELU_MINIMUM).div_(255)
            levels = x.sub_(_GELU_MINIMUM).div_(steps).sub_(128)
        else:
            largest = torch.maximum(x.amax(1, keepdim=True), x.amin(1, keepdim=True).neg_())
            steps = largest.clamp_min_(_NO_LESS).div_(127)
            levels = x / steps
        # Signed first and then moved by 128: PyTorch converts to int8 ten times as fast as to
        # uint8, which oneDNN wants.
        inputs = levels.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        zero = 0 if self._after_gelu else 128
        products = _product(inputs, zero, self._weight, self._scales, self._zeros)
        torch.addcmul(self._bias, products, steps, out=products)
        if self._gelu:
            torch.ops.aten.gelu_(products)
        return products

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the weights as numbers (out, in): packed ones cannot be copied."""
        return {**self.__dict__, "_weight": self._weight.to_dense().T.contiguous()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what :meth:`__getstate__` returned."""
        self.__dict__.update(state, _weight=_packed(state["_weight"]))


def _hadamard(most: int, channels: int) -> Tensor:
    """Orthogonal, symmetric matrix of equal magnitudes; its side, at most `most`, divides both."""
    matrix = torch.ones(1, 1)
    while most % (2 * len(matrix)) == channels % (2 * len(matrix)) == 0:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    scaled: Tensor = matrix / len(matrix) ** 0.5
    return scaled


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply each group of neighbouring channels, the last axis of `x`, by a matrix."""
    groups: Tensor = x.reshape(-1, len(matrix)) @ matrix
    return groups.view(x.shape)


def _packed(weight: Tensor) -> Tensor:
    """Lay out 8-bit weights (out, in) for :func:`_product`."""
    return torch.ops.onednn.qlinear_prepack(weight, None)  # type: ignore[no-any-return]


def _product(inputs: Tensor, zero: int, weight: Any, scales: Tensor, zeros: Tensor) -> Tensor:
    """Compute (inputs - zero) @ weight.T * scales, uint8 with int8, exact up to the scaling."""
    return torch.ops.onednn.qlinear_pointwise(  # type: ignore[no-any-return]
        inputs, 1.0, zero, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


def _check_products() -> None:
    """Refuse where there are no such products, or they overflow, as they do without VNNI."""
    width = 64
    inputs = torch.full((2, width), 255, dtype=torch.uint8)
    weight = torch.full((2, width), 127, dtype=torch.int8)
    expected = float(255 * 127 * width)
    remedy = 'use precision="float32", which runs everywhere.'
    try:
        found = _product(
            inputs, 0, _packed(weight), torch.ones(2), torch.zeros(2, dtype=torch.int32)
        )
    except (AttributeError, RuntimeError) as error:
        raise UnsupportedError(
            f'precision="int8" needs the oneDNN operators of PyTorch for x86 processors; PyTorch '
            f"{torch.__version__} has none here ({str(error).splitlines()[0]}); {remedy}"
        ) from error
    if not bool((found == expected).all()):
        raise UnsupportedError(
            f'precision="int8" needs a processor that adds up 8-bit products without overflow '
            f"(AVX-512 VNNI or AVX-VNNI); this one gave {found[0, 0]:g} for {expected:g}; {remedy}"
        )
