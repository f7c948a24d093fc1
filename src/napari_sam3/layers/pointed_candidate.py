"""The candidate under the mouse, found without the model and in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_sam3.session.candidates import CandidateObject

    from .layer_set import LayerSet
    from .shown_plane import ShownPlane

__all__ = ["PointedCandidate", "edges_of"]


class PointedCandidate:
    """Find the candidate under the mouse, at each move.

    Parameters
    ----------
    layers : LayerSet
        Viewer with the cursor.
    plane : ShownPlane
        The current plane.

    Attributes
    ----------
    candidate : CandidateObject or None
        The one under the mouse, the smallest of several.
    changed : Signal
        After the mouse entered or left a candidate.
    """

    changed = Signal()

    def __init__(self, layers: LayerSet, plane: ShownPlane) -> None:
        self._layers, self._plane = layers, plane
        self._shown: Sequence[CandidateObject] = ()
        self._boxes = np.zeros((0, 4))
        self._outlines: Layer | None = None
        self.candidate: CandidateObject | None = None
        layers.viewer.cursor.events.position.connect(self.point)

    def show(self, shown: Sequence[CandidateObject], outlines: Layer | None = None) -> None:
        """Take the candidates that are shown on the plane, and the layer of their outlines."""
        if shown is not self._shown:
            self._shown, self._boxes = shown, edges_of(shown)
        self._outlines = outlines
        self.point()

    def close(self) -> None:
        """Disconnect from the viewer."""
        self._layers.viewer.cursor.events.position.disconnect(self.point)

    def point(self, _event: object = None) -> None:
        """Find the candidate under the mouse."""
        found = self._find() if self._shown else None
        if found is not self.candidate:
            self.candidate = found
            self.changed.emit()

    def _find(self) -> CandidateObject | None:
        outlines = self._outlines
        if outlines is None or not (outlines.visible and self._layers.has(outlines)):
            return None
        row, column = self._plane.source.locate(self._layers.viewer.cursor.position)
        top, left, bottom, right = self._boxes.T
        near = (top <= row) & (row < bottom) & (left <= column) & (column < right)
        there = [self._shown[int(at)] for at in np.flatnonzero(near)]
        there = [one for one in there if one.mask.covers(row, column)]
        return min(there, key=lambda one: one.area, default=None)


def edges_of(candidates: Sequence[CandidateObject]) -> npt.NDArray[np.float64]:
    """Return the outer edges of candidates, N x (top, left, bottom, right), in px of the plane."""
    return np.array([one.mask.bbox for one in candidates], np.float64).reshape(-1, 4) - 0.5
