"""The detector's decoder: queries that attend to an image and refine one box each.

Sources: Carion et al. (2020), DETR; Liu et al. (2022), DAB-DETR, for queries whose positions follow
their boxes; Lin et al. (2023), plain DETR with box-to-pixel bias.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DetectorConfig
from sam3.model.attention import Attention
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.layers import MultiLayerPerceptron
from sam3.model.sine import sine_features

__all__ = ["DecodedQueries", "QueryDecoder"]

_LOGIT_MARGIN = 1e-3  # probabilities are clipped to it before the logit of boxes


class DecodedQueries(NamedTuple):
    """Decoded queries of one image.

    Attributes
    ----------
    queries : Tensor, shape (Q, C)
        Features for scores and masks.
    boxes : Tensor, float32, shape (Q, 4)
        Centre x, centre y, width and height in 0..1 of the image.
    presence : Tensor, float32, shape ()
        Logit of the concept being anywhere on the image.
    """

    queries: Tensor
    boxes: Tensor
    presence: Tensor


class QueryLayer(nn.Module):
    """Post-norm attention among queries, to the prompt and to the image, followed by an MLP."""

    def __init__(self, channels: int, heads: int, mlp_hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads)
        self.self_norm = nn.LayerNorm(channels)
        self.prompt_attn = Attention(channels, heads)
        self.prompt_norm = nn.LayerNorm(channels)
        self.image_attn = Attention(channels, heads)
        self.image_norm = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, mlp_hidden)
        self.linear2 = nn.Linear(mlp_hidden, channels)
        self.mlp_norm = nn.LayerNorm(channels)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        prompt: Tensor,
        keys: Tensor,
        values: Tensor,
        bias: Tensor,
    ) -> Tensor:
        """Update the tokens x (1, 1 + Q, C), the first of which stands for presence."""
        queries = x + positions
        x = self.self_norm(x + self.self_attn(queries, queries, x))
        x = self.prompt_norm(x + self.prompt_attn(x + positions, prompt, prompt))
        x = self.image_norm(x + self.image_attn(x + positions, keys, values, bias=bias))
        return self.mlp_norm(x + self.linear2(F.relu_(self.linear1(x))))  # type: ignore[no-any-return]


class QueryDecoder(nn.Module):
    """Find boxes on an image encoded with its prompt.

    Parameters
    ----------
    config : DetectorConfig
        Sizes.
    channels : int
        Channels C of the detector.
    """

    def __init__(self, config: DetectorConfig, channels: int) -> None:
        super().__init__()
        self.query_embed = nn.Parameter(torch.zeros(config.queries, channels))
        self.reference_boxes = nn.Parameter(torch.zeros(config.queries, 4))
        self.presence_token = nn.Parameter(torch.zeros(1, channels))
        self.layers = nn.ModuleList(
            QueryLayer(channels, config.heads, config.mlp_hidden)
            for _ in range(config.decoder_depth)
        )
        self.norm = nn.LayerNorm(channels)
        self.box_head = MultiLayerPerceptron((channels, channels, channels, 4))
        self.position_head = MultiLayerPerceptron((2 * channels, channels, channels))
        self.bias_x = MultiLayerPerceptron((2, channels, config.heads))
        self.bias_y = MultiLayerPerceptron((2, channels, config.heads))
        self.presence_norm = nn.LayerNorm(channels)
        self.presence_head = MultiLayerPerceptron((channels, channels, channels, 1))

    def forward(
        self, image: Tensor, positions: Tensor, prompt: Tensor, grid: tuple[int, int]
    ) -> DecodedQueries:
        """Decode one image.

        Parameters
        ----------
        image : Tensor, shape (1, h * w, C)
            The image, encoded with its prompt.
        positions : Tensor, shape (h * w, C)
            Position embeddings of its cells.
        prompt : Tensor, shape (1, P, C)
        grid : tuple of int
            (h, w).

        Returns
        -------
        DecodedQueries
        """
        x = torch.cat((self.presence_token, self.query_embed))[None]
        boxes = self.reference_boxes.float().sigmoid()
        keys = image + positions
        for layer in self.layers:
            # The presence token has neither position nor bias: a row of zeros before the queries.
            query_positions = F.pad(self._positions(boxes), (0, 0, 1, 0))
            bias = self._box_bias(boxes, grid)
            x = layer(x, query_positions, prompt, keys, image, bias[None])
            queries = self.norm(x[0, 1:])
            boxes = (self.box_head(queries).float() + _logit(boxes)).sigmoid()
        presence = self.presence_head(self.presence_norm(x[0, 0])).float()
        return DecodedQueries(queries, boxes, presence[0])

    def _positions(self, boxes: Tensor) -> Tensor:
        """Compute the positions (Q, C) of queries from their boxes."""
        half = self.query_embed.shape[1] // 2
        x, y, width, height = sine_features(boxes, half).unbind(-2)
        return self.position_head(torch.cat((y, x, width, height), -1))  # type: ignore[no-any-return]

    def _box_bias(self, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute the bias (heads, 1 + Q, h * w) of attention to the image from cell positions.

        ::

            cell            x0          x1       the bias depends on the signed distances of a
            |--------------->|           |       cell from both edges, along each axis alone
            |--------------------------->|
        """
        x0, y0, x1, y1 = box_cxcywh_to_xyxy(boxes).unbind(-1)
        parts = []
        for length, edges, head in (
            (grid[0], (y0, y1), self.bias_y),
            (grid[1], (x0, x1), self.bias_x),
        ):
            starts = torch.arange(length, device=boxes.device) / length
            distance = 8 * (starts[:, None] - torch.stack(edges, -1)[:, None])
            scaled = distance.sign() * torch.log2(distance.abs() + 1) / 3
            parts.append(F.pad(head(scaled).permute(2, 0, 1), (0, 0, 1, 0)))
        rows, columns = parts
        bias: Tensor = rows[..., :, None] + columns[..., None, :]
        return bias.flatten(2)


def _logit(probabilities: Tensor) -> Tensor:
    margin = _LOGIT_MARGIN
    logits: Tensor = (
        probabilities.clamp(min=margin).log() - (1 - probabilities).clamp(min=margin).log()
    )
    return logits
