"""What is known of a stored field, as JSON with a checksum of its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from napari_sam3.core.rendering import Rendering
from napari_sam3.records.checks import Node, RecordError, dump
from napari_sam3.records.parts import rendering_from_record, rendering_to_record

__all__ = ["StoredField", "StoredTensor"]

_NAMES = ("key", "fingerprint", "preset", "resolution", "precision", "size", "rendering", "time")
_PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a field.

    Parameters
    ----------
    name : str
        As in `sam3.model.click_model.EncodedImage`.
    shape : tuple of int
        Its lengths.
    dtype : {"float32", "bfloat16", "float16"}
        The precision in which it was computed; bfloat16 is kept as the integers of its bits.
    digest : str
        Hash of its bytes, little-endian, row by row.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str


@dataclass(frozen=True)
class StoredField:
    """What a field in a store was made with.

    Parameters
    ----------
    key : str
        Its name; see `napari_sam3.inference.cache.embedding_key`.
    fingerprint, preset : str
        Hash of the weights, and name of the model's configuration.
    resolution : int
        Side in px of the model's input.
    precision : str
        Arithmetic of the network.
    size : tuple of int
        (height, width) in px of the image that was encoded.
    rendering : Rendering
        Contrast and channels that made it 8-bit RGB.
    time : str
        When it was stored, ISO 8601 in UTC.
    tensors : tuple of StoredTensor
        What the store holds of it.
    """

    key: str
    fingerprint: str
    preset: str
    resolution: int
    precision: str
    size: tuple[int, int]
    rendering: Rendering
    time: str
    tensors: tuple[StoredTensor, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """Return it for JSON, with its checksum.

        Raises
        ------
        RecordError
            If it holds what JSON has no form for, such as a contrast limit that is NaN.
        """
        record: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        record["size"] = list(self.size)
        record["rendering"] = rendering_to_record(self.rendering)
        record["tensors"] = [
            {"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "digest": t.digest}
            for t in self.tensors
        ]
        return {"field": record, "checksum": _checksum(record)}

    @classmethod
    def from_record(cls, node: Node) -> StoredField:
        """Read what `to_record` made; raises RecordError if it is not exactly that."""
        outer = node.parts("field", "checksum")
        if outer["checksum"].text() != _checksum(outer["field"].value):
            raise RecordError(f"{node.place} does not fit its checksum; it is damaged")
        parts = outer["field"].parts(*_NAMES, "tensors")
        height, width = parts["size"].integers(2, 1)
        return cls(
            key=parts["key"].text(),
            fingerprint=parts["fingerprint"].text(),
            preset=parts["preset"].text(),
            resolution=parts["resolution"].integer(1),
            precision=parts["precision"].one_of(_PRECISIONS),
            size=(height, width),
            rendering=rendering_from_record(parts["rendering"]),
            time=parts["time"].text(),
            tensors=tuple(_tensor(item) for item in parts["tensors"].items()),
        )


def _tensor(node: Node) -> StoredTensor:
    parts = node.parts("name", "shape", "dtype", "digest")
    return StoredTensor(
        parts["name"].text(),
        parts["shape"].integers(low=1),
        parts["dtype"].one_of(_PRECISIONS),
        parts["digest"].text(),
    )


def _checksum(record: Any) -> str:
    # Through JSON once more: what was read compares equal to what was written.
    plain = json.loads(dump(record, "the stored field"))
    canonical = json.dumps(plain, sort_keys=True).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()
