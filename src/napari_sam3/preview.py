"""The mask in hand, shown in a layer of its own with fill and outline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .masks import PlaneMask
from .planes import PlaneIndex

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["FILL", "OUTLINE", "Preview", "fill_and_outline", "preview_colors"]

FILL, OUTLINE = 1, 2
# Cyan stands out from grey images, from stained tissue, and from napari's label colours.
COLOR = (0.15, 0.9, 1.0)


def preview_colors() -> dict[int | None, tuple[float, float, float, float]]:
    """Colours (RGBA in [0, 1]) of the preview's values."""
    return {None: (0, 0, 0, 0), 0: (0, 0, 0, 0), FILL: (*COLOR, 0.35), OUTLINE: (*COLOR, 1.0)}


def fill_and_outline(crop: npt.NDArray[np.bool_], thickness: int = 1) -> npt.NDArray[np.uint8]:
    """Mark the inside of a mask with FILL and its rim with OUTLINE.

    Parameters
    ----------
    crop : ndarray of bool, h x w
        A mask; beyond its edge there is background.
    thickness : int
        Of the rim, in px.
    """
    inside = np.pad(crop, 1)
    for _ in range(thickness):
        inner = inside.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                inner &= np.roll(inside, step, axis)
        inside = inner
    values = crop.astype(np.uint8) * np.uint8(OUTLINE)
    values[inside[1:-1, 1:-1]] = FILL
    return values


class Preview:
    """Writes masks into a preview layer, touching only their bounding boxes.

    Parameters
    ----------
    layer : Labels
        Of uint8 data in the image's shape.
    """

    def __init__(self, layer: Labels) -> None:
        self.layer = layer
        self._written: tuple[int | slice, ...] | None = None

    def show(self, mask: PlaneMask | None, plane: PlaneIndex | None) -> None:
        """Show a mask on a plane in place of the last one; None shows nothing."""
        data: Any = self.layer.data
        if self._written is not None:
            data[self._written] = 0
        elif mask is None or mask.is_empty:
            return
        self._written = None
        if mask is not None and plane is not None and not mask.is_empty:
            self._written = plane.slices(*mask.region)
            thickness = max(1, round(min(plane.shape_of(data.shape)) / 500))
            data[self._written] = fill_and_outline(mask.crop, thickness)
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)
