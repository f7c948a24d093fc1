"""Pixels of labels that stay packed, so that a whole history of them fits into memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy.typing as npt

from napari_sam3.core.masks import Region
from napari_sam3.core.operations import LabelWrite

from .rle import labels_from_text, labels_to_text

__all__ = ["PackedWrite"]


class PackedWrite(LabelWrite):
    """A `LabelWrite` whose pixels are unpacked at each access.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    region : tuple of slice
        Rows and columns, with start and stop.
    text : str
        The labels; see `napari_sam3.records.rle.labels_to_text`.
    """

    text: str

    def __init__(self, plane: Hashable, region: Region, text: str) -> None:
        for name, value in (("plane", plane), ("region", region), ("text", text)):
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, write: LabelWrite) -> PackedWrite:
        """Pack a write."""
        return cls(write.plane, write.region, labels_to_text(write.values))

    @property
    def values(self) -> npt.NDArray[Any]:
        """All labels of the region, h x w; RecordError if they are damaged."""
        return labels_from_text(self.text)

    def unpack(self) -> LabelWrite:
        """Return it with its pixels; RecordError if they are damaged."""
        return LabelWrite(self.plane, self.region, self.values)
