"""Cache of the decoder state that depends on an image alone, for the next click on that image."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from sam3.model.click_model import ClickModel, EncodedImage
from sam3.model.mask_decoder import ImageSide

__all__ = ["ImageSides"]


class ImageSides:
    """The image side of the image of the last prediction.

    It is about twice as large as the features, and computing it takes a fraction of a click. So
    only one is cached, and dropped together with the features from which it was computed. It is
    not part of the features when these are moved, saved or counted.

    Parameters
    ----------
    model : ClickModel
        Computes the image side. A change of its weights invalidates the cache.
    """

    def __init__(self, model: ClickModel) -> None:
        self._model = model
        self._last: tuple[weakref.ref[Tensor], tuple[object, ...], ImageSide] | None = None

    def get(self, encoded: EncodedImage) -> ImageSide:
        """Return the image side of an encoded image on the model's device.

        Parameters
        ----------
        encoded : EncodedImage
            Of one image. The cache compares its tensors by identity.
        """
        # Two threads may at worst both compute it: the cache is a single reference.
        last, state = self._last, self._state(encoded)
        if last is not None and last[0]() is encoded.embedding and last[1] == state:
            return last[2]
        side = self._model.image_side(encoded)
        self._last = weakref.ref(encoded.embedding, self._forget), state, side
        return side

    def _forget(self, embedding: weakref.ref[Tensor]) -> None:
        last = self._last
        if last is not None and last[0] is embedding:
            self._last = None

    def _state(self, encoded: EncodedImage) -> tuple[object, ...]:
        """Collect all that may change while an embedding remains the same tensor."""
        model = self._model
        tensors = [*encoded, model.no_memory_embed]
        tensors += model.prompt_encoder.parameters(recurse=False)
        tensors += model.prompt_encoder.buffers(recurse=False)
        tensors += model.mask_decoder.parameters()
        kind = encoded.embedding.device.type
        half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
        return half, tuple(_version(tensor) for tensor in tensors)


def _version(tensor: Tensor) -> tuple[int, int]:
    """Identify a tensor and its contents; inference tensors do not count changes."""
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version
