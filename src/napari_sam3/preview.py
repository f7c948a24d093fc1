"""The masks in hand, shown in a layer of their own with fill and outline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .label_layer import image_shape, placement
from .masks import PlaneMask, around
from .planes import PlaneIndex

if TYPE_CHECKING:
    from napari.layers import Image, Labels

__all__ = ["FILL", "OUTLINE", "Preview", "fill_and_outline", "preview_colors"]

FILL, OUTLINE = 1, 2
OTHER_FILL, OTHER_OUTLINE = 3, 4
# Cyan stands out from grey images, from stained tissue, and from napari's label colours; the
# objects in hand that are not the current one are amber.
COLOR, OTHER_COLOR = (0.15, 0.9, 1.0), (1.0, 0.78, 0.2)


def preview_colors() -> Any:
    """Return the colormap of the preview's values.

    A cyclic one: the first use of a direct one has napari compile for more than a second.
    """
    from napari.utils.colormaps import CyclicLabelColormap

    colors = np.zeros((OTHER_OUTLINE + 1, 4), np.float32)
    for value, rgb, alpha in (
        (FILL, COLOR, 0.35),
        (OUTLINE, COLOR, 1.0),
        (OTHER_FILL, OTHER_COLOR, 0.3),
        (OTHER_OUTLINE, OTHER_COLOR, 1.0),
    ):
        colors[value] = (*rgb, alpha)
    return CyclicLabelColormap(colors=colors, background_value=0)


def fill_and_outline(
    crop: npt.NDArray[np.bool_], thickness: int = 1, *, current: bool = True
) -> npt.NDArray[np.uint8]:
    """Mark the inside of a mask with FILL and its rim with OUTLINE, or those of other objects.

    Parameters
    ----------
    crop : ndarray of bool, h x w
        A mask; beyond its edge there is background.
    thickness : int
        Of the rim, in px.
    current : bool
        Whether it is the current object's.
    """
    inside = np.pad(crop, 1)
    for _ in range(thickness):
        inner = inside.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                inner &= np.roll(inside, step, axis)
        inside = inner
    values = crop.astype(np.uint8) * np.uint8(OUTLINE if current else OTHER_OUTLINE)
    values[inside[1:-1, 1:-1]] = FILL if current else OTHER_FILL
    return values


class Preview:
    """Shows masks in a layer that is just as large as they are, however large the plane.

    Parameters
    ----------
    layer : Labels
        Of uint8 data with the image's axes.
    image : Image
        Where the masks belong.
    """

    def __init__(self, layer: Labels, image: Image) -> None:
        self.layer, self.image = layer, image
        self._shows = False

    def show(self, masks: Iterable[tuple[PlaneMask, bool]], plane: PlaneIndex | None) -> None:
        """Show masks on a plane in place of the last ones.

        Parameters
        ----------
        masks : iterable of (PlaneMask, bool)
            Each with whether it is the current object's; later ones lie on top.
        plane : PlaneIndex, optional
            The plane; None shows nothing.
        """
        shown = [(mask, current) for mask, current in masks if not mask.is_empty]
        if plane is None or not shown:
            if self._shows:
                self._place(np.zeros((1, 1), np.uint8), PlaneIndex((0, 1), ()), (0, 0), empty=True)
            self._shows = False
            return
        rows, columns = around([mask for mask, _ in shown])
        values = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        thickness = max(1, round(min(plane.shape_of(image_shape(self.image))) / 500))
        for mask, current in shown:
            part = values[
                mask.row - rows.start : mask.bbox[2] - rows.start,
                mask.column - columns.start : mask.bbox[3] - columns.start,
            ]
            drawn = fill_and_outline(mask.crop, thickness, current=current)
            part[mask.crop] = drawn[mask.crop]
        self._place(values, plane, (rows.start, columns.start))
        self._shows = True

    def _place(
        self,
        values: npt.NDArray[np.uint8],
        plane: PlaneIndex,
        corner: tuple[int, int],
        *,
        empty: bool = False,
    ) -> None:
        """Put a piece of a plane where it belongs in the world."""
        layer, image = self.layer, self.image
        if empty:
            layer.data = np.zeros((1,) * layer.ndim, np.uint8)
            return
        shape, origin = np.ones(layer.ndim, int), np.zeros(layer.ndim)
        for axis, position in zip(plane.other_axes, plane.index, strict=True):
            origin[axis] = position
        for axis, length, start in zip(plane.axes, values.shape, corner, strict=True):
            shape[axis], origin[axis] = length, start
        # The layer's own translation comes after its other transforms: move it by what they make
        # of the corner. What `affine` adds on top applies to both alike.
        moved = np.asarray(image.data_to_world(origin)) - image.data_to_world(np.zeros(len(origin)))
        moved = np.linalg.solve(np.asarray(image.affine.linear_matrix), moved)
        layer.data = values.reshape(shape)
        for name, value in placement(image).items():
            if name != "translate" and not np.array_equal(getattr(layer, name), value):
                setattr(layer, name, value)
        layer.translate = np.asarray(image.translate) + moved
