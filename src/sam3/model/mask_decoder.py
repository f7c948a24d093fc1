"""Image features and prompt embeddings -> mask logits and their predicted quality.

Source: Kirillov et al., Segment Anything (2023); the high-resolution inputs and the object score
are those of Ravi et al., SAM 2 (2024).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DecoderConfig
from sam3.model.layers import LayerNorm2d, MultiLayerPerceptron
from sam3.model.two_way_transformer import ImageProjections, TwoWayTransformer, parts_of_image

__all__ = ["ImageSide", "MaskDecoder", "RawMasks", "select_masks"]

_MASKS = 4  # one for unambiguous prompts, three for ambiguous ones
_STABILITY_DELTA, _STABILITY_THRESHOLD = 0.05, 0.98


class RawMasks(NamedTuple):
    """All four masks of each object, before the choice among them.

    Attributes
    ----------
    logits : Tensor, shape (B, 4, L, L)
    iou : Tensor, shape (B, 4)
        Predicted intersection over union, in [0, 1].
    object_score : Tensor, shape (B, 1)
        Logit of an object being present; single images do not use it.
    tokens : Tensor, shape (B, 4, C), optional
        Output tokens of the masks; a tracker keeps one as the object pointer.
    """

    logits: Tensor
    iou: Tensor
    object_score: Tensor
    tokens: Tensor | None = None


class ImageSide(NamedTuple):
    """Decoder state that depends on images alone, shared by all prompts on them.

    There are M = h w tokens in row-major order; the pixels of a token are adjacent.

    Attributes
    ----------
    image : Tensor, shape (B, M, C)
        Image embedding.
    positions : Tensor, shape (1, M, C)
        Positions of its tokens.
    middle : Tensor, shape (B, M, C)
        Added to the first upscaling, whose bias it includes: 2 x 2 pixels of C / 4 channels.
    fine : Tensor, shape (B, 4 M, C / 2)
        Added to the second upscaling, likewise.
    plain : Tensor, shape (B, M, C), optional
        The image plus the stand-in for no mask prompt, for prompts without a mask.
    projections : ImageProjections, optional
        Of `plain`.
    """

    image: Tensor
    positions: Tensor
    middle: Tensor
    fine: Tensor
    plain: Tensor | None = None
    projections: ImageProjections | None = None


class MaskDecoder(nn.Module):
    """Decode the masks of B prompted objects on one image, or on B images."""

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

    def image_side(
        self,
        image: Tensor,
        positions: Tensor,
        high_res: tuple[Tensor, Tensor],
        no_mask: Tensor | None = None,
    ) -> ImageSide:
        """Compute the part of the decoding that depends on the image alone.

        Parameters
        ----------
        image : Tensor, shape (B, C, h, w)
            Image embedding.
        positions : Tensor, shape (1, C, h, w)
            Positions of its tokens.
        high_res : tuple of Tensor, shapes (B, C / 8, 4h, 4w) and (B, C / 4, 2h, 2w)
            Neck levels 0 and 1 after ``conv_s0`` and ``conv_s1``.
        no_mask : Tensor, shape (1, C), optional
            The dense prompt of objects without a mask prompt, if there may be such objects.

        Returns
        -------
        ImageSide
        """
        fine, middle = high_res
        tokens, token_positions = (
            x.flatten(2).transpose(1, 2).contiguous() for x in (image, positions)
        )
        plain = None if no_mask is None else tokens + no_mask
        return ImageSide(
            tokens,
            token_positions,
            _by_token(middle, 1) + self.upscale_1.bias.repeat(4),  # type: ignore[union-attr]
            _by_token(fine, 2) + self.upscale_2.bias.repeat(4),  # type: ignore[union-attr]
            plain,
            None if plain is None else self.transformer.project_image(plain, token_positions),
        )

    def forward(
        self,
        side: ImageSide,
        sparse: Tensor,
        dense: Tensor | None = None,
        valid: Tensor | None = None,
        multimask: bool | None = None,
    ) -> RawMasks:
        """Decode masks.

        Parameters
        ----------
        side : ImageSide
            Of one image, or of B.
        sparse : Tensor, shape (B, N, C)
            Embedded points and boxes.
        dense : Tensor, shape (1 or B, C, h, w), optional
            Embedded mask prompt; by default the stand-in of the image side.
        valid : Tensor of bool, shape (B, N), optional
            Sparse prompts that are not padding; all by default.
        multimask : bool, optional
            Choose masks as :func:`select_masks` does, which saves the work for the others.

        Returns
        -------
        RawMasks
            With L = 4h; all four masks by default.
        """
        batch = sparse.shape[0]
        output_tokens = torch.cat([self.object_score_token, self.iou_token, self.mask_tokens])
        tokens = torch.cat([output_tokens.expand(batch, -1, -1), sparse], dim=1)
        if valid is not None:
            valid = torch.cat([valid.new_ones(batch, len(output_tokens)), valid], dim=1)
        if dense is None:
            assert side.plain is not None, "an image side without a stand-in needs a dense prompt"
            source, projections = side.plain, side.projections
        else:
            source, projections = side.image + dense.flatten(2).transpose(1, 2), None
        first = 1 if multimask else 0
        outputs = [0, 1, *range(2 + first, 2 + _MASKS)]
        tokens, source = self.transformer(
            tokens, source, side.positions, valid, projections, outputs
        )
        nets = list(self.hypernetworks)[first:]
        kernels = torch.stack([net(tokens[:, 2 + i]) for i, net in enumerate(nets)], dim=1)
        raw = RawMasks(
            # In the order of tokens, pixel by pixel: the order is irrelevant for choosing masks.
            self._logits(source, side, kernels),
            self.iou_head(tokens[:, 1]).sigmoid()[:, first:],
            self.object_score_head(tokens[:, 0]),
            tokens[:, 2:],
        )
        if multimask is False:
            raw = RawMasks(*select_masks(raw, multimask=False), raw.object_score, raw.tokens)
        return raw._replace(logits=_in_rows(raw.logits, math.isqrt(source.shape[1])))

    def _logits(self, source: Tensor, side: ImageSide, kernels: Tensor) -> Tensor:
        """Upscale image tokens (B, M, C) by 4 and multiply them by kernels (B, K, C / 8).

        On a CPU some tokens are processed at a time, so that intermediates stay in the cache.
        """
        norm = self.upscale_norm
        batch = len(source)
        up_1, up_2 = (
            _as_matrix(up.weight).expand(batch, -1, -1) for up in (self.upscale_1, self.upscale_2)
        )
        logits = []
        for part in parts_of_image(source):
            middle = side.middle[:, part].expand(batch, -1, -1)
            x = torch.baddbmm(middle, source[:, part], up_1).unflatten(2, (4, -1)).flatten(1, 2)
            x = F.layer_norm(x.float(), x.shape[-1:], norm.weight, norm.bias, norm.eps)
            fine = side.fine[:, 4 * part.start : 4 * part.stop].expand(batch, -1, -1)
            x = torch.baddbmm(fine, F.gelu(x), up_2).unflatten(2, (4, -1)).flatten(1, 2)
            logits.append(kernels @ F.gelu(x).transpose(1, 2))
        return torch.cat(logits, 2)


def _as_matrix(weight: Tensor) -> Tensor:
    """Reshape weights (C, K, 2, 2) of a transposed convolution to a matrix (C, 4 K)."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _by_token(x: Tensor, halvings: int) -> Tensor:
    """Reorder pixels so that those of an image token are adjacent.

    ::

        one token, two halvings:      0  1 | 4  5
                                      2  3 | 6  7
                                      -----+-----
                                      8  9 |12 13
                                     10 11 |14 15

    Parameters
    ----------
    x : Tensor, shape (B, C, h, w)
    halvings : int
        Number of times that a token is halved along both axes.

    Returns
    -------
    Tensor, shape (B, h w / 4, 4 C)
        For each token its quarters, for each quarter its quarters, and so on.
    """
    channels = x.shape[1]
    for axis in (3, 2):
        x = x.unflatten(axis, (-1, *[2] * halvings))
    # (B, C, row, its halves, column, its halves): alternate the halves of both axes.
    turns = [a + i for i in range(halvings + 1) for a in (2, 3 + halvings)]
    return x.permute(0, *turns, 1).reshape(len(x), -1, 4 * channels)


def _in_rows(x: Tensor, grid: int) -> Tensor:
    """Reorder logits (B, K, 16 M) from image tokens to the rows of an image."""
    x = x.unflatten(2, (grid, -1, 2, 2, 2, 2))
    return x.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*x.shape[:2], 4 * grid, -1)


def select_masks(raw: RawMasks, *, multimask: bool) -> tuple[Tensor, Tensor]:
    """Choose the masks to return.

    Parameters
    ----------
    raw : RawMasks
        All four.
    multimask : bool
        True for the three masks of an ambiguous prompt. False for the single mask, or the best of
        the three where the single one is unstable under a small change of threshold.

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
