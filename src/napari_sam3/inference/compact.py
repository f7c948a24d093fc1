"""Features in less memory: the feature map of the trunk, from which they are computed again."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    bare : ImageFeatures
        The features with the feature map of the trunk, and empty maps of the neck.
    predictor : weakref to Predictor
        Model that encoded the image.
    """

    bare: ImageFeatures
    predictor: weakref.ref[Predictor]

    @classmethod
    def of(cls, features: ImageFeatures, predictor: Predictor) -> CompactFeatures | None:
        """Return compact features, or None if the features have no trunk or would differ."""
        import torch

        from sam3.model.click_model import EncodedImage

        if features.trunk is None or not can_be_compact(predictor):
            return None
        empty = EncodedImage(*(torch.empty(0) for _ in features.encoded))
        return cls(replace(features, encoded=empty), weakref.ref(predictor))

    @property
    def nbytes(self) -> int:
        """Memory that the map takes, in bytes."""
        return self.bare.nbytes

    def restore(self) -> ImageFeatures | None:
        """Compute the features again, or return None if the predictor is gone."""
        import torch

        predictor, trunk = self.predictor(), self.bare.trunk
        if predictor is None or trunk is None:
            return None
        with predictor.running("encode an image"):
            # Convolutions round differently in another layout than that of the trunk's output.
            trunk = trunk.contiguous(memory_format=torch.channels_last)
            encoded = predictor.model.click_features(trunk)
        return replace(self.bare, encoded=encoded, trunk=None)
