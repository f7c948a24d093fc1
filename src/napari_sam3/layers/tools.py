"""Pool of the plugin's own layers in a viewer, reused from one image to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

__all__ = ["Tools"]


class Tools:
    """Points, boxes, preview and outline layers of a viewer, by role.

    When a layer is removed, vispy deletes its OpenGL programs, after which software renderers
    (Mesa) may crash at the next paint. So unused layers are emptied, and reused for the next
    image. If that has another number of axes, they are removed, but their scene nodes are kept,
    so that the programs are not deleted.

    Parameters
    ----------
    viewer : Viewer or ViewerModel
        Viewer with the layers.
    keep : bool
        Whether to keep unused layers, emptied, instead of removing them.
    """

    def __init__(self, viewer: ViewerModel, *, keep: bool = False) -> None:
        self._viewer, self._keep = viewer, keep
        self._spare: dict[tuple[str, int], Layer] = {}
        self._left = False
        self._drawings: list[Any] = []

    def take(
        self, role: str, image: Image, make: Callable[[], Layer], look: dict[str, Any]
    ) -> Layer:
        """Return a spare or new layer of a role for an image, on top of the others.

        Parameters
        ----------
        role : str
            Role of the layer.
        image : Image
            Image on which it is placed.
        make : callable
            Creates a new layer.
        look : dict
            Attributes to set on a spare layer.
        """
        from .label_layer import placement

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
        """Return a layer to the pool, emptied, or remove it."""
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
        """Place spare layers on an image, so that they do not affect sliders and view."""
        from .label_layer import placement

        self._remove([key for key in self._spare if key[1] != image.ndim])
        for layer in self._spare.values():
            for name, value in placement(image).items():
                if not np.array_equal(getattr(layer, name), value):
                    setattr(layer, name, value)

    def leave_alone(self) -> None:
        """Leave all layers unchanged from now on, because the window closes."""
        self._spare.clear()
        self._left = True

    def holds(self, layer: Layer) -> bool:
        """Whether a layer is a spare one."""
        return any(layer.unique_id == spare.unique_id for spare in self._spare.values())

    def remove_all(self) -> None:
        """Remove all spare layers."""
        self._remove(list(self._spare))

    def _remove(self, spare: list[tuple[str, int]]) -> None:
        for key in spare:
            layer = self._spare.pop(key)
            place = self._place(layer)
            if place is not None:
                self._drawings.append(_drawing(self._viewer, layer))
                del self._viewer.layers[place]

    def _place(self, layer: Layer | None) -> int | None:
        """Return the index of a layer in the viewer, or None; proxies are never identical."""
        wanted = getattr(layer, "unique_id", None)
        places = (i for i, one in enumerate(self._viewer.layers) if one.unique_id == wanted)
        return next(places, None)


def _drawing(viewer: ViewerModel, layer: Layer) -> Any:
    """Return the scene node of a layer, if there is a window; napari has no public access."""
    viewer, layer = (getattr(one, "__wrapped__", one) for one in (viewer, layer))
    window = getattr(getattr(viewer, "window", None), "_qt_viewer", None)
    drawings = getattr(getattr(window, "canvas", None), "layer_to_visual", {})
    return getattr(drawings.get(layer), "node", None)
