"""Outline of the field of view from which the current mask was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .label_layer import image_shape, place_on, placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Shapes

    from napari_sam3.core.fields import FieldOfView
    from napari_sam3.core.planes import PlaneIndex

    from .tools import Tools

__all__ = ["FIELD_NAME", "FieldOutline"]

FIELD_NAME = "SAM 3 field"
# Light blue is distinct from boxes and masks, also for colour-blind users.
COLOR = "#56b4e9"
# Edge width as a fraction of the longer side of the field, at least 1 px.
EDGE = 1 / 400


class FieldOutline:
    """A rectangle around a field, in a layer that exists only while it is shown.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Viewer for the layer.
    image : Image
        Image whose pixels are the unit of fields.
    tools : Tools
        Pool of reusable layers.
    """

    def __init__(self, viewer: ViewerModel, image: Image, tools: Tools) -> None:
        self._viewer, self._image, self._tools = viewer, image, tools
        self._layer: Shapes | None = None

    @property
    def layer(self) -> Shapes | None:
        """The layer, if it is in the viewer."""
        wanted = self._layer
        if wanted is None or all(one.unique_id != wanted.unique_id for one in self._viewer.layers):
            self._layer = None
        return self._layer

    def show(self, field: FieldOfView | None, plane: PlaneIndex | None) -> None:
        """Draw the outline of a field on a plane, or nothing. The active layer stays active.

        Parameters
        ----------
        field : FieldOfView, optional
            Field in px of the plane.
        plane : PlaneIndex, optional
            Plane of the image.
        """
        layer = self.layer
        if layer is None:
            layer = self._layer = self._make()
        place_on(layer, self._image)
        layer.editable = True  # napari ignores changes otherwise
        layer.data = []
        if field is not None and plane is not None:
            width = max(1.0, max(field.shape) * EDGE)
            layer.add_rectangles(
                [_corners(field, plane)], edge_width=width, edge_color=COLOR, face_color="#0000"
            )
        layer.editable = False

    def close(self) -> None:
        """Remove the layer."""
        if self.layer is not None:
            self._tools.put_away("field", self.layer)
            self._layer = None

    def _make(self) -> Shapes:
        selection = self._viewer.layers.selection
        active = selection.active

        def make() -> Layer:
            return self._viewer.add_shapes(
                ndim=len(image_shape(self._image)), name=FIELD_NAME, **placement(self._image)
            )

        layer: Any = self._tools.take("field", self._image, make, {"name": FIELD_NAME})
        selection.active = active
        return layer


def _corners(field: FieldOfView, plane: PlaneIndex) -> npt.NDArray[np.float64]:
    """Return the corners (4 x D) of a field, on the outer edges of its pixels."""
    (top, bottom), (left, right) = field.rows, field.columns
    corners = np.zeros((4, plane.ndim))
    corners[:, list(plane.other_axes)] = plane.index
    corners[:, plane.axes[0]] = np.array([top, top, bottom, bottom]) - 0.5
    corners[:, plane.axes[1]] = np.array([left, right, right, left]) - 0.5
    return corners
