"""Brush strokes in a Labels layer as edits that can be undone."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_sam3.core.operations import LabelWrite
from napari_sam3.core.planes import PlaneIndex

from .label_arrays import labels_of, redraw

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["Stroke"]

Values = npt.NDArray[Any]


class Paintable(Protocol):
    """The layer that was painted on."""

    layer: Labels
    name_plane: Callable[[PlaneIndex], Hashable]

    def need_writable(self) -> None:
        """Raise LabelError if the layer was deleted or locked."""


@dataclass(frozen=True, eq=False)
class _Patch:
    """Pixels changed by a stroke: a box, a mask within it, and the labels before and after."""

    box: tuple[slice, ...]
    mask: npt.NDArray[np.bool_]
    before: Values
    after: Values


class Stroke:
    """One stroke of napari's brush, eraser, polygon or bucket; an `Edit`.

    Parameters
    ----------
    store : LabelStore
        The layer that was painted on.
    atoms : list
        From napari's `paint` event, which may be emitted before the pixels change.
    axes : tuple of int
        Axes of rows and columns of the painted planes.
    """

    def __init__(self, store: Paintable, atoms: list[Any], axes: tuple[int, int]) -> None:
        self._store, self._axes = store, axes
        shape = store.layer.data.shape
        self._patches = [
            _from_mask(atom, shape) if hasattr(atom, "slice_key") else _from_index(atom)
            for atom in atoms
        ]

    def apply(self) -> None:
        """Paint again, except pixels that were changed since."""
        for patch in self._patches:
            self._exchange(patch, patch.before, patch.after)
        redraw(self._store.layer)

    def revert(self) -> None:
        """Revert the stroke, except pixels that were changed since."""
        for patch in reversed(self._patches):
            self._exchange(patch, patch.after, patch.before)
        redraw(self._store.layer)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the current labels in the box of the stroke, for each painted plane."""
        return self._read(overlay=False)

    def painted(self) -> tuple[LabelWrite, ...]:
        """Return the same as it will be once napari has painted the stroke."""
        return self._read(overlay=True)

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return the changed pixels before and after; unchanged ones are 0 in both."""
        box = self._box()
        before = np.zeros([part.stop - part.start for part in box], self._store.layer.data.dtype)
        after, changed = before.copy(), np.zeros(before.shape, bool)
        for patch in self._patches:
            inner = _within(patch.box, box)
            first = patch.mask & ~changed[inner]
            before[inner][first] = patch.before[first]
            after[inner][patch.mask] = patch.after[patch.mask]
            changed[inner] |= patch.mask
        return tuple(zip(self._planes(box, before), self._planes(box, after), strict=True))

    def _box(self) -> tuple[slice, ...]:
        low = np.min([[part.start for part in patch.box] for patch in self._patches], axis=0)
        high = np.max([[part.stop for part in patch.box] for patch in self._patches], axis=0)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))

    def _read(self, *, overlay: bool) -> tuple[LabelWrite, ...]:
        box = self._box()
        values = np.array(labels_of(self._store.layer)[box])
        if overlay:
            for patch in self._patches:
                values[_within(patch.box, box)][patch.mask] = patch.after[patch.mask]
        return self._planes(box, values)

    def _planes(self, box: tuple[slice, ...], values: Values) -> tuple[LabelWrite, ...]:
        """Split the labels of a box into planes."""
        rows, columns = (box[axis] for axis in self._axes)
        others = [axis for axis in range(values.ndim) if axis not in self._axes]
        found = []
        for place in np.ndindex(*(values.shape[axis] for axis in others)):
            plane = PlaneIndex(
                self._axes, tuple(box[a].start + i for a, i in zip(others, place, strict=True))
            )
            inside = PlaneIndex(self._axes, place).slices()
            key = self._store.name_plane(plane)
            found.append(LabelWrite(key, (rows, columns), values[inside].copy()))
        return tuple(found)

    def _exchange(self, patch: _Patch, old: Values, new: Values) -> None:
        self._store.need_writable()
        data = labels_of(self._store.layer)
        values = np.array(data[patch.box])
        ours = patch.mask & (values == old)
        values[ours] = new[ours]
        data[patch.box] = values


def _within(inner: tuple[slice, ...], outer: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return the slices of a box within a larger one."""
    return tuple(
        slice(part.start - around.start, part.stop - around.start)
        for part, around in zip(inner, outer, strict=True)
    )


def _from_mask(atom: Any, shape: tuple[int, ...]) -> _Patch:
    """Read napari's record of a brush, polygon or bucket."""
    box = tuple(
        slice(*part.indices(length)[:2]) for part, length in zip(atom.slice_key, shape, strict=True)
    )
    size = tuple(part.stop - part.start for part in box)
    mask = np.ones(size, bool) if atom.mask is None else np.broadcast_to(atom.mask, size).copy()
    before = np.zeros(size, np.asarray(atom.old_values).dtype)
    before[mask] = np.ravel(atom.old_values)
    return _Patch(box, mask, before, np.where(mask, atom.new_value, 0).astype(before.dtype))


def _from_index(atom: Any) -> _Patch:
    """Read napari's record of `data_setitem`: an n-D index, the labels before and after."""
    index, old, new = atom
    places = np.stack([np.ravel(axis) for axis in np.broadcast_arrays(*index)])
    low, high = places.min(axis=1), places.max(axis=1) + 1
    size, inner = tuple(high - low), tuple(places - low[:, None])
    mask = np.zeros(size, bool)
    mask[inner] = True
    before, after = (np.zeros(size, np.asarray(old).dtype) for _ in range(2))
    before[inner], after[inner] = np.ravel(old), np.ravel(np.broadcast_to(new, np.shape(old)))
    return _Patch(tuple(map(slice, low.tolist(), high.tolist())), mask, before, after)
