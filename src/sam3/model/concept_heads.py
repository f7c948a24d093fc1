"""Scores and masks of the detector's queries."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam3.config import DetectorConfig
from sam3.model.attention import Attention
from sam3.model.layers import MultiLayerPerceptron

__all__ = ["ConceptMasks", "ConceptScores"]

_LARGEST_LOGIT = 12.0


class ConceptScores(nn.Module):
    """Score each query by its similarity to the mean of the prompt's tokens."""

    def __init__(self, config: DetectorConfig, channels: int) -> None:
        super().__init__()
        self.prompt_mlp = MultiLayerPerceptron((channels, config.mlp_hidden, channels))
        self.prompt_norm = nn.LayerNorm(channels)
        self.prompt_proj = nn.Linear(channels, channels)
        self.query_proj = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, prompt: Tensor) -> Tensor:
        """Return the logits (Q,), float32 within +-12, for queries (Q, C) and a prompt (P, C)."""
        pooled = self.prompt_norm(self.prompt_mlp(prompt) + prompt).mean(0)
        similarity = self.query_proj(queries).float() @ self.prompt_proj(pooled).float()
        scaled: Tensor = similarity / queries.shape[1] ** 0.5
        return scaled.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)


class ConceptMasks(nn.Module):
    """Compute the mask of each query, and one of the whole concept.

    Source: Cheng et al., Per-Pixel Classification is Not All You Need (2021).
    """

    def __init__(self, config: DetectorConfig, channels: int) -> None:
        super().__init__()
        self.prompt_attn = Attention(channels, config.heads)
        self.prompt_norm = nn.LayerNorm(channels)
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))
        self.query_mlp = MultiLayerPerceptron((channels, channels, channels, channels))
        self.instances = nn.Conv2d(channels, channels, 1)
        self.semantic = nn.Conv2d(channels, 1, 1)

    def convolve(self, middle: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the finer features of an image, for :meth:`pixels` with any prompt.

        Parameters
        ----------
        middle, fine : Tensor, shape (1, C, 2g, 2g) and (1, C, 4g, 4g)

        Returns
        -------
        tuple of Tensor
            Of the same shapes, stored pixel by pixel.
        """
        first, second = (
            conv(level).contiguous(memory_format=torch.channels_last)
            for level, conv in zip((middle, fine), self.convs, strict=True)
        )
        return first, second

    def pixels(self, image: Tensor, prompt: Tensor, convolved: tuple[Tensor, Tensor]) -> Tensor:
        """Compute the map from which masks are read.

        A level is the convolution of the one below, each pixel repeated 2 x 2 times, plus the
        image's features. That of the features is known; that of repeated pixels is a transposed
        convolution of the pixels, with 4 instead of 9 products for each.

        Parameters
        ----------
        image : Tensor, shape (1, g * g, C)
            The image, encoded with its prompt.
        prompt : Tensor, shape (1, P, C)
        convolved : tuple of Tensor
            Result of :meth:`convolve`.

        Returns
        -------
        Tensor, shape (1, C, 4g, 4g)
        """
        image = image + self.prompt_attn(self.prompt_norm(image), prompt, prompt)
        side = convolved[0].shape[-1] // 2
        x: Tensor = image.unflatten(1, (-1, side)).permute(0, 3, 1, 2)
        for level, conv, norm in zip(convolved, self.convs, self.norms, strict=True):
            kernel = _of_repeated_pixels(conv.get_parameter("weight"))
            x = F.conv_transpose2d(x, kernel, stride=2, padding=1).add_(level)
            x = F.relu_(norm(x))
        return x

    def forward(self, queries: Tensor, pixels: Tensor) -> Tensor:
        """Return the logits (K, 4g, 4g), float32, for queries (K, C) and a map of `pixels`.

        A mask is the product of a query and a 1x1 convolution of the map. The convolution is
        applied to the few queries instead of the many pixels.
        """
        embedded = self.query_mlp(queries)
        bias = self.instances.bias
        assert bias is not None
        weights = embedded @ self.instances.weight[:, :, 0, 0]
        flat: Tensor = weights @ pixels[0].flatten(1) + (embedded @ bias)[:, None]
        return flat.float().reshape(len(queries), *pixels.shape[-2:])


def _of_repeated_pixels(kernel: Tensor) -> Tensor:
    """Convert a kernel (out, in, 3, 3) to that (in, out, 4, 4) of a transposed convolution.

    With a stride of 2 and a padding of 1, it maps pixels to what the kernel makes of them when each
    is repeated 2 x 2 times.
    """
    for axis in (2, 3):
        before, middle, after = kernel.unbind(axis)
        kernel = torch.stack((after, middle + after, before + middle, before), axis)
    return kernel.transpose(0, 1)
