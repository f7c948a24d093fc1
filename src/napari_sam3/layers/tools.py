"""Layers of our own in a viewer, kept from one image to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .label_layer import placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

__all__ = ["Tools"]


class Tools:
    """The points, boxes, preview and outline layers of a viewer, by role.

    Removing a layer has vispy delete its OpenGL programs, after which software renderers (Mesa)
    may end the process at the next paint; hiding it then has the same effect. So layers that are
    not needed are emptied, and serve the next image. Those that cannot, because it has another
    number of axes, are removed, and what drew them is kept: the programs are not deleted then.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Where the layers are.
    keep : bool
        Empty layers that are not needed any more; otherwise they are removed.
    """

    def __init__(self, viewer: ViewerModel, *, keep: bool = False) -> None:
        self._viewer, self._keep = viewer, keep
        self._spare: dict[tuple[str, int], Layer] = {}
        self._left = False
        self._drawings: list[Any] = []

    def take(
        self, role: str, image: Image, make: Callable[[], Layer], look: dict[str, Any]
    ) -> Layer:
        """Return a layer of a role for an image, on top of the others: a spare one, or a new one.

        Parameters
        ----------
        role : str
            What the layer is for.
        image : Image
            Where it is to lie.
        make : callable
            Makes a new one.
        look : dict
            Attributes that a spare layer gets for this image.
        """
        layer = self._spare.pop((role, image.ndim), None)
        place = self._place(layer)
        if layer is None or place is None:
            return make()
        for name, value in {**placement(image), **look}.items():
            setattr(layer, name, value)
        self._viewer.layers.move(place, len(self._viewer.layers))
        layer.visible = True
        return layer

    def put_away(self, role: str, layer: Layer) -> None:
        """Have a layer out of the way: it is emptied, or removed."""
        place = self._place(layer)
        if place is None or self._left:
            return
        if not self._keep:
            del self._viewer.layers[place]
            return
        if role in ("preview", "candidates"):
            layer.data = np.zeros((1,) * layer.ndim, np.uint8)
        else:
            layer.editable = True
            layer.mode = "pan_zoom"
            layer.selected_data = set()
            layer.data = []
        self._spare[role, layer.ndim] = layer

    def follow(self, image: Image) -> None:
        """Have the layers put away lie on an image, so that sliders and view are those of it."""
        self._remove([key for key in self._spare if key[1] != image.ndim])
        for layer in self._spare.values():
            for name, value in placement(image).items():
                if not np.array_equal(getattr(layer, name), value):
                    setattr(layer, name, value)

    def leave_alone(self) -> None:
        """Touch no layer any more, because the window of the viewer goes."""
        self._spare.clear()
        self._left = True

    def holds(self, layer: Layer) -> bool:
        """Whether a layer is one of those put away."""
        return any(layer.unique_id == spare.unique_id for spare in self._spare.values())

    def remove_all(self) -> None:
        """Remove what was put away."""
        self._remove(list(self._spare))

    def _remove(self, spare: list[tuple[str, int]]) -> None:
        for key in spare:
            layer = self._spare.pop(key)
            place = self._place(layer)
            if place is not None:
                self._drawings.append(_drawing(self._viewer, layer))
                del self._viewer.layers[place]

    def _place(self, layer: Layer | None) -> int | None:
        """Index of a layer in the viewer, if it is there; proxies are never identical."""
        wanted = getattr(layer, "unique_id", None)
        places = (i for i, one in enumerate(self._viewer.layers) if one.unique_id == wanted)
        return next(places, None)


def _drawing(viewer: ViewerModel, layer: Layer) -> Any:
    """Return the scene node that draws a layer, if there is a window; napari has no name for it."""
    viewer, layer = (getattr(one, "__wrapped__", one) for one in (viewer, layer))
    window = getattr(getattr(viewer, "window", None), "_qt_viewer", None)
    drawings = getattr(getattr(window, "canvas", None), "layer_to_visual", {})
    return getattr(drawings.get(layer), "node", None)
