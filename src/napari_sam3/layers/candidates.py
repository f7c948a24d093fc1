"""Layer of the candidates of a search: drawn, dropped by a click, accepted by a key."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .candidate_drawing import OutlineDrawing, candidate_colors
from .candidate_scores import CandidateScores
from .label_layer import image_shape, placement
from .pointed_candidate import PointedCandidate
from .preview import TOOL, Preview

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_sam3.session.candidates import CandidateObject
    from napari_sam3.session.searches import Search
    from napari_sam3.session.session import LabelingSession

    from .gestures import Place
    from .layer_set import LayerSet
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["CANDIDATES_NAME", "CandidateLayer"]

CANDIDATES_NAME = "SAM 3 candidates"


class CandidateLayer:
    """Show the candidates of a session on the current plane.

    Parameters
    ----------
    layers : LayerSet
        Layers of the binding; the layer of candidates exists only while there are any.
    session : LabelingSession
        Finds and keeps the candidates.
    plane : ShownPlane
        The current plane.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    pointed : PointedCandidate
        The candidate under the mouse.
    """

    def __init__(
        self, layers: LayerSet, session: LabelingSession, plane: ShownPlane, reporting: Reporting
    ) -> None:
        self._layers, self._session, self._plane = layers, session, plane
        self._guard = reporting.guard
        self._preview: Preview | None = None
        self._drawing: OutlineDrawing | None = None
        self._scores = CandidateScores(layers)
        self.pointed = PointedCandidate(layers, plane)
        session.finding.changed.connect(self.show)
        layers.viewer.dims.events.current_step.connect(self._on_step)

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys and buttons, by name."""
        return {"find_similar": self.find_similar, "accept_candidates": self.accept}

    @property
    def layer(self) -> Labels | None:
        """The layer, if it is in the viewer."""
        made = self._preview.layer if self._preview is not None else None
        return made if made is not None and self._layers.has(made) else None

    def find_similar(self, text: str | None = None) -> None:
        """Search the current plane by the objects accepted on it, or by a name."""
        self._on_plane(lambda: self._session.finding.find_similar(text=text))

    def search(self) -> Search:
        """Return the search of `find_similar` on the current plane, which is not run."""
        self._plane.ensure()
        return self._session.finding.similar_search()

    def find_all(self) -> None:
        """Find all objects on the current plane."""
        self._on_plane(lambda: self._session.finding.find_all())

    def accept(self) -> None:
        """Accept all candidates shown, as one undo step."""
        self._guard(self._session.finding.accept)

    def ready_for_click(self, position: Place) -> bool:
        """Whether a click at a world position is a prompt; on a candidate it drops that instead."""
        return bool(
            self._guard(lambda: not self.drop_at(position) and self._plane.takes_click(position))
        )

    def drop_at(self, position: Place) -> bool:
        """Drop the candidate at a world position; return False if there is none."""
        candidate = self.at(position)
        if candidate is not None:
            self._session.candidates.drop(candidate)
        return candidate is not None

    def at(self, position: Place) -> CandidateObject | None:
        """Return the candidate shown at a world position."""
        candidates, key = self._session.candidates, self._key()
        if not candidates.shown_on(key):
            return None
        row, column = self._plane.source.locate(position)
        return candidates.at(key, float(row), float(column))

    def show(self) -> None:
        """Draw the candidates shown on the current plane, the best on top."""
        candidates, key = self._session.candidates, self._key()
        kept, shown = candidates.on(key), candidates.shown_on(key)
        if not shown and self.layer is None:
            return
        if self.layer is None:
            self._preview = Preview(self._make(), self._layers.image)
        preview, plane = self._preview, self._plane.index
        assert preview is not None
        if plane is None or not shown:
            preview.show((), None)
            self._scores.hide()
            self.pointed.show(())
            return
        if self._drawing is None or self._drawing.candidates is not kept:
            self._drawing = OutlineDrawing(kept, plane.shape_of(image_shape(self._layers.image)))
        current = candidates.current
        group = () if current is None else candidates.group_of(current)
        preview.show_values(self._drawing.draw(shown, group), plane, self._drawing.corner)
        self._scores.show(shown, group, plane, preview.layer)
        self.pointed.show(shown, preview.layer)

    def _key(self) -> Hashable:
        plane = self._plane.index
        return None if plane is None else self._plane.source.key(plane)

    def _on_step(self, _event: object = None) -> None:
        if len(self._session.candidates):
            self._plane.follow()
            self.show()

    def close(self) -> None:
        """Drop the candidates and remove the layer."""
        self._session.finding.changed.disconnect(self.show)
        self._layers.viewer.dims.events.current_step.disconnect(self._on_step)
        self._session.finding.clear()
        layer = self.layer
        if layer is not None:
            self._layers.tools.put_away("candidates", layer)
        self._scores.close()
        self.pointed.close()
        self._preview = None

    def _on_plane(self, command: Callable[[], Any]) -> None:
        def run() -> None:
            self._plane.ensure()
            command()

        self._guard(run)

    def _make(self) -> Labels:
        layers = self._layers
        selection = layers.viewer.layers.selection
        active = selection.active

        def make() -> Layer:
            layer = layers.viewer.add_labels(
                np.zeros((1,) * len(image_shape(layers.image)), np.uint8),
                name=CANDIDATES_NAME,
                colormap=candidate_colors(),
                opacity=1.0,
                metadata={TOOL: True},
                **placement(layers.image),
            )
            layer.editable = False
            return layer

        layer: Any = layers.tools.take("candidates", layers.image, make, {"name": CANDIDATES_NAME})
        selection.active = active
        return layer
