"""Image layers of a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam3.core.errors import LayerError

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["find_image", "images_in"]


def images_in(viewer: ViewerModel) -> list[Image]:
    """Return all Image layers of a viewer, topmost first."""
    from napari.layers import Image

    return [layer for layer in reversed(list(viewer.layers)) if isinstance(layer, Image)]


def find_image(viewer: ViewerModel) -> Image:
    """Return the selected image of a viewer, or else its topmost one.

    Raises
    ------
    LayerError
        If there is none.
    """
    images = images_in(viewer)
    if not images:
        raise LayerError(
            "no image layer in the viewer. Expected at least one. Open an image (File > Open, or "
            "File > Open Sample > SAM 3)."
        )
    active = viewer.layers.selection.active
    for image in images:
        if active is not None and image.unique_id == active.unique_id:
            return image
    return images[0]
