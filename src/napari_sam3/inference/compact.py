"""Features in less memory: the feature map of the trunk, from which they are computed again."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from sam3.predictor import ImageFeatures, Predictor

__all__ = ["CompactFeatures", "can_be_compact"]


def can_be_compact(predictor: Predictor) -> bool:
    """Return whether the trunk's map takes at most half the memory, and gives the same features.

    They are the same to the last bit on the CPU that encoded the image, in float32.
    """
    import torch

    from sam3.model.trunk import Trunk

    model, config = predictor.model, predictor.config
    return (
        # The trunk of a remote model is elsewhere.
        isinstance(model.trunk, Trunk)
        and predictor.device.type == "cpu"
        and predictor.dtype == torch.float32
        # The neck makes C + 4 C / 4 + 16 C / 8 numbers of each token.
        and 2 * config.trunk.width <= 4 * config.channels
    )


@dataclass(frozen=True, eq=False)
class CompactFeatures:
    """Encoded image without the maps of the neck, which are computed again when needed.

    Attributes
    ----------
    trunk : Tensor, shape (1, width, g, g)
        Feature map of the trunk.
    size : tuple of int
        (height, width) of the image in pixels.
    fingerprint : str
        Identifies the weights of the encoder.
    resolution : int
        Side of the model's input in pixels.
    predictor : weakref to Predictor
        Model that encoded the image.
    """

    trunk: Tensor
    size: tuple[int, int]
    fingerprint: str
    resolution: int
    predictor: weakref.ref[Predictor]

    @classmethod
    def of(cls, features: ImageFeatures, predictor: Predictor) -> CompactFeatures | None:
        """Return compact features, or None if the features have no trunk or would differ."""
        if features.trunk is None or not can_be_compact(predictor):
            return None
        made_with = features.fingerprint, features.resolution
        return cls(features.trunk, features.size, *made_with, weakref.ref(predictor))

    @property
    def nbytes(self) -> int:
        """Memory that the map takes, in bytes."""
        return self.trunk.nbytes

    def restore(self) -> ImageFeatures | None:
        """Compute the features again, or return None if the predictor is gone."""
        import torch

        from sam3.features import ImageFeatures

        predictor = self.predictor()
        if predictor is None:
            return None
        with predictor.running("encode an image"):
            # Convolutions round differently in another layout than that of the trunk's output.
            trunk = self.trunk.contiguous(memory_format=torch.channels_last)
            encoded = predictor.model.click_features(trunk)
        return ImageFeatures(encoded, self.size, self.fingerprint, self.resolution)
