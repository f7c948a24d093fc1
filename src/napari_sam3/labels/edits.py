"""Changes of labels on one plane, so that they can be taken back exactly."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask, Region, around
from napari_sam3.core.operations import LabelWrite, Policy

from .targets import LabelTarget, check_id_fits

__all__ = [
    "Edit",
    "LabelEdit",
    "WrittenObject",
    "find_mask_of_label",
    "mask_of_label",
    "write_object",
]

# Rows read at once when a label is searched for in a plane.
_BAND = 1024


class Edit(Protocol):
    """Something done to labels that can be taken back and done again."""

    def apply(self) -> None:
        """Do it again, leaving pixels alone that others have changed since."""

    def revert(self) -> None:
        """Take it back, leaving pixels alone that others have changed since."""

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the regions it touches, as they are now."""

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return what it changed, before and after; pixels that it did not change are 0 in both."""


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """Pixels of one plane that got other labels.

    All steps of a session are kept, and so are the pixels that they changed: deflated, since
    labels are runs of one value. A plane of cells takes about a hundredth.

    Parameters
    ----------
    target : LabelTarget
        Plane written to.
    region : tuple of slice
        Rows and columns around all pixels that changed.
    dtype : dtype
        Of the labels.
    changed : bytes
        Pixels of the region that changed, bit by bit, deflated.
    before, after : int or bytes
        One label that all changed pixels share, or the labels of the region, deflated.
    """

    target: LabelTarget
    region: Region
    dtype: np.dtype[Any]
    changed: bytes = field(repr=False)
    before: int | bytes = field(repr=False)
    after: int | bytes = field(repr=False)

    @classmethod
    def between(
        cls,
        target: LabelTarget,
        region: Region,
        after: npt.NDArray[Any],
        before: npt.NDArray[Any] | None = None,
    ) -> LabelEdit | None:
        """Work out what would be written to make a region `after`; None if nothing changes.

        The region is read, unless what it holds `before` is given.
        """
        before = target.read(region) if before is None else before
        after = after.astype(before.dtype, copy=False)
        changed = PlaneMask.from_array(before != after, region[0].start, region[1].start)
        if changed.is_empty:
            return None
        inner, crop = _relative(changed.region, region), changed.crop
        return cls(
            target,
            changed.region,
            before.dtype,
            _deflated(np.packbits(crop)),
            _compact(before[inner], crop),
            _compact(after[inner], crop),
        )

    def apply(self) -> None:
        """Write, leaving pixels alone that others have changed since it was prepared."""
        self._replace(self.before, self.after)

    def revert(self) -> None:
        """Put back what was there, leaving pixels alone that others have changed since."""
        self._replace(self.after, self.before)

    def ids(self) -> set[int]:
        """Return the labels that lose or gain pixels, background included."""
        changed = self._changed([part.stop - part.start for part in self.region])
        sides = (self._labels(self.before), self._labels(self.after))
        return {
            label
            for side in sides
            for label in ((side,) if isinstance(side, int) else np.unique(side[changed]).tolist())
        }

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the region, as it is now."""
        return (LabelWrite(self.target.key, self.region, self.target.read(self.region)),)

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return what it changed, before and after; pixels that it did not change are 0 in both."""
        rows, columns = (part.stop - part.start for part in self.region)
        changed = self._changed((rows, columns))
        both = []
        for kept in (self.before, self.after):
            values = np.zeros(changed.shape, self.dtype)
            labels = self._labels(kept)
            values[changed] = labels[changed] if isinstance(labels, np.ndarray) else labels
            both.append(LabelWrite(self.target.key, self.region, values))
        return ((both[0], both[1]),)

    def _replace(self, old: int | bytes, new: int | bytes) -> None:
        values = self.target.read(self.region)
        ours = self._changed(values.shape) & (values == self._labels(old))
        will_be = self._labels(new)
        values[ours] = will_be[ours] if isinstance(will_be, np.ndarray) else will_be
        self.target.write(self.region, values)

    def _changed(self, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
        bits = np.frombuffer(zlib.decompress(self.changed), np.uint8)
        return np.unpackbits(bits, count=math.prod(shape)).astype(bool).reshape(shape)

    def _labels(self, kept: int | bytes) -> int | npt.NDArray[Any]:
        if isinstance(kept, int):
            return kept
        shape = [part.stop - part.start for part in self.region]
        return np.frombuffer(zlib.decompress(kept), self.dtype).reshape(shape)


@dataclass(frozen=True, eq=False)
class WrittenObject:
    """An object that was just written.

    Parameters
    ----------
    edit : LabelEdit
        What changed; it was applied.
    mask : PlaneMask
        The pixels that the object has now.
    write : LabelWrite
        The region that changed, as it is now.
    """

    edit: LabelEdit
    mask: PlaneMask
    write: LabelWrite


def write_object(
    target: LabelTarget,
    mask: PlaneMask,
    label: int,
    policy: Policy,
    *,
    allowed: PlaneMask | None = None,
    replaced: PlaneMask | None = None,
) -> WrittenObject | None:
    """Write an object. The region around it is read once and written once.

    Parameters
    ----------
    target : LabelTarget
        Plane to write to.
    mask : PlaneMask
        The object.
    label : int
        Its id.
    policy : {"keep", "overwrite", "inside"}
        Leave pixels of other labels alone, take them over, or write background only, and that
        only inside the region that was drawn.
    allowed : PlaneMask, optional
        The drawn region.
    replaced : PlaneMask, optional
        Where the object was before, if it was reopened; pixels it no longer covers become
        background.

    Returns
    -------
    WrittenObject or None
        None if an object that was reopened stays as it is.

    Raises
    ------
    LabelError
        If the mask is empty, has no free pixel under the policy, or the id does not fit; nothing
        is written then.
    """
    if mask.is_empty:
        raise LabelError(
            "the current mask is empty, so there is nothing to accept; add a foreground click or "
            "draw a box around the object"
        )
    check_id_fits(label, target.dtype)
    parts = [mask] if replaced is None or replaced.is_empty else [mask, replaced]
    region = around(parts)
    before = target.read(region)
    values = before.copy()
    if replaced is not None:
        values[replaced.within(region) & (values == label)] = 0
    free = mask.within(region)
    if policy != "overwrite":
        free &= values == 0
    if policy == "inside":
        if allowed is None:
            raise LabelError(
                'the policy "inside" writes only inside a drawn region, and this object has none; '
                "draw a box or an outline around it, or choose another policy"
            )
        free &= allowed.within(region)
    if not free.any():
        raise LabelError(
            f"all {mask.area} px of the mask already belong to accepted labels or lie outside the "
            'drawn region; undo those first, or choose the policy "overwrite"'
        )
    values[free] = label
    edit = LabelEdit.between(target, region, values, before)
    if edit is None:
        return None
    now = values[_relative(edit.region, region)].copy()
    target.write(edit.region, now)
    whole = PlaneMask.from_array(values == label, region[0].start, region[1].start)
    return WrittenObject(edit, whole, LabelWrite(target.key, edit.region, now))


def mask_of_label(target: LabelTarget, label: int) -> PlaneMask:
    """Find all pixels of a label on a plane.

    Raises
    ------
    LabelError
        If there are none, or it is the background.
    """
    if label == 0:
        raise LabelError("0 is the background and no label; choose a label that is on this plane")
    mask = find_mask_of_label(target, label)
    if mask is None:
        raise LabelError(f"there is no label {label} on this plane; click on one that is there")
    return mask


def find_mask_of_label(target: LabelTarget, label: int) -> PlaneMask | None:
    """Return all pixels of a label on a plane; None if it has none."""
    height, width = target.shape
    found: list[PlaneMask] = []
    for start in range(0, height, _BAND):
        band = slice(start, min(height, start + _BAND)), slice(0, width)
        part = PlaneMask.from_array(target.read(band) == label, start, 0)
        if not part.is_empty:
            found.append(part)
    if not found:
        return None
    region = around(found)
    whole = np.zeros([part.stop - part.start for part in region], bool)
    for part in found:
        whole |= part.within(region)
    return PlaneMask.from_array(whole, region[0].start, region[1].start)


def _relative(inner: Region, outer: Region) -> Region:
    """Return the slices of a region within an array of the pixels of another one around it."""
    (rows, columns), (top, left) = inner, (part.start for part in outer)
    return slice(rows.start - top, rows.stop - top), slice(
        columns.start - left, columns.stop - left
    )


def _compact(values: npt.NDArray[Any], changed: npt.NDArray[np.bool_]) -> int | bytes:
    """Return the one value of all changed pixels, or else all values, deflated."""
    inside = values[changed]
    return int(inside[0]) if (inside == inside[0]).all() else _deflated(values)


def _deflated(values: npt.NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(values).data, 1)
