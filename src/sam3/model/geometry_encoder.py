"""The encoder of example boxes into tokens of the prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3.config import DetectorConfig
from sam3.model.attention import PreNormLayer
from sam3.model.box_operators import roi_align
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.sine import sine_features

__all__ = ["GeometryEncoder"]

_POOLED = 7  # side of a pooled box in cells


class GeometryEncoder(nn.Module):
    """Encode example boxes by position, size and the features inside them.

    Parameters
    ----------
    config : DetectorConfig
        Sizes.
    channels : int
        Channels C of the detector.
    """

    def __init__(self, config: DetectorConfig, channels: int) -> None:
        super().__init__()
        self.label_embed = nn.Parameter(torch.zeros(2, channels))
        self.cls_embed = nn.Parameter(torch.zeros(1, channels))
        self.box_direct = nn.Linear(4, channels)
        self.box_pool = nn.Conv2d(channels, channels, _POOLED)
        self.box_position = nn.Linear(channels + 2, channels)
        self.image_norm = nn.LayerNorm(channels)
        self.proj = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.layers = nn.ModuleList(
            PreNormLayer(channels, config.heads, config.mlp_hidden)
            for _ in range(config.geometry_depth)
        )
        self.out_norm = nn.LayerNorm(channels)

    def forward(self, image: Tensor, positions: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Encode the boxes of one image.

        Parameters
        ----------
        image : Tensor, shape (1, C, g, g)
            Its coarse features.
        positions : Tensor, shape (g * g, C)
            Position embeddings of its cells.
        boxes : Tensor, float32, shape (N, 4)
            Centre x, centre y, width and height in 0..1 of the image; N may be 0.
        labels : Tensor of int64, shape (N,)
            1 for positive examples, 0 for negative ones.

        Returns
        -------
        Tensor, shape (N + 1, C)
            One token per box, and a last one that is always present.
        """
        tokens: Tensor = self.cls_embed
        if len(boxes):
            tokens = torch.cat((self._embed(image, boxes, labels), tokens))
        x = self.norm(self.proj(tokens))[None]
        values = image.flatten(2).transpose(1, 2).contiguous()
        keys = values + positions
        for layer in self.layers:
            x = layer(x, None, keys, values)
        return self.out_norm(x)[0]  # type: ignore[no-any-return]

    def _embed(self, image: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Sum the embeddings of each box: (N, C)."""
        normed = self.image_norm(image.movedim(1, -1)).movedim(-1, 1)
        height, width = image.shape[-2:]
        corners = box_cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])
        pooled = self.box_pool(roi_align(normed, corners, _POOLED)).flatten(1)
        half = self.label_embed.shape[1] // 2
        centre_x, centre_y, box_width, box_height = boxes.unbind(-1)
        position = torch.cat(
            (
                sine_features(centre_y, half),
                sine_features(centre_x, half),
                box_height[:, None],
                box_width[:, None],
            ),
            -1,
        )
        parts: Tensor = self.box_direct(boxes) + pooled + self.box_position(position)
        return parts + self.label_embed[labels]
