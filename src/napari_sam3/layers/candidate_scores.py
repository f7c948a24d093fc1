"""Scores of candidates as text on the canvas, each at the corner of its outline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .coordinates import to_data
from .label_layer import image_shape, place_on, placement
from .pointed_candidate import edges_of
from .preview import TOOL

if TYPE_CHECKING:
    from napari.layers import Layer, Points

    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.session.candidates import CandidateObject

    from .layer_set import LayerSet

__all__ = ["MOST", "SCORES_NAME", "CandidateScores"]

SCORES_NAME = "SAM 3 scores"
#: Maximum number of scores. Drawing one takes a third of a millisecond with software OpenGL.
MOST = 25
# Light text on a dark plate is readable on dark, bright and stained images.
_TEXT, _PLATE = "#e4ffc4", "#202428d0"
#: Width of a plate in px of the canvas, without its rim.
_WIDTH = 28
_FONT = 7


class CandidateScores:
    """Show the scores of the candidates in view, in a layer that exists once there are any.

    Text slows down the canvas, and many scores hide the image. With more than `MOST` candidates in
    view, only the score of the candidate under review is shown, until the user zooms in.

    Parameters
    ----------
    layers : LayerSet
        Image and viewer.
    """

    def __init__(self, layers: LayerSet) -> None:
        self._layers = layers
        self._layer: Points | None = None
        self._shown: Sequence[CandidateObject] = ()
        self._plane: PlaneIndex | None = None
        self._corners = np.zeros((0, 2))
        self._reviewed = np.zeros(0, np.bool_)
        self._drawn: object = None
        self._outlines: Layer | None = None
        layers.viewer.scene.camera.events.connect(self._draw)
        layers.viewer.layers.events.removed.connect(self._follow)

    @property
    def layer(self) -> Points | None:
        """The layer, if it is in the viewer."""
        layer = self._layer
        return layer if layer is not None and self._layers.has(layer) else None

    def show(
        self,
        shown: Sequence[CandidateObject],
        current: Sequence[CandidateObject],
        plane: PlaneIndex,
        outlines: Layer,
    ) -> None:
        """Show scores, replacing earlier ones.

        Parameters
        ----------
        shown : sequence of CandidateObject
            Candidates on the plane, best first.
        current : sequence of CandidateObject
            Those under review, whose score is shown in any case.
        plane : PlaneIndex
            The plane.
        outlines : Layer
            Layer of the outlines; the scores are hidden with it.
        """
        if outlines is not self._outlines:
            self._leave()
            self._outlines = outlines
            outlines.events.visible.connect(self._follow)
        self._shown, self._plane = shown, plane
        # The upper right corner: outside round objects, and rarely on a neighbour.
        self._corners = edges_of(shown)[:, [0, 3]]
        ids = {id(one) for one in current}
        self._reviewed = np.array([id(one) in ids for one in shown], np.bool_)
        if self.layer is None and len(shown):
            self._layer = self._make()
        if self.layer is not None:
            place_on(self.layer, self._layers.image)
        self._follow()
        self._draw()

    def hide(self) -> None:
        """Show no scores."""
        if self._plane is not None and self._outlines is not None:
            self.show((), (), self._plane, self._outlines)

    def close(self) -> None:
        """Remove the layer."""
        viewer, layer = self._layers.viewer, self.layer
        viewer.scene.camera.events.disconnect(self._draw)
        viewer.layers.events.removed.disconnect(self._follow)
        self._leave()
        if layer is not None:
            self._layers.tools.put_away("scores", layer)
        self._layer = self._drawn = None

    def _leave(self) -> None:
        if self._outlines is not None:
            self._outlines.events.visible.disconnect(self._follow)
        self._outlines = None

    def _follow(self, _event: object = None) -> None:
        """Hide and show the scores with the outlines."""
        outlines, layer = self._outlines, self.layer
        if layer is not None and outlines is not None:
            visible = outlines.visible and self._layers.has(outlines)
            if visible != layer.visible:
                layer.visible = visible

    def _draw(self, _event: object = None) -> None:
        """Draw the scores in view, unless they are drawn already."""
        layer: Any = self.layer
        if layer is None or self._plane is None:
            return
        in_view = self._in_view(self._plane)
        scored = in_view if np.count_nonzero(in_view) <= MOST else self._reviewed
        rows = np.flatnonzero(scored)
        drawn = layer, [self._shown[int(row)] for row in rows], self._plane
        if drawn == self._drawn:
            return
        places = np.zeros((len(rows), layer.ndim))
        places[:, list(self._plane.other_axes)] = self._plane.index
        places[:, list(self._plane.axes)] = self._corners[rows]
        layer.editable = True  # napari ignores changes otherwise
        layer.data = places
        layer.features = {"score": [one.score for one in drawn[1]]}
        layer.editable = False
        self._drawn = drawn

    def _in_view(self, plane: PlaneIndex) -> npt.NDArray[np.bool_]:
        """Return which corners lie on the canvas."""
        viewer: Any = self._layers.viewer
        camera, dims = viewer.scene.camera, viewer.dims
        half = np.array(viewer.canvas.size) / 2 / camera.zoom
        corners = []
        for signs in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            world = np.array(dims.point, np.float64)
            world[list(dims.displayed[-2:])] = camera.center[-2:] + half * signs
            corners.append(to_data(self._layers.image, world, getattr(dims, "units", None)))
        view = np.array(corners)[:, list(plane.axes)]
        inside = (self._corners >= view.min(axis=0)) & (self._corners <= view.max(axis=0))
        visible: npt.NDArray[np.bool_] = inside.all(axis=1)
        return visible

    def _make(self) -> Points:
        layers = self._layers
        selection = layers.viewer.layers.selection
        active = selection.active

        def make() -> Layer:
            return layers.viewer.add_points(
                ndim=len(image_shape(layers.image)),
                features={"score": np.zeros(0)},
                text={"string": "{score:.2f}", "size": _FONT, "color": _TEXT},
                symbol="hbar",
                size=1,
                face_color=_PLATE,
                border_color=_PLATE,
                border_width=0,
                canvas_size_limits=(_WIDTH, _WIDTH),
                name=SCORES_NAME,
                metadata={TOOL: True},
                **placement(layers.image),
            )

        layer: Any = layers.tools.take("scores", layers.image, make, {"name": SCORES_NAME})
        selection.active = active
        return layer
