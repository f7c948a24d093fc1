"""What a person paints into a Labels layer by hand, as an edit that can be undone in order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .label_layer import LabelStore
from .operations import LabelWrite
from .planes import PlaneIndex

__all__ = ["Stroke"]

Index = tuple[npt.NDArray[np.integer], ...]


class Stroke:
    """One stroke of napari's brush, eraser, polygon or bucket; an `Edit`.

    Parameters
    ----------
    store : LabelStore
        The layer that was painted on.
    atoms : list of (indices, old, new)
        As napari's `paint` event gives them: n-D indices, the labels there before, and after.
    plane : PlaneIndex
        Tells the axes of the planes that were painted on.
    """

    def __init__(self, store: LabelStore, atoms: list[Any], plane: PlaneIndex) -> None:
        self._store, self._plane = store, plane
        self._atoms: list[tuple[Index, Any, Any]] = [
            (tuple(np.asarray(axis) for axis in index), old, new) for index, old, new in atoms
        ]

    def apply(self) -> None:
        """Paint again, leaving pixels alone that others have changed since."""
        for index, old, new in self._atoms:
            self._exchange(index, old, new)
        self._store.layer.refresh(extent=False)

    def revert(self) -> None:
        """Take the stroke back, leaving pixels alone that others have changed since."""
        for index, old, new in reversed(self._atoms):
            self._exchange(index, new, old)
        self._store.layer.refresh(extent=False)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return the bounding box on each plane that was painted on, as it is now."""
        data = self._store.layer.data
        places = np.concatenate([np.stack(index, axis=1) for index, _, _ in self._atoms])
        others = list(self._plane.other_axes)
        found = []
        for position in np.unique(places[:, others], axis=0):
            here = places[(places[:, others] == position).all(axis=1)]
            plane = PlaneIndex(self._plane.axes, tuple(int(i) for i in position))
            low, high = here.min(axis=0), here.max(axis=0) + 1
            rows, columns = (slice(int(low[a]), int(high[a])) for a in plane.axes)
            values = np.array(data[plane.slices(rows, columns)])
            found.append(LabelWrite(self._store.name_plane(plane), (rows, columns), values))
        return tuple(found)

    def _exchange(self, index: Index, old: Any, new: Any) -> None:
        self._store.need_layer()
        data = self._store.layer.data
        values = np.array(data[index])
        ours = values == old
        values[ours] = np.broadcast_to(new, values.shape)[ours]
        data[index] = values
        self._store.note(int(values.max(initial=0)))
