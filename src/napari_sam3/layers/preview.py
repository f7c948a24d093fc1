"""Preview layer, which shows masks with fill and outline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask, Region, around

from .label_layer import image_shape, place_on, placement

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam3.core.planes import PlaneIndex

__all__ = ["TOOL", "FILL", "OUTLINE", "Preview", "fill_and_outline", "preview_colors"]

#: Key in the metadata of layers that only serve the plugin.
TOOL = "napari-sam3 tool"

FILL, OUTLINE = 1, 2
OTHER_FILL, OTHER_OUTLINE = 3, 4
# Cyan stands out from grey images, from stained tissue, and from napari's label colours; drafts
# other than the current one are amber.
COLOR, OTHER_COLOR = (0.15, 0.9, 1.0), (1.0, 0.78, 0.2)
#: The sides of the array are multiples of this many px, unless limited by the plane.
ROOM = 64
#: Shortest sides of the array in px, so that masks near each other fit without moving the layer. On
#: each move, napari looks through all layers and sliders, which takes longer than drawing.
LEAST = 5 * ROOM
#: Number of pixels up to which the array is not shrunk.
LARGE = LEAST**2


def preview_colors() -> Any:
    """Return the colormap of the preview's values.

    It is cyclic, since the first use of a direct one compiles for more than a second.
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
    """Mark the inside of a mask with FILL and its rim with OUTLINE, or with OTHER_ values.

    Parameters
    ----------
    crop : ndarray of bool, h x w
        A mask, surrounded by background.
    thickness : int
        Width of the rim in px.
    current : bool
        Whether it belongs to the current draft.
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
    """Show masks in a layer about as large as they are, for planes of any size.

    Assigning new data to a Labels layer makes napari compile its shader again, which takes time
    and memory at each click. So masks are drawn into the existing array, unless they do not fit
    or it is much too large.

    Parameters
    ----------
    layer : Labels
        Layer of uint8 with the image's axes.
    image : Image
        Image of the masks.
    """

    def __init__(self, layer: Labels, image: Image) -> None:
        self.layer, self.image = layer, image
        self._shows = False
        # Where the array lies: the plane, and its first row and column there.
        self._at: tuple[PlaneIndex, tuple[int, int]] | None = None
        self._placed: tuple[object, ...] | None = None
        # Cache, since most masks are shown repeatedly.
        self._known: WeakKeyDictionary[PlaneMask, tuple[Any, npt.NDArray[np.uint8]]] = (
            WeakKeyDictionary()
        )

    def show(
        self,
        masks: Iterable[tuple[PlaneMask, bool]],
        plane: PlaneIndex | None,
        cover: Region | None = None,
    ) -> None:
        """Show masks on a plane, replacing earlier ones.

        Parameters
        ----------
        masks : iterable of (PlaneMask, bool)
            Masks, with whether each belongs to the current draft; later ones on top.
        plane : PlaneIndex, optional
            The plane; None shows nothing.
        cover : tuple of slice, optional
            Minimum rows and columns of the array, if the masks change often.
        """
        shown = [(mask, current) for mask, current in masks if not mask.is_empty]
        if plane is None or not shown:
            if self._shows:
                self._hide()
            self._shows = False
            # Empty layers also affect the sliders and the view of the viewer.
            if self._placed != (placed := _place_of(self.image)):
                place_on(self.layer, self.image)
                self._at, self._placed = None, placed
            return
        rows, columns = cover or around([mask for mask, _ in shown])
        values = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
        thickness = max(1, round(min(plane.shape_of(image_shape(self.image))) / 500))
        for mask, current in shown:
            part = values[
                mask.row - rows.start : mask.bbox[2] - rows.start,
                mask.column - columns.start : mask.bbox[3] - columns.start,
            ]
            drawn = self._drawn(mask, thickness, current)
            part[mask.crop] = drawn[mask.crop]
        self.show_values(values, plane, (rows.start, columns.start))

    def show_values(
        self, values: npt.NDArray[np.uint8], plane: PlaneIndex, corner: tuple[int, int]
    ) -> None:
        """Show pixels (h x w) that were drawn elsewhere, the first at `corner` of the plane."""
        # The image may have been given a smaller array since.
        height, width = plane.shape_of(image_shape(self.image))
        values = values[: max(0, height - corner[0]), : max(0, width - corner[1])]
        if values.size:
            self._place(values, plane, corner)
        elif self._shows:
            self._hide()
        self._shows = bool(values.size)

    def _drawn(self, mask: PlaneMask, thickness: int, current: bool) -> npt.NDArray[np.uint8]:
        """Return the fill and outline of a mask, cached."""
        known = self._known.get(mask)
        if known is None or known[0] != (thickness, current):
            known = (thickness, current), fill_and_outline(mask.crop, thickness, current=current)
            self._known[mask] = known
        return known[1]

    def _hide(self) -> None:
        data = self.layer.data
        if data.size > LARGE:
            self.layer.data = np.zeros((1,) * self.layer.ndim, np.uint8)
            self._at = None
        else:
            data[...] = 0
            self._refresh()

    def _refresh(self) -> None:
        """Redraw the pixels of the layer only."""
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _place(
        self, values: npt.NDArray[np.uint8], plane: PlaneIndex, corner: tuple[int, int]
    ) -> None:
        """Draw a part of a plane, and place the layer accordingly."""
        layer, image = self.layer, self.image
        room, start = self._space(values.shape, corner, plane)
        inside = tuple(
            slice(at - first, at - first + length)
            for at, first, length in zip(corner, start, values.shape, strict=True)
        )
        shape, origin = np.ones(layer.ndim, int), np.zeros(layer.ndim)
        for axis, position in zip(plane.other_axes, plane.index, strict=True):
            origin[axis] = position
        for axis, length, first in zip(plane.axes, room, start, strict=True):
            shape[axis], origin[axis] = length, first
        other = layer.data.shape != tuple(shape)
        data = np.zeros(shape, np.uint8) if other else layer.data
        drawn = data.reshape(room)
        drawn[...] = 0
        drawn[inside] = values
        if other:
            layer.data = data
        # A layer's translation is applied after its other transforms, so move it by the
        # transformed corner. `affine`, applied last, is the same for both layers.
        moved = np.asarray(image.data_to_world(origin)) - image.data_to_world(np.zeros(len(origin)))
        moved = np.linalg.solve(np.asarray(image.affine.linear_matrix), moved)
        for name, value in placement(image).items():
            if name != "translate" and not np.array_equal(getattr(layer, name), value):
                setattr(layer, name, value)
        place = np.asarray(image.translate) + moved
        if not np.array_equal(layer.translate, place):
            layer.translate = place  # which redraws the layer
        elif not other:
            self._refresh()
        self._at, self._placed = (plane, start), _place_of(image)

    def _space(
        self, needed: tuple[int, ...], corner: tuple[int, int], plane: PlaneIndex
    ) -> tuple[tuple[int, ...], tuple[int, int]]:
        """Return the shape of the array to draw into and its corner: the present ones if they do.

        The array stays within the plane, so that the extent of the viewer does not grow.
        """
        whole = plane.shape_of(image_shape(self.image))
        room = tuple(self.layer.data.shape[axis] for axis in plane.axes)
        fits = all(a <= b <= c for a, b, c in zip(needed, room, whole, strict=True))
        if not fits or np.prod(room) > max(LARGE, 4 * np.prod(needed)):
            sides = (max(LEAST, ROOM * -(-side // ROOM)) for side in needed)
            room = tuple(min(a, b) for a, b in zip(sides, whole, strict=True))
        elif self._at is not None and self._at[0] == plane:
            start = self._at[1]
            if all(
                first <= at and at + length <= first + side <= size
                for first, at, length, side, size in zip(
                    start, corner, needed, room, whole, strict=True
                )
            ):
                return room, start
        middle = [
            at - (side - length) // 2 for at, side, length in zip(corner, room, needed, strict=True)
        ]
        row, column = (
            max(0, min(at, size - side)) for at, size, side in zip(middle, whole, room, strict=True)
        )
        return room, (row, column)


def _place_of(image: Image) -> tuple[object, ...]:
    """Return the place and size of an image, to be compared."""
    transforms = (image.scale, image.translate, image.rotate, image.shear)
    return (
        image_shape(image),
        *(np.asarray(one).tobytes() for one in transforms),
        image.affine.affine_matrix.tobytes(),
        tuple(image.units),
        tuple(image.axis_labels),
    )
