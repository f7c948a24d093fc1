"""Memory of a tracker: encoding of masks, object pointers, and recall on a new frame.

Source: Ravi et al., SAM 2 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import MemoryConfig, ModelConfig
from sam3.errors import ConfigError
from sam3.model.layers import MultiLayerPerceptron
from sam3.model.memory_attention import MemoryAttention, Remembered
from sam3.model.memory_encoder import MemoryEncoder
from sam3.model.sine_positions import sine_of_distances, sine_of_grid

__all__ = ["Memory"]


class Memory(nn.Module):
    """Memory encoder, memory attention and object pointers.

    Parameters
    ----------
    config : ModelConfig
        Sizes; its ``memory`` must not be None.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.memory is None:
            raise ConfigError(
                f"the model {config.name!r} has no memory: its configuration holds memory=None. "
                "Expected sizes of a memory. Use a model with one, or propagate from mask to mask."
            )
        self.config: MemoryConfig = config.memory
        channels = config.channels
        self.resolution = config.resolution
        self.encoder = MemoryEncoder(self.config, channels)
        self.attention = MemoryAttention(self.config, channels)
        self.frame_positions = nn.Parameter(
            torch.zeros(self.config.frames, 1, 1, self.config.channels)
        )
        self.pointer_proj = MultiLayerPerceptron((channels,) * 4)
        self.pointer_position_proj = nn.Linear(channels, self.config.channels)
        self.no_pointer = nn.Parameter(torch.zeros(1, channels))
        self.no_object = nn.Parameter(torch.zeros(1, self.config.channels))
        self.mask_downsample = nn.Conv2d(1, 1, 4, stride=4)
        self._positions: dict[tuple[int, int, torch.device], Tensor] = {}

    def remember(self, features: Tensor, logits: Tensor, visible: Tensor, *, hard: bool) -> Tensor:
        """Encode the masks of B objects on a frame.

        Parameters
        ----------
        features : Tensor, shape (1, C, g, g)
            Of the frame, from the neck.
        logits : Tensor, shape (B, 1, S, S)
            Mask logits at the model's input size.
        visible : Tensor of bool, shape (B,)
            Whether the object is on the frame.
        hard : bool
            Threshold the masks, as on frames with a prompt; otherwise take their sigmoid.

        Returns
        -------
        Tensor, shape (B, memory channels, g, g)
        """
        masks = (logits > 0).to(logits.dtype) if hard else logits.sigmoid()
        memory = self.encoder(features, masks)
        absent = (~visible).to(memory.dtype)[:, None, None, None]
        return memory + absent * self.no_object[..., None, None]  # type: ignore[no-any-return]

    def point(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Compute object pointers (B, C) from the decoder's mask tokens (B, C)."""
        return torch.where(visible[:, None], self.pointer_proj(tokens), self.no_pointer)

    def recall(
        self,
        memories: Sequence[tuple[int, Tensor]],
        pointers: Sequence[tuple[float, Tensor]],
    ) -> Remembered:
        """Assemble memory tokens from the memories and pointers of B objects.

        Parameters
        ----------
        memories : sequence of (int, Tensor of shape (B, memory channels, g, g))
            Each with its index into the temporal position embeddings.
        pointers : sequence of (float, Tensor of shape (B, C))
            Each with its distance in time, as a fraction of the longest.

        Returns
        -------
        Remembered
        """
        dtype = self.no_object.dtype
        tokens, positions = [], []
        for index, memory in memories:
            space = self.positions(memory.shape[-1], self.config.channels)
            tokens.append(memory.to(dtype).flatten(2).transpose(1, 2))
            positions.append(space.flatten(1).T[None] + self.frame_positions[index])
        if pointers:
            stacked = torch.stack([pointer for _, pointer in pointers], dim=1)
            parts = stacked.unflatten(2, (-1, self.config.channels))
            distances = torch.tensor([d for d, _ in pointers], device=stacked.device)
            times = sine_of_distances(distances, stacked.shape[2])
            times = self.pointer_position_proj(times).repeat_interleave(parts.shape[2], 0)
            tokens.append(parts.flatten(1, 2).to(dtype))
            positions.append(times[None])
        count = tokens[-1].shape[1] if pointers else 0
        return Remembered(torch.cat(tokens, 1), torch.cat(positions, 1), count)

    def condition(self, features: Tensor, remembered: Remembered) -> Tensor:
        """Condition features (1, C, g, g) of a frame on the memory of B objects."""
        positions = self.positions(features.shape[-1], features.shape[1])
        return self.attention(features, positions, remembered)  # type: ignore[no-any-return]

    def mask_prompt(self, masks: Tensor, grid: int) -> Tensor:
        """Downsample mask prompts (B, 1, H, W) in 0..1 for the prompt encoder: (B, 1, 4g, 4g)."""
        side = 16 * grid
        large = F.interpolate(masks, size=(side, side), mode="bilinear", antialias=True)
        return self.mask_downsample(large)  # type: ignore[no-any-return]

    def positions(self, grid: int, channels: int) -> Tensor:
        """Return sine positions (channels, grid, grid) on the device of the parameters."""
        key = grid, channels, self.no_object.device
        if key not in self._positions:
            with torch.inference_mode(False):
                self._positions[key] = sine_of_grid(grid, channels).to(key[2])
        return self._positions[key]
