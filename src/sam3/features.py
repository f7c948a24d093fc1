"""Encoded images that can be kept in memory, moved between devices, and saved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from sam3.errors import FeaturesError
from sam3.files import write_whole
from sam3.model.click_model import EncodedImage

__all__ = ["ImageFeatures"]

_METADATA_KEY = "sam3_features"
_TRUNK = "trunk"


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """An encoded image.

    Attributes
    ----------
    encoded : EncodedImage
        Tensors for the decoder, on the predictor's device.
    size : tuple of int
        (height, width) of the image in pixels.
    fingerprint : str
        Identifies the weights of the encoder.
    resolution : int
        Side of the model's input in pixels.
    trunk : Tensor, shape (1, width, g, g), optional
        The trunk's feature map, if it was kept for the concept detector.
    """

    encoded: EncodedImage
    size: tuple[int, int]
    fingerprint: str
    resolution: int
    trunk: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the features take, in bytes."""
        return sum(tensor.nbytes for tensor in self._tensors().values())

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = self.encoded._asdict()
        return tensors if self.trunk is None else {**tensors, _TRUNK: self.trunk}

    def to(self, device: str | torch.device) -> ImageFeatures:
        """Return the features on another device."""
        moved = EncodedImage(*(t.to(device) for t in self.encoded))
        trunk = None if self.trunk is None else self.trunk.to(device)
        return ImageFeatures(moved, self.size, self.fingerprint, self.resolution, trunk)

    def to_bytes(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Serialise the features as a safetensors file, without changing their precision.

        Parameters
        ----------
        metadata : mapping of str to str, optional
            Additional entries for the metadata of the file.
        """
        header = {
            "size": self.size,
            "fingerprint": self.fingerprint,
            "resolution": self.resolution,
        }
        tensors = {k: t.cpu().contiguous() for k, t in self._tensors().items()}
        return serialize(tensors, {**(metadata or {}), _METADATA_KEY: json.dumps(header)})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the features to a safetensors file, without changing their precision."""
        write_whole(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageFeatures:
        """Read features written by :meth:`save`, bit for bit, onto the CPU.

        Raises
        ------
        FeaturesError
            If the file does not exist or holds no features.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[_METADATA_KEY])
                encoded = EncodedImage(*(file.get_tensor(k) for k in EncodedImage._fields))
                trunk = file.get_tensor(_TRUNK) if _TRUNK in file.keys() else None  # noqa: SIM118
            height, width = header["size"]
            size = int(height), int(width)
            return cls(encoded, size, header["fingerprint"], int(header["resolution"]), trunk)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise FeaturesError(
                f"{os.fspath(path)} holds no image features ({error!r}). Expected a file written "
                "by ImageFeatures.save. Encode the image again."
            ) from error
