"""Changes of labels kept packed, so that those of a whole stack fit into memory beside it."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .masks import Region
from .operations import LabelWrite
from .rle import labels_from_text, labels_to_text
from .targets import LabelTarget

__all__ = ["PackedEdit", "PackedWrite"]


class PackedWrite(LabelWrite):
    """A `LabelWrite` whose pixels are unpacked each time they are asked for.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    region : tuple of slice
        Rows and columns, with start and stop.
    text : str
        The labels; see `napari_sam3.rle.labels_to_text`.
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
        """All labels of the region, h x w."""
        return labels_from_text(self.text)


@dataclass(frozen=True, eq=False)
class PackedEdit:
    """Labels of a region of one plane, before and after; an `Edit`.

    Labels are runs of one value, which deflate well: a plane of cells takes about a hundredth.

    Parameters
    ----------
    target : LabelTarget
        Plane written to.
    region : tuple of slice
        Around all pixels that changed.
    dtype : dtype
        Of the labels.
    before, after : bytes
        All labels of the region, deflated.
    """

    target: LabelTarget
    region: Region
    dtype: np.dtype[Any]
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    @classmethod
    def between(
        cls, target: LabelTarget, region: Region, after: npt.NDArray[Any]
    ) -> PackedEdit | None:
        """Work out what would be written to make a region `after`; None if nothing changes."""
        before = target.read(region)
        after = after.astype(before.dtype, copy=False)
        rows, columns = (np.flatnonzero((before != after).any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return None
        inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        top, left = region[0].start, region[1].start
        place = (
            slice(top + int(inner[0].start), top + int(inner[0].stop)),
            slice(left + int(inner[1].start), left + int(inner[1].stop)),
        )
        return cls(target, place, before.dtype, _pack(before[inner]), _pack(after[inner]))

    def apply(self) -> None:
        """Write, leaving pixels alone that others have changed since it was prepared."""
        self._replace(self.before, self.after)

    def revert(self) -> None:
        """Put back what was there, leaving pixels alone that others have changed since."""
        self._replace(self.after, self.before)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the region, as it is now."""
        return (LabelWrite(self.target.key, self.region, self.target.read(self.region)),)

    def _replace(self, old: bytes, new: bytes) -> None:
        was, will_be = self._unpack(old), self._unpack(new)
        values = self.target.read(self.region)
        ours = (was != will_be) & (values == was)
        values[ours] = will_be[ours]
        self.target.write(self.region, values)

    def _unpack(self, packed: bytes) -> npt.NDArray[Any]:
        shape = [part.stop - part.start for part in self.region]
        return np.frombuffer(zlib.decompress(packed), self.dtype).reshape(shape)


def _pack(values: npt.NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(values).tobytes(), 1)
