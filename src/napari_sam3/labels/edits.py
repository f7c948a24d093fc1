"""Edits of labels on one plane that can be undone exactly."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.masks import PlaneMask, Region, around
from napari_sam3.core.operations import LabelWrite, Policy

from .targets import LabelTarget, check_id_fits

__all__ = [
    "Edit",
    "LabelEdit",
    "WrittenObject",
    "apply_all",
    "find_mask_of_label",
    "mask_of_label",
    "revert_all",
    "write_object",
]

# Rows read at once when a plane is searched for a label.
_BAND = 1024


class Edit(Protocol):
    """A change of labels that can be undone and redone."""

    def apply(self) -> None:
        """Redo it, except at pixels that others have changed since."""

    def revert(self) -> None:
        """Undo it, except at pixels that others have changed since."""

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the changed regions with their present labels."""

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return the changed pixels before and after; pixels that did not change are 0 in both."""


@dataclass(frozen=True, eq=False)
class LabelEdit:
    """Pixels of one plane that changed their labels.

    A session keeps all edits with their pixels, compressed, since labels are runs of one value: a
    plane of cells takes about a hundredth of its size.

    Parameters
    ----------
    target : LabelTarget
        The changed plane.
    region : tuple of slice
        Rows and columns around all changed pixels.
    dtype : dtype
        Data type of the labels.
    changed : bytes
        Mask of the changed pixels within the region, bit by bit, compressed.
    before, after : int or bytes
        Label that all changed pixels share, or the labels of the region, compressed.
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
        """Compute the edit that changes a region to `after`; None if nothing changes.

        Without `before`, its present labels, the region is read.
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
        """Write the new labels, except at pixels that others have changed since."""
        self._replace(self.before, self.after)

    def revert(self) -> None:
        """Restore the old labels, except at pixels that others have changed since."""
        self._replace(self.after, self.before)

    def ids(self) -> set[int]:
        """Return the labels that lose or gain pixels, including the background."""
        changed = self._changed([part.stop - part.start for part in self.region])
        sides = (self._labels(self.before), self._labels(self.after))
        return {
            label
            for side in sides
            for label in ((side,) if isinstance(side, int) else np.unique(side[changed]).tolist())
        }

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the region with its present labels."""
        return (LabelWrite(self.target.key, self.region, self.target.read(self.region)),)

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return the changed pixels before and after; pixels that did not change are 0 in both."""
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
        before = self.target.read(self.region)
        own = self._changed(before.shape) & (before == self._labels(old))
        labels, values = self._labels(new), before.copy()
        values[own] = labels[own] if isinstance(labels, np.ndarray) else labels
        _write(self.target, self.region, before, values)

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
    """An object that has just been written.

    Parameters
    ----------
    edit : LabelEdit
        The edit, already applied.
    mask : PlaneMask
        Present pixels of the object.
    write : LabelWrite
        The changed region with its present labels.
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
    """Write an object, reading and writing the region around it once.

    Parameters
    ----------
    target : LabelTarget
        The plane.
    mask : PlaneMask
        The object.
    label : int
        Id of the object.
    policy : {"keep", "overwrite", "inside"}
        Keep pixels of other labels, overwrite them, or write background pixels inside the drawn
        region only.
    allowed : PlaneMask, optional
        The drawn region.
    replaced : PlaneMask, optional
        Earlier mask of the object, if it was reopened; pixels that it no longer covers become
        background.

    Returns
    -------
    WrittenObject or None
        None if a reopened object does not change.

    Raises
    ------
    LabelError
        If the mask is empty, has no free pixel under the policy, or the id does not fit; then
        nothing is written.
    """
    if mask.is_empty:
        raise NothingThereError(
            "the current mask is empty, so there is nothing to accept. Expected a mask of at "
            "least one pixel. Add a foreground click or draw a box around the object."
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
                'the object has no drawn region, inside which the policy "inside" writes. '
                "Expected a box or an outline. Draw one around the object, or choose another "
                "policy."
            )
        free &= allowed.within(region)
    if not free.any():
        raise LabelError(
            f"all {mask.area} px of the mask already belong to accepted labels or lie outside the "
            "drawn region. Expected background. Undo those first, or choose the policy "
            '"overwrite".'
        )
    values[free] = label
    edit = LabelEdit.between(target, region, values, before)
    if edit is None:
        return None
    inner = _relative(edit.region, region)
    present = values[inner].copy()
    _write(target, edit.region, before[inner], present)
    whole = PlaneMask.from_array(values == label, region[0].start, region[1].start)
    return WrittenObject(edit, whole, LabelWrite(target.key, edit.region, present))


def _write(
    target: LabelTarget, region: Region, before: npt.NDArray[Any], values: npt.NDArray[Any]
) -> None:
    """Replace the labels in a region; if that fails half-way, restore the earlier ones."""
    try:
        target.write(region, values)
    except Exception:
        with suppress(Exception):  # the same storage
            target.write(region, before)
        raise


def apply_all(edits: Sequence[Edit]) -> None:
    """Redo edits in order; if one fails, those before it are undone."""
    _all_or_none([(edit.apply, edit.revert) for edit in edits])


def revert_all(edits: Sequence[Edit]) -> None:
    """Undo edits, the last first; if one fails, those after it are redone."""
    _all_or_none([(edit.revert, edit.apply) for edit in reversed(edits)])


def _all_or_none(actions: Sequence[tuple[Callable[[], None], Callable[[], None]]]) -> None:
    """Call the first function of each pair; if one fails, the second ones of those before it."""
    done: list[Callable[[], None]] = []
    try:
        for forth, back in actions:
            forth()
            done.append(back)
    except Exception:
        with suppress(Exception):  # the same storage
            for back in reversed(done):
                back()
        raise


def mask_of_label(target: LabelTarget, label: int) -> PlaneMask:
    """Find all pixels of a label on a plane.

    Raises
    ------
    LabelError
        If the label is not on the plane, or is the background.
    """
    if label == 0:
        raise LabelError(
            "0 is not a label but the background. Expected a label on this plane. Choose one."
        )
    mask = find_mask_of_label(target, label)
    if mask is None:
        raise LabelError(
            f"label {label} is not on this plane. Expected one that is. Click on another one."
        )
    return mask


def find_mask_of_label(target: LabelTarget, label: int) -> PlaneMask | None:
    """Return all pixels of a label on a plane; None if there are none."""
    height, width = target.shape
    parts: list[PlaneMask] = []
    for start in range(0, height, _BAND):
        band = slice(start, min(height, start + _BAND)), slice(0, width)
        part = PlaneMask.from_array(target.read(band) == label, start, 0)
        if not part.is_empty:
            parts.append(part)
    if not parts:
        return None
    region = around(parts)
    whole = np.zeros([span.stop - span.start for span in region], bool)
    for part in parts:
        whole |= part.within(region)
    return PlaneMask.from_array(whole, region[0].start, region[1].start)


def _relative(inner: Region, outer: Region) -> Region:
    """Return the slices of a region relative to an array of a region around it."""
    (rows, columns), (top, left) = inner, (part.start for part in outer)
    return slice(rows.start - top, rows.stop - top), slice(
        columns.start - left, columns.stop - left
    )


def _compact(values: npt.NDArray[Any], changed: npt.NDArray[np.bool_]) -> int | bytes:
    """Return the common value of all changed pixels, or else all values, compressed."""
    first = values.flat[changed.argmax()]
    same = values == first
    same |= ~changed
    return int(first) if same.all() else _deflated(values)


def _deflated(values: npt.NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(values).data, 1)
