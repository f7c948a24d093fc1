"""Eight-bit matrix products for the image encoder on a CPU, asked for by ``precision="int8"``.

The linear layers of the trunk hold most of the arithmetic. Their weights are rounded to 8 bits with
a scale for each output channel, once; their inputs with a scale for each token, whenever they come.
Everything else, attention included, stays in float32. Nothing is calibrated on images.

Source: dynamic quantization per token and channel, as in Dettmers et al., LLM.int8() (2022), without
its outliers, which this model does not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.errors import UnsupportedError
from sam3.model.trunk import Trunk
from sam3.model.trunk_linears import BlockLinears

__all__ = ["Int8Linear", "quantize_trunk"]

_GELU_MINIMUM = -0.17  # GELU is nowhere lower than -0.16997
_NO_LESS = 1e-20  # in place of a scale of 0, where all of a token or channel is 0


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
    return [
        BlockLinears(
            qkv=Int8Linear(block.attn.qkv),
            proj=Int8Linear(block.attn.proj),
            fc1=Int8Linear(block.mlp.fc1, gelu=True),
            fc2=Int8Linear(block.mlp.fc2, after_gelu=True),
        )
        for block in trunk.blocks
    ]


class Int8Linear:
    """A linear layer with 8-bit weights and inputs, and float32 biases and outputs.

    Parameters
    ----------
    layer : nn.Linear
        Float32, on the CPU; it is not kept.
    gelu : bool
        Put a GELU after the layer.
    after_gelu : bool
        Inputs are outputs of a GELU. They are hardly negative, so that all 256 steps are used for
        their positive half.
    """

    def __init__(self, layer: nn.Linear, *, gelu: bool = False, after_gelu: bool = False) -> None:
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).clamp_min(_NO_LESS) / 127
        rounded = (weight / scales[:, None]).round_().to(torch.int8)
        bias = layer.bias.detach().clone()
        if after_gelu:
            bias += _GELU_MINIMUM * scales * rounded.sum(1, dtype=torch.int32)
        self._scales = scales
        self._weight = torch.ops.onednn.qlinear_prepack(rounded, None)
        self._zeros = torch.zeros(len(scales), dtype=torch.int32)
        self._bias = bias
        self._gelu = gelu
        self._after_gelu = after_gelu

    def __call__(self, x: Tensor) -> Tensor:
        """Map tokens (N, in) to (N, out), float32."""
        # Signed first and then moved by 128: PyTorch converts to int8 ten times as fast as to
        # uint8, which oneDNN wants.
        if self._after_gelu:
            steps = x.amax(1, keepdim=True).sub_(_GELU_MINIMUM) / 255
            levels = (x - _GELU_MINIMUM).div_(steps).sub_(128)
        else:
            largest = torch.maximum(x.amax(1, keepdim=True), x.amin(1, keepdim=True).neg_())
            steps = largest.clamp_min_(_NO_LESS) / 127
            levels = x / steps
        inputs = levels.round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        zero = 0 if self._after_gelu else 128
        products = _product(inputs, zero, self._weight, self._scales, self._zeros)
        out = torch.addcmul(self._bias, products, steps)
        return torch.ops.aten.gelu_(out) if self._gelu else out  # type: ignore[no-any-return]


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
        packed = torch.ops.onednn.qlinear_prepack(weight, None)
        found = _product(inputs, 0, packed, torch.ones(2), torch.zeros(2, dtype=torch.int32))
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
