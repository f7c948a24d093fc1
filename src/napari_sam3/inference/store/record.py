"""Record of a stored field, as JSON in the metadata of its safetensors file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import xxhash
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from napari_sam3.core.rendering import Rendering
from napari_sam3.records.strict import RecordError

if TYPE_CHECKING:
    from sam3.model.click_model import EncodedImage

__all__ = ["StoredField", "field_from_json", "field_to_json", "tensors_digest"]

_Side = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class StoredField:
    """Origin of a field in a store.

    Parameters
    ----------
    key : str
        Key of the field; see `napari_sam3.inference.cache.embedding_key`.
    fingerprint, preset : str
        Hash of the weights, and name of the model's configuration.
    resolution : int
        Side in px of the model's input.
    precision : str
        Data type in which the network computes.
    size : tuple of int
        (height, width) in px of the encoded image.
    rendering : Rendering
        Contrast and channels of its conversion to 8-bit RGB.
    time : str
        Time of storage, ISO 8601 in UTC.
    digest : str
        Hash of the tensors.
    """

    key: str
    fingerprint: str
    preset: str
    resolution: _Side
    precision: str
    size: tuple[_Side, _Side]
    rendering: Rendering
    time: str
    digest: str


_ADAPTER = TypeAdapter(StoredField)


def field_to_json(field: StoredField) -> str:
    """Return the record of a field, preceded by a checksum.

    Raises
    ------
    RecordError
        If a value cannot be recorded, such as a contrast limit that is NaN.
    """
    text = _ADAPTER.dump_json(field).decode()
    _validated(text)  # nested values have not been checked before
    return f"{_checksum(text)} {text}"


def field_from_json(content: str) -> StoredField:
    """Read the text of `field_to_json`. Raises RecordError for any other text."""
    checksum, _, text = content.partition(" ")
    if checksum != _checksum(text):
        raise RecordError.unreadable("the record does not match its checksum", "an unchanged text")
    return _validated(text)


def _validated(text: str) -> StoredField:
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise RecordError.unreadable(
            f"the record of a stored field is invalid: {error}", "the parts of this version"
        ) from error


def tensors_digest(encoded: EncodedImage) -> str:
    """Return a hash of tensors on the CPU: their names, data types, shapes and bytes."""
    import torch

    digest = xxhash.xxh3_128()
    for name, tensor in encoded._asdict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _checksum(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode())
