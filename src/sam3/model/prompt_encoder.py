"""Embeddings of points, boxes and previous masks for the mask decoder.

Source: Kirillov et al., Segment Anything (2023); the Fourier features are those of Tancik et al.
(2020).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sam3.config import PromptEncoderConfig
from sam3.model.layers import LayerNorm2d

__all__ = ["BACKGROUND", "BOX_END", "BOX_START", "FOREGROUND", "PADDING", "PromptEncoder"]

PADDING, BACKGROUND, FOREGROUND, BOX_START, BOX_END = -1, 0, 1, 2, 3
"""Labels of sparse prompts: padding, background click, foreground click, corners of a box."""

# How clicks and boxes are drawn into the mask-prompt channel, where the configuration sets
# render_prompts, as the embedded weights were trained: logits at the centre of a click and inside
# a box, the width of a click in low-resolution pixels, and the distance in these pixels at which
# the logit has dropped by one.
_CLICK_LOGIT, _BOX_LOGIT, _CLICK_SIGMA, _FALL_OFF = 6.0, 3.0, 1.4, 2.0


def _beyond(offsets: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Measure how far each of S cells lies outside the box along one axis.

    ::

            <--before--|   box   |--after-->
        ...............|000000000|..........

    Parameters
    ----------
    offsets : Tensor, shape (B, N, S)
        From each prompt to each cell.
    start, end : Tensor of bool, shape (B, N)
        Marks the first and the last corner of the box among the prompts, if there is one.

    Returns
    -------
    Tensor, shape (B, S)
        In cells; 0 inside the box, and everywhere without a box.
    """
    before = (-0.5 - offsets).masked_fill(~start[..., None], 0)
    after = (offsets - 0.5).masked_fill(~end[..., None], 0)
    return torch.relu(before).sum(1) + torch.relu(after).sum(1)


