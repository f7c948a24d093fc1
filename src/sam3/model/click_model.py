"""The part of SAM 3 that segments by clicks: encode an image once, then decode prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam3.config import ModelConfig
from sam3.model.mask_decoder import ImageSide, MaskDecoder, RawMasks
from sam3.model.neck import Neck
from sam3.model.prompt_encoder import PromptEncoder
from sam3.model.trunk import Progress, Trunk
from sam3.model.trunk_linears import BlockLinears

__all__ = ["ClickModel", "EncodedImage"]


class EncodedImage(NamedTuple):
    """The mask decoder's features of B images; g is the side of the token grid, C the channels.

    Attributes
    ----------
    embedding : Tensor, shape (B, C, g, g)
    middle : Tensor, shape (B, C / 4, 2g, 2g)
    fine : Tensor, shape (B, C / 8, 4g, 4g)
    """

    embedding: Tensor
    middle: Tensor
    fine: Tensor


class ClickModel(nn.Module):
    """Trunk, click neck, prompt encoder and mask decoder.

    Parameters
    ----------
    config : ModelConfig
        Sizes of all networks.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.trunk, grid=config.grid)
        self.neck = Neck(config.trunk.width, config.channels)
        self.prompt_encoder = PromptEncoder(
            config.prompt_encoder,
            channels=config.channels,
            grid=config.grid,
            patch_size=config.patch_size,
        )
        self.mask_decoder = MaskDecoder(config.decoder, config.channels)
        # Stands in for the memory of earlier frames, which a single image does not have.
        self.no_memory_embed = nn.Parameter(torch.zeros(1, 1, config.channels))

    def encode(
        self,
        images: Tensor,
        progress: Progress | None = None,
        linears: Sequence[BlockLinears] | None = None,
    ) -> EncodedImage:
        """Encode normalised images (B, 3, H, W) in [-1, 1]; other parameters as for the trunk."""
        return self.click_features(self.trunk(images, progress, linears))

    def click_features(self, trunk: Tensor) -> EncodedImage:
        """Compute the features for clicks from the trunk's feature map (B, width, g, g)."""
        decoder = self.mask_decoder
        fine, middle, coarse = self.neck(trunk, decoder.conv_s0, decoder.conv_s1)
        return EncodedImage(coarse, middle, fine)

    def without_memory(self, embedding: Tensor) -> Tensor:
        """Add the stand-in for the memory of earlier frames to an embedding (B, C, g, g)."""
        return embedding + self.no_memory_embed.transpose(1, 2)[..., None]

    def image_side(self, features: EncodedImage) -> ImageSide:
        """Compute the part of the decoding that depends on the image alone."""
        encoder = self.prompt_encoder
        return self.mask_decoder.image_side(
            self.without_memory(features.embedding),
            encoder.dense_positions(),
            (features.fine, features.middle),
            None if encoder.render_prompts else encoder.no_mask,
        )

    def decode(
        self,
        side: ImageSide,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        multimask: bool | None = None,
        valid: Tensor | None = None,
    ) -> RawMasks:
        """Decode the prompts of B objects on one image.

        Parameters
        ----------
        side : ImageSide
            Of one image, from :meth:`image_side`.
        coords : Tensor, shape (B, N, 2)
            (x, y) in pixels of the model's input; box corners included.
        labels : Tensor, shape (B, N)
            Labels of :mod:`sam3.model.prompt_encoder`.
        mask : Tensor, shape (B, 1, L, L), optional
            Previous logits.
        multimask : bool, optional
            As for :class:`sam3.model.mask_decoder.MaskDecoder`.
        valid : Tensor of bool, shape (B, N), optional
            Prompts that count; all by default. Those that do not have the label PADDING.

        Returns
        -------
        RawMasks
        """
        encoder = self.prompt_encoder
        sparse, dense = encoder(coords, labels, mask)
        without_prompt = mask is None and not encoder.render_prompts
        return self.mask_decoder(  # type: ignore[no-any-return]
            side, sparse, None if without_prompt else dense, valid, multimask
        )
