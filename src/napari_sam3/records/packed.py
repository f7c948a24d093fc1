"""Label pixels that stay compressed, so that a whole history of them fits into memory."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from typing import Any

import numpy.typing as npt

from napari_sam3.core.masks import Region
from napari_sam3.core.operations import LabelWrite

from .rle import labels_from_text, labels_text_bytes, labels_to_text
from .strict import RecordError

__all__ = ["MAX_UNPACKED_BYTES", "PACKED_KINDS", "PackedWrite", "unpacked_bytes"]

#: Maximum size in memory of the masks and labels of a journal or a session file. A file that
#: announces more is damaged, since it could not have been written.
MAX_UNPACKED_BYTES = 1 << 33

#: Kinds of operations whose labels stay compressed in memory.
PACKED_KINDS = frozenset({"batch", "link"})


class PackedWrite(LabelWrite):
    """A `LabelWrite` whose pixels are decompressed on each access.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    region : tuple of slice
        Rows and columns, with start and stop.
    text : str
        Encoded labels; see `napari_sam3.records.rle.labels_to_text`.
    """

    text: str

    def __init__(self, plane: Hashable, region: Region, text: str) -> None:
        for name, value in (("plane", plane), ("region", region), ("text", text)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, write: LabelWrite) -> PackedWrite:
        """Compress a write."""
        return cls(write.plane, write.region, labels_to_text(write.values))

    @property
    def values(self) -> npt.NDArray[Any]:
        """All labels of the region, h x w; raises RecordError if they are damaged."""
        return labels_from_text(self.text)

    def unpack(self) -> LabelWrite:
        """Return the write with its pixels; raises RecordError if they are damaged."""
        return LabelWrite(self.plane, self.region, self.values)


def unpacked_bytes(operation: Any) -> int:
    """Return the memory that the masks and labels of an operation's record take once read.

    Each is bounded, but a short file can announce very many. Labels that stay compressed (those of
    `PACKED_KINDS`) count with their compressed size, invalid values as 0: reading them fails.

    Parameters
    ----------
    operation : object
        From `schema.OPERATION`, or from an untrusted file.
    """
    total = 0
    for accepted in _list_of_dicts(operation, "objects"):
        draft = accepted.get("draft")
        seed = draft.get("seed") if isinstance(draft, dict) else None
        sides: list[Any] = []
        if isinstance(seed, dict):
            sides = [seed.get("height"), seed.get("width")]
        if sides and all(type(side) is int and side >= 0 for side in sides):
            total += sides[0] * sides[1]
    packed = isinstance(operation, dict) and operation.get("kind") in PACKED_KINDS
    for write in _list_of_dicts(operation, "writes"):
        with suppress(RecordError, KeyError, TypeError):
            text = write["labels"]
            total += len(text) if packed else labels_text_bytes(text)
    return total


def _list_of_dicts(value: Any, name: str) -> list[dict[str, Any]]:
    items = value.get(name) if isinstance(value, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
