"""Styles of Points and Shapes layers for prompts, and their validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.errors import LayerError
from napari_sam3.core.planes import PlaneIndex

from .coordinates import between_layers
from .label_layer import image_shape, placement

if TYPE_CHECKING:
    from napari.layers import Image, Points, Shapes

__all__ = [
    "BACKGROUND",
    "FOREGROUND",
    "POLARITY",
    "SYMBOLS",
    "boxes_options",
    "check_prompts",
    "points_options",
]

FOREGROUND, BACKGROUND = "foreground", "background"
POLARITY = "polarity"
# Green and magenta are distinct for all types of colour vision; the symbols differ as well.
COLORS = {FOREGROUND: "#2ee65c", BACKGROUND: "#ff2fb9"}
SYMBOLS = {FOREGROUND: "ring", BACKGROUND: "cross"}
BOX_COLOR = "#ffd400"


def points_options(image: Image) -> dict[str, Any]:
    """Return the arguments of `add_points` for a layer of clicks on an image."""
    return {
        "ndim": len(image_shape(image)),
        "property_choices": {POLARITY: [FOREGROUND, BACKGROUND]},
        "feature_defaults": {POLARITY: FOREGROUND},
        "face_color": POLARITY,
        "face_color_cycle": COLORS,
        # Small symbols consist mostly of the border, so it is coloured as well.
        "border_color": POLARITY,
        "border_color_cycle": COLORS,
        "border_width": 0.1,
        "symbol": SYMBOLS[FOREGROUND],
        "size": max(1.0, min(sorted(image_shape(image))[-2:]) / 60),
        # Similar size on the screen at any zoom, since a click marks a position.
        "canvas_size_limits": (7, 7),
        "name": "SAM 3 points",
        **placement(image),
    }


def boxes_options(image: Image) -> dict[str, Any]:
    """Return the arguments of `add_shapes` for a layer of boxes on an image."""
    shape = image_shape(image)
    return {
        "ndim": len(shape),
        "edge_color": BOX_COLOR,
        "face_color": [0, 0, 0, 0],
        "edge_width": max(0.6, min(sorted(shape)[-2:]) / 350),
        "name": "SAM 3 boxes",
        **placement(image),
    }


def check_prompts(layer: Points | Shapes, image: Image) -> None:
    """Raise LayerError for a layer whose positions cannot be converted to an image.

    Raises
    ------
    LayerError
        If it has more axes than the image, or units that cannot be converted.
    """
    if layer.ndim > image.ndim:
        raise LayerError(
            f"{layer.name!r} has too many axes: {layer.ndim}. Expected at most {image.ndim}, as "
            f"the image {image.name!r}. Choose another prompt layer."
        )
    axes = (image.ndim - 2, image.ndim - 1)
    between_layers(
        layer, image, np.zeros((1, layer.ndim)), PlaneIndex(axes, (0,) * (image.ndim - 2))
    )
