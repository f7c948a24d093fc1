"""Image features and prompt embeddings -> mask logits and their predicted quality.

Source: Kirillov et al., Segment Anything (2023); the high-resolution inputs and the object score
are those of Ravi et al., SAM 2 (2024).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DecoderConfig
from sam3.model.layers import LayerNorm2d, MultiLayerPerceptron
from sam3.model.two_way_transformer import TwoWayTransformer

__all__ = ["MaskDecoder", "RawMasks", "select_masks"]

_MASKS = 4  # one for unambiguous prompts, three for ambiguous ones
_STABILITY_DELTA, _STABILITY_THRESHOLD = 0.05, 0.98


class RawMasks(NamedTuple):
    """All four masks of each object, before a choice is made.

    Attributes
    ----------
    logits : Tensor, shape (B, 4, L, L)
    iou : Tensor, shape (B, 4)
        Predicted intersection over union, in [0, 1].
    object_score : Tensor, shape (B, 1)
        Logit that there is an object at all; images do not use it.
    """

    logits: Tensor
    iou: Tensor
    object_score: Tensor


class MaskDecoder(nn.Module):
    """Decode the masks of B prompted objects over one image, or over B images."""

    def __init__(self, config: DecoderConfig, channels: int) -> None:
        super().__init__()
        quarter, eighth = channels // 4, channels // 8
        self.transformer = TwoWayTransformer(config, channels)
        self.object_score_token = nn.Parameter(torch.randn(1, channels))
        self.iou_token = nn.Parameter(torch.randn(1, channels))
        self.mask_tokens = nn.Parameter(torch.randn(_MASKS, channels))
        self.upscale_1 = nn.ConvTranspose2d(channels, quarter, 2, stride=2)
        self.upscale_norm = LayerNorm2d(quarter)
        self.upscale_2 = nn.ConvTranspose2d(quarter, eighth, 2, stride=2)
        self.conv_s0 = nn.Conv2d(channels, eighth, 1)
        self.conv_s1 = nn.Conv2d(channels, quarter, 1)
        self.hypernetworks = nn.ModuleList(
            MultiLayerPerceptron((channels, channels, channels, eighth)) for _ in range(_MASKS)
        )
        self.iou_head = MultiLayerPerceptron((channels, channels, channels, _MASKS))
        self.object_score_head = MultiLayerPerceptron((channels, channels, channels, 1))

    def forward(
        self,
        image: Tensor,
        image_pos: Tensor,
        sparse: Tensor,
        dense: Tensor,
        high_res: tuple[Tensor, Tensor],
        seen: Tensor | None = None,
    ) -> RawMasks:
        """Decode.

        Parameters
        ----------
        image : Tensor, shape (1 or B, C, h, w)
            Image embedding.
        image_pos : Tensor, shape (1 or B, C, h, w)
            Positions of its tokens.
        sparse : Tensor, shape (B, N, C)
            Embedded points and boxes.
        dense : Tensor, shape (1 or B, C, h, w)
            Embedded mask prompt.
        high_res : tuple of Tensor, shapes (1 or B, C / 8, 4h, 4w) and (1 or B, C / 4, 2h, 2w)
            Neck levels 0 and 1 after ``conv_s0`` and ``conv_s1``.
        seen : Tensor of bool, shape (B, N), optional
            Sparse prompts that count; all by default.

        Returns
        -------
        RawMasks
            With L = 4h.
        """
        batch = sparse.shape[0]
        output_tokens = torch.cat([self.object_score_token, self.iou_token, self.mask_tokens])
        tokens = torch.cat([output_tokens.expand(batch, -1, -1), sparse], dim=1)
        if seen is not None:
            seen = torch.cat([seen.new_ones(batch, len(output_tokens)), seen], dim=1)
        height, width = image.shape[-2:]
        source = (image + dense).expand(batch, -1, -1, -1)
        tokens, source = self.transformer(
            tokens, source.flatten(2).transpose(1, 2), image_pos.flatten(2).transpose(1, 2), seen
        )
        source = source.transpose(1, 2).unflatten(2, (height, width))
        fine, middle = high_res
        upscaled = F.gelu(self.upscale_norm(self.upscale_1(source) + middle))
        upscaled = F.gelu(self.upscale_2(upscaled) + fine)
        kernels = torch.stack(
            [net(tokens[:, 2 + i]) for i, net in enumerate(self.hypernetworks)], dim=1
        )
        logits = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
        return RawMasks(
            logits, self.iou_head(tokens[:, 1]).sigmoid(), self.object_score_head(tokens[:, 0])
        )


def select_masks(raw: RawMasks, *, multimask: bool) -> tuple[Tensor, Tensor]:
    """Choose which masks to return.

    Parameters
    ----------
    raw : RawMasks
        All four.
    multimask : bool
        True for the three masks of an ambiguous prompt. False for the single mask; where that one
        is unstable under a small change of threshold, the best of the three stands in.

    Returns
    -------
    logits : Tensor, shape (B, 3 or 1, L, L)
    iou : Tensor, shape (B, 3 or 1)
    """
    if multimask:
        return raw.logits[:, 1:], raw.iou[:, 1:]
    single = raw.logits[:, :1]
    inner = (single > _STABILITY_DELTA).flatten(1).sum(1).float()
    outer = (single > -_STABILITY_DELTA).flatten(1).sum(1).float()
    stable = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0) >= _STABILITY_THRESHOLD
    best = raw.iou[:, 1:].argmax(1) + 1
    choice = torch.where(stable, 0, best)
    rows = torch.arange(len(choice), device=choice.device)
    return raw.logits[rows, choice][:, None], raw.iou[rows, choice][:, None]
