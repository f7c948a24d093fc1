"""Decoding in few shapes: objects and prompts are padded, and the padding is hidden.

::

    objects   1  2  3->4   4  5->8  ...            a click          c p          (p: the padding
    prompts   0->2  2  3->4   4  5->8  ...         a box            b b p .       point that the
                                                   a box, 2 clicks  b b c c p ...    model expects)

Masks of real objects are those without padding, within rounding.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sam3.model.click_model import ClickModel
from sam3.model.mask_decoder import ImageSide, RawMasks
from sam3.model.prompt_encoder import PADDING

__all__ = ["FixedShapes", "PaddedPrompts", "RunPadded", "decode_padded", "pad_prompts"]

_LEAST_PROMPTS = 2  # a click and the padding point


class PaddedPrompts(NamedTuple):
    """Prompts of B objects, of which some may be padding, as may be some of the N of each.

    Attributes
    ----------
    coords : Tensor, shape (B, N, 2)
    labels : Tensor, shape (B, N)
    valid : Tensor of bool, shape (B, N)
        False for padding.
    mask : Tensor, shape (B, 1, L, L), optional
    """

    coords: Tensor
    labels: Tensor
    valid: Tensor
    mask: Tensor | None


class RunPadded(Protocol):
    """A decoder of padded prompts on a given image side."""

    def __call__(self, side: ImageSide, prompts: PaddedPrompts, multimask: bool | None) -> RawMasks:
        """Decode; see :meth:`sam3.model.click_model.ClickModel.decode`."""


def pad_prompts(coords: Tensor, labels: Tensor, mask: Tensor | None) -> PaddedPrompts:
    """Pad prompts as for :meth:`ClickModel.decode` to powers of two along both axes."""
    objects, count = labels.shape
    more_objects = _power_of_two(objects) - objects
    more_prompts = max(_LEAST_PROMPTS, _power_of_two(count)) - count
    sides = (0, more_prompts, 0, more_objects)
    return PaddedPrompts(
        F.pad(coords, (0, 0, *sides)),
        F.pad(labels, sides, value=PADDING),
        F.pad(torch.ones_like(labels, dtype=torch.bool), sides),
        None if mask is None else F.pad(mask, (0, 0) * 3 + (0, more_objects)),
    )


def decode_padded(
    model: ClickModel, side: ImageSide, prompts: PaddedPrompts, multimask: bool | None
) -> RawMasks:
    """Decode padded prompts (B, N) on the device of the image side."""
    device = side.image.device
    coords, labels, valid = (x.to(device) for x in prompts[:3])
    mask = None if prompts.mask is None else prompts.mask.to(device)
    return model.decode(side, coords, labels, mask, multimask, valid)


class FixedShapes:
    """A decoder that sees few shapes.

    Parameters
    ----------
    run : RunPadded
        Decodes what is padded.
    """

    def __init__(self, run: RunPadded) -> None:
        self._run = run

    def decode(
        self,
        side: ImageSide,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        multimask: bool | None = None,
    ) -> RawMasks:
        """Decode as :meth:`sam3.model.click_model.ClickModel.decode`, on any device."""
        raw = self._run(side, pad_prompts(coords, labels, mask), multimask)
        return RawMasks(*(None if x is None else x[: len(coords)] for x in raw))  # type: ignore[arg-type]


def _power_of_two(count: int) -> int:
    """Return the smallest power of two that is at least `count`."""
    return 1 << max(0, count - 1).bit_length()