class PromptEncoder(nn.Module):
    """Encode points, boxes and masks.

    Parameters
    ----------
    config : PromptEncoderConfig
        Settings.
    channels : int
        Channels of the embeddings.
    grid : int
        Side of the token grid at the model's nominal input size.
    patch_size : int
        Side of a token in pixels of the model's input.
    """

    def __init__(
        self, config: PromptEncoderConfig, *, channels: int, grid: int, patch_size: int
    ) -> None:
        super().__init__()
        self.render_prompts = config.render_prompts
        self.grid = grid
        self.resolution = grid * patch_size
        self.gaussian: Tensor
        self.register_buffer("gaussian", torch.randn(2, channels // 2))
        self.point_embed = nn.Parameter(torch.randn(4, channels))
        self.not_a_point = nn.Parameter(torch.randn(1, channels))
        self.no_mask = nn.Parameter(torch.randn(1, channels))
        quarter, middle = config.mask_channels // 4, config.mask_channels
        self.mask_embed = nn.Sequential(
            nn.Conv2d(1, quarter, 2, stride=2),
            LayerNorm2d(quarter),
            nn.GELU(),
            nn.Conv2d(quarter, middle, 2, stride=2),
            LayerNorm2d(middle),
            nn.GELU(),
            nn.Conv2d(middle, channels, 1),
        )

    def dense_positions(self, row: int = 0, column: int = 0, size: int | None = None) -> Tensor:
        """Return the position embedding of the tokens in a square part of the grid.

        Parameters
        ----------
        row, column : int
            First token of the part.
        size : int, optional
            Side of the part in tokens; the whole grid by default.

        Returns
        -------
        Tensor, shape (1, channels, size, size)
        """
        side = self.grid if size is None else size
        steps = torch.arange(side, dtype=torch.float32, device=self.gaussian.device) + 0.5
        y, x = torch.meshgrid((steps + row), (steps + column), indexing="ij")
        return self._fourier(torch.stack([x, y], dim=-1) / self.grid).permute(2, 0, 1)[None]

    def encode_sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Embed points and box corners.

        Parameters
        ----------
        coords : Tensor, shape (B, N, 2)
            (x, y) in pixels of the model's input, pixel centres at integers.
        labels : Tensor, shape (B, N)
            See the constants of this module.

        Returns
        -------
        Tensor, shape (B, N, channels)
        """
        positions = self._fourier((coords.float() + 0.5) / self.resolution)
        label_embed = self.point_embed[labels.clamp(min=0)]
        padding = (labels == PADDING)[..., None]
        return torch.where(
            padding, self.not_a_point.expand_as(label_embed), positions + label_embed
        )

    def encode_dense(self, mask: Tensor | None, size: int | None = None) -> Tensor:
        """Embed a mask prompt, or return the learned stand-in for no mask.

        Parameters
        ----------
        mask : Tensor, shape (B, 1, 4 * size, 4 * size), optional
            Logits.
        size : int, optional
            Side of the token grid without a mask.

        Returns
        -------
        Tensor, shape (B or 1, channels, size, size)
        """
        if mask is not None:
            return self.mask_embed(mask)  # type: ignore[no-any-return]
        side = self.grid if size is None else size
        return self.no_mask[:, :, None, None].expand(-1, -1, side, side)

    def draw(self, coords: Tensor, labels: Tensor, size: int) -> Tensor:
        """Draw clicks and boxes as low-resolution logits.

        Parameters
        ----------
        coords, labels
            As for :meth:`encode_sparse`; the two corners of a box are adjacent.
        size : int
            Side of the drawing in low-resolution pixels (a quarter of a token).

        Returns
        -------
        Tensor, shape (B, 1, size, size)
            Blobs at the clicks, positive for foreground; a plateau inside the box, if any; and a
            decline with the logarithm of the distance from the box or, without a box, from the
            nearest foreground click.
        """
        cells = (coords.float() + 0.5) * (4 * self.grid / self.resolution)
        steps = torch.arange(size, dtype=torch.float32, device=coords.device) + 0.5
        off_x = steps - cells[..., 0, None]
        off_y = steps - cells[..., 1, None]
        # Gaussians are separable: one small product per object draws all of its clicks at once.
        blob_x = torch.exp(off_x.square() / (-2 * _CLICK_SIGMA**2))
        blob_y = torch.exp(off_y.square() / (-2 * _CLICK_SIGMA**2))
        foreground = labels == FOREGROUND
        sign = foreground.float() - (labels == BACKGROUND).float()
        drawing = torch.einsum("bn,bny,bnx->byx", _CLICK_LOGIT * sign, blob_y, blob_x)
        start, end = labels == BOX_START, labels == BOX_END
        beyond_x = _beyond(off_x, start, end)
        beyond_y = _beyond(off_y, start, end)
        to_box = torch.hypot(beyond_x[:, None, :], beyond_y[:, :, None])
        squares = off_x.square()[:, :, None, :] + off_y.square()[:, :, :, None]
        squares = squares.masked_fill(~foreground[..., None, None], torch.inf)
        to_click = squares.amin(1).sqrt() if labels.shape[1] else to_box
        has_box = start.any(1)[:, None, None]
        distance = torch.where(has_box, to_box, to_click)
        distance = torch.where(distance.isfinite(), distance, 0)
        inside = has_box & (to_box == 0)
        drawing = drawing + _BOX_LOGIT * inside.float()
        return (drawing - torch.log2(1 + distance / _FALL_OFF))[:, None]

    def forward(
        self,
        coords: Tensor,
        labels: Tensor,
        mask: Tensor | None,
        size: int | None = None,
        shift: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed all prompts of B objects.

        Parameters
        ----------
        coords, labels, mask
            As for :meth:`encode_sparse` and :meth:`encode_dense`; N may be 0.
        size : int, optional
            Side of the token grid; the nominal one by default.
        shift : Tensor, shape (2,), optional
            (x, y) in pixels of the model's frame: origin of the part of the frame to which
            `coords` refer; training encodes parts of the frame.

        Returns
        -------
        sparse : Tensor, shape (B, N, channels)
        dense : Tensor, shape (B or 1, channels, size, size)
        """
        side = self.grid if size is None else size
        if self.render_prompts:
            drawing = self.draw(coords, labels, 4 * side)
            mask = drawing if mask is None else mask + drawing
        in_frame = coords if shift is None else coords + shift
        return self.encode_sparse(in_frame, labels), self.encode_dense(mask, side)

    def _fourier(self, coords: Tensor) -> Tensor:
        """Map (..., 2) in [0, 1] to Fourier features (..., channels)."""
        # A caller's autocast would make these products too inaccurate to locate a click.
        with torch.autocast(coords.device.type, enabled=False):
            angles = (2 * coords - 1) @ self.gaussian.float() * (2 * math.pi)
            return torch.cat([angles.sin(), angles.cos()], dim=-1)
