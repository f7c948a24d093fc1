"""Scores and masks of the detector's queries."""

from __future__ import annotations

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

    def pixels(self, image: Tensor, prompt: Tensor, middle: Tensor, fine: Tensor) -> Tensor:
        """Compute the map from which masks are read.

        Parameters
        ----------
        image : Tensor, shape (1, g * g, C)
            The image, encoded with its prompt.
        prompt : Tensor, shape (1, P, C)
        middle, fine : Tensor, shape (1, C, 2g, 2g) and (1, C, 4g, 4g)
            The finer features of the image.

        Returns
        -------
        Tensor, shape (1, C, 4g, 4g)
        """
        image = image + self.prompt_attn(self.prompt_norm(image), prompt, prompt)
        side = middle.shape[-1] // 2
        x: Tensor = image.transpose(1, 2).unflatten(2, (-1, side))
        for level, conv, norm in zip((middle, fine), self.convs, self.norms, strict=True):
            x = F.interpolate(x, size=level.shape[-2:], mode="nearest") + level
            x = F.relu_(norm(conv(x)))
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
