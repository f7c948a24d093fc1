"""Synchronisation of the prompts of a session with the points and boxes of a viewer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_sam3.core.prompt_rows import DECIMALS
from napari_sam3.core.prompts import MIN_BOX_SIDE, PromptSet
from napari_sam3.session.grouping import PromptRow, group_rows
from sam3.errors import PromptError

from .gestures import ADD, Place
from .plane_source import PlaneKey
from .prompt_layers import PlaneRows, PromptLayers

if TYPE_CHECKING:
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.session.session import LabelingSession

    from .layer_set import LayerSet
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["PromptSync"]


class PromptSync:
    """Pass edits of points and boxes to a session, and show its prompts in them.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding.
    plane : ShownPlane
        The current plane.
    session : LabelingSession
        Owner of the prompts.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    layers : PromptLayers
        The points and boxes.
    mode_changed : Signal
        After the mode of the points changed.
    """

    mode_changed = Signal()

    def __init__(
        self,
        layers: LayerSet,
        plane: ShownPlane,
        session: LabelingSession,
        reporting: Reporting,
    ) -> None:
        self._layer_set, self._plane, self._session = layers, plane, session
        self._guard = reporting.guard
        self._refused: tuple[int, list[PromptSet]] | None = None
        # Prompts that are being passed to the session, so that they are not read again.
        self._taken: tuple[PlaneIndex, dict[int, PromptSet]] | None = None
        self._sketch: int | None = None
        self.connect()

    def connect(self) -> None:
        """Listen to the current layers."""
        self.layers = PromptLayers(self._layer_set, self._on_edit)
        for event in self._events_of_points():
            event.connect(self._on_mode)

    def disconnect(self) -> None:
        """Stop listening to the layers."""
        for event in self._events_of_points():
            event.disconnect(self._on_mode)
        self.layers.close()

    def _events_of_points(self) -> tuple[Any, ...]:
        events = self._layer_set.points.events
        return events.mode, events.visible

    def _on_mode(self, event: Any = None) -> None:
        self.mode_changed.emit()

    def _on_edit(self) -> None:
        if self._layer_set.points.mode == ADD:
            self.layers.deselect_clicks()
        self._guard(lambda: self.take(drawn=True))

    def take(self, *, drawn: bool = False) -> None:
        """Pass the prompts on the current plane to the session.

        Parameters
        ----------
        drawn : bool
            Whether rows without an object were just drawn on this plane.
        """
        plane = self._plane.index
        if plane is None or self._layer_set.missing:
            return
        found = self.layers.read(plane, drawn=drawn)
        objects, numbers = self._group(found)
        self.layers.mark(found, numbers, show=self._several)
        if not objects and not self._session.draft_set_on(self._plane.source.key(plane)).drafts:
            return
        # An error for the same prompts is reported once.
        attempt = self._plane.visit, list(objects.values())
        if self._refused == attempt:
            return
        self._refused = attempt
        self._plane.ensure()
        if objects != _prompts_of(self._session.draft_set.drafts):
            self._taken = plane, objects
            try:
                self._session.set_objects(objects)
            finally:
                self._taken = None
            self._session.predict()

    def expect(self, foreground: bool, place: Place) -> None:
        """Set the polarity of the next point that napari adds, and predict its mask already."""
        self.layers.polarity.set_next(foreground)
        row, column = (round(at, DECIMALS) for at in self._plane.source.locate(place))
        self._session.expect(PromptSet(((column, row),), (int(foreground),)))

    def read(self, plane: PlaneIndex) -> dict[int, PromptSet]:
        """Read the prompts on any plane, by object."""
        objects, _ = self._group(self.layers.read(plane))
        return objects

    def _group(self, found: PlaneRows) -> tuple[dict[int, PromptSet], list[int]]:
        """Return the prompts of each object, and the number of each row's object."""
        session, draft_set = (
            self._session,
            self._session.draft_set_on(self._plane.source.key(found.plane)),
        )
        # Rows with numbers of other planes were pasted: those of one object stay together.
        new: dict[int, int] = {0: 0}
        rows = []
        for row in found.rows:
            number = row.number
            if draft_set.get(number) is None:
                if number not in new:
                    new[number] = session.new_number() if self._several else 0
                number = new[number]
            rows.append(PromptRow(row.prompts, number))
        return group_rows(rows, session.mode, draft_set, session.draft_at, session.new_number)

    @property
    def _several(self) -> bool:
        return self._session.mode == "many"

    def flip_clicks(self) -> None:
        """Toggle the selected points, or else the last one, between foreground and background."""
        points = self._layer_set.points
        if self._plane.index is not None and len(points.data):
            self.layers.polarity.flip(sorted(points.selected_data) or [len(points.data) - 1])

    def show_all(self) -> None:
        """Show the session's prompts on all planes."""
        for key in self._session.draft_sets():
            self.show(key)

    def show(self, key: Hashable) -> None:
        """Show the session's prompts on a plane of the image."""
        if not isinstance(key, PlaneKey) or not self._plane.source.is_ours(key):
            return
        if self._layer_set.missing:
            return
        draft_set = self._session.draft_set_on(key)
        if self._held(key.plane) != _prompts_of(draft_set.drafts):
            self.layers.write(key.plane, draft_set, show=self._several)
        self._refused = None

    def _held(self, plane: PlaneIndex) -> dict[int, PromptSet] | None:
        """Return the prompts on a plane, by object; None if they cannot be read."""
        if self._taken is not None and self._taken[0] == plane:
            return self._taken[1]
        held = dict[int, PromptSet]()
        try:
            for row in self.layers.read(plane).rows:
                held[row.number] = held.get(row.number, PromptSet()).joined(row.prompts)
        except PromptError:
            return None
        return held

    def draw_box(self, start: Place, end: Place, *, done: bool) -> None:
        """Draw a box between two world positions; it becomes a prompt when done.

        Raises
        ------
        sam3.errors.PromptError
            If it is done and has no area.
        """
        source = self._plane.source
        plane = source.need()
        corners = np.array([source.locate(start), source.locate(end)])
        height, width = self._plane.shape
        corners = np.clip(corners, -0.5, [height - 0.5, width - 0.5]).round(4)
        (y0, x0), (y1, x1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        usable = min(y1 - y0, x1 - x0) >= MIN_BOX_SIDE
        box = (x0, y0, x1, y1) if usable else None
        self._sketch = self.layers.sketch(plane, box, self._sketch)
        if not done:
            return
        index, self._sketch = self._sketch, None
        if index is None:
            PromptSet.from_arrays(box=(x0, y0, x1, y1))  # raises PromptError
            return
        if self._session.mode == "one":
            # An object has one box, so the new one replaces the old one.
            self.layers.drop_boxes(plane, self._session.draft_set.current, index)
        self.take(drawn=True)


def _prompts_of(drafts: Any) -> dict[int, PromptSet]:
    return {draft.number: draft.prompts for draft in drafts if not draft.prompts.is_empty}
