"""Review of objects and candidates one by one, worst first, with keys to accept or drop them."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.errors import NothingThereError

from .coordinates import to_world
from .plane_source import PlaneKey

if TYPE_CHECKING:
    from napari_sam3.session.reviewing import ReviewRow
    from napari_sam3.session.session import LabelingSession

    from .layer_set import LayerSet
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["Review"]


class Review:
    """Show objects and candidates one by one, worst first.

    Parameters
    ----------
    layers : LayerSet
        Image, labels and viewer.
    session : LabelingSession
        Objects and candidates.
    plane : ShownPlane
        The current plane.
    reporting : Reporting
        Reports errors.
    """

    def __init__(
        self, layers: LayerSet, session: LabelingSession, plane: ShownPlane, reporting: Reporting
    ) -> None:
        self._layers, self._session, self._plane = layers, session, plane
        self._guard = reporting.guard
        self._row: ReviewRow | None = None
        session.reviewing.select(None)  # the walk on another image begins with its worst

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys and buttons, by name."""
        return {
            "next_worst": self.next_worst,
            "accept_one": self.accept_one,
            "drop_one": self.drop_one,
        }

    @property
    def identity(self) -> Hashable:
        """Identity of the current row, or None."""
        return None if self._row is None else self._row.identity

    def rows(self) -> tuple[ReviewRow, ...]:
        """Return the objects of this image's labels and the candidates shown, worst first."""
        return self._session.reviewing.rows(self._layers.labels.unique_id)

    def next_worst(self) -> None:
        """Show the next worst object or candidate."""
        self._guard(lambda: self._next())

    def accept_one(self) -> None:
        """Accept the current candidate, and show the next row; an object is left unchanged."""

        def run() -> None:
            candidate, written = self._need().candidate, set[int]()
            if candidate is not None:
                candidates = self._session.candidates
                accepted = candidates.accept(candidates.group_of(candidate))
                written = {one.id for one in accepted}
            self._next(written)

        self._guard(run)

    def drop_one(self) -> None:
        """Drop the candidate, or delete the object, of the current row on all its planes.

        The next row is shown.
        """

        def run() -> None:
            row = self._need()
            if row.candidate is not None:
                self._session.candidates.drop(row.candidate)
            else:
                keys = (part.plane for part in row.parts)
                planes = [key.plane for key in keys if isinstance(key, PlaneKey)]
                self._session.delete(row.label, [self._plane.target_on(one) for one in planes])
            self._next()

        self._guard(run)

    def show(self, row: ReviewRow) -> None:
        """Go to the plane of a row, centre the camera on it, and select its label."""
        if row.label:
            self._layers.labels.selected_label = row.label
        self.choose(row)  # after the listeners of the label
        if isinstance(row.plane, PlaneKey) and self._plane.go_to(row.plane):
            self._centre(row)

    def choose(self, row: ReviewRow | None) -> None:
        """Make a row the current one, or none, without going there."""
        self._row = row
        if row is not None:
            self._session.reviewing.select(row)

    def _next(self, seen: Container[int] = ()) -> None:
        """Show the next row, skipping labels that were just written."""
        self._row = None
        reviewing, source = self._session.reviewing, self._layers.labels.unique_id
        row = reviewing.next_worst(source)
        self.show(reviewing.next_worst(source) if row.label in seen else row)

    def _need(self) -> ReviewRow:
        row = next((one for one in self.rows() if one.identity == self.identity), None)
        if row is None:
            raise NothingThereError(
                "no object or candidate is selected. Expected one in the list. Press 'Next worst' "
                "first."
            )
        return row

    def _centre(self, row: ReviewRow) -> None:
        """Centre the camera on the pixels of a row."""
        viewer, image = self._layers.viewer, self._layers.image
        assert isinstance(row.plane, PlaneKey)
        plane = row.plane.plane
        top, left, bottom, right = row.bbox
        place = np.zeros(image.ndim)
        place[list(plane.other_axes)] = plane.index
        place[list(plane.axes)] = (top + bottom - 1) / 2, (left + right - 1) / 2
        world = to_world(image, place, getattr(viewer.dims, "units", None))
        missing = viewer.dims.ndim - image.ndim
        shown = [axis - missing for axis in viewer.dims.displayed]
        camera: Any = getattr(viewer, "scene", viewer).camera  # the viewer's own before napari 0.9
        camera.center = tuple(float(world[axis]) for axis in shown)
