"""Appearance of an object: features of the model averaged over its mask, size and texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.rendering import PlaneImage

if TYPE_CHECKING:
    from sam3.features import ImageFeatures

__all__ = ["Appearance", "describe"]

#: Width of the ring around an object for the colour of its surroundings, as a fraction of the
#: object's diameter.
_RING = 0.3
_LEAST_RING, _LARGEST_RING = 2, 12
#: Gradients and grain below this do not differ.
_FAINT = 1e-3

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Appearance:
    """Quantities of an object that can be compared across fields, planes and images.

    Attributes
    ----------
    features : ndarray of float32, shape (C,)
        Feature map of middle resolution, averaged over the mask.
    area : float
        Area in px of the plane.
    extent : tuple of float
        Height and width in px of the bounding box.
    solidity : float
        Fraction of the bounding box that the mask fills.
    colour, ring, texture : ndarray of float32, shape (3,)
        Mean of the object, mean of the ring around it, and standard deviation within the
        object, for red, green and blue in 0..1.
    edge, grain : float
        Logarithms of the mean gradient along the outline, and of the mean response of the object
        to a Laplacian filter of 1 px: noise and fine structure.
    """

    features: Vector
    area: float
    extent: tuple[float, float]
    solidity: float
    colour: Vector
    ring: Vector
    texture: Vector
    edge: float
    grain: float


def describe(
    masks: Sequence[PlaneMask], plane: PlaneImage, field: FieldOfView, features: ImageFeatures
) -> list[Appearance]:
    """Return the appearances of objects in a field.

    Parameters
    ----------
    masks : sequence of PlaneMask
        Masks of the objects, none of them empty.
    plane : PlaneImage
        Plane for their colours.
    field : FieldOfView
        Field of view that holds the objects.
    features : ImageFeatures
        Features of the field.
    """
    if not masks:
        return []
    pooled = _pool(masks, field, features.encoded.middle[0].float().cpu().numpy())
    pixels = _Pixels.of(plane, field)
    return [_describe(mask, pixels, row) for mask, row in zip(masks, pooled, strict=True)]


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Pixels of a field: its colours (H, W, 3) in 0..1, and the filters of its brightness."""

    field: FieldOfView
    colours: Vector
    gradient: Vector
    laplacian: Vector

    @classmethod
    def of(cls, plane: PlaneImage, field: FieldOfView) -> _Pixels:
        from scipy import ndimage

        pixels = plane.region(slice(*field.rows), slice(*field.columns))
        colours = pixels.astype(np.float32) / np.float32(255)
        grey = colours.mean(axis=-1)
        gradient = ndimage.gaussian_gradient_magnitude(grey, 1.0)
        return cls(field, colours, gradient, np.abs(ndimage.gaussian_laplace(grey, 1.0)))

    def at(self, rows: slice, columns: slice) -> tuple[Vector, Vector, Vector]:
        """Return the colours, gradients and Laplacian of a part of the plane in the field."""
        # Large fields are subsampled.
        y, x = (
            ((np.arange(span.start, span.stop) - start) * (pixels / length)).astype(np.int64)
            for span, start, length, pixels in zip(
                (rows, columns),
                (self.field.rows[0], self.field.columns[0]),
                self.field.shape,
                self.gradient.shape,
                strict=True,
            )
        )
        grid = np.ix_(y, x)
        return self.colours[grid], self.gradient[grid], self.laplacian[grid]


def _pool(masks: Sequence[PlaneMask], field: FieldOfView, values: Vector) -> Vector:
    """Return the mean (N, C) of a feature map (C, g, g) over each mask."""
    from scipy import sparse  # slow to import

    channels, height, width = values.shape
    cells, rows = [], []
    for index, mask in enumerate(masks):
        ys, xs = np.nonzero(mask.crop)
        y = (ys + mask.row + 0.5 - field.origin[0]) * height / field.encoded_shape[0]
        x = (xs + mask.column + 0.5 - field.origin[1]) * width / field.encoded_shape[1]
        at = np.clip(y, 0, height - 1).astype(np.int64) * width
        at += np.clip(x, 0, width - 1).astype(np.int64)
        cells.append(at)
        rows.append(np.full(len(at), index))
    where, which = np.concatenate(cells), np.concatenate(rows)
    counts = sparse.coo_matrix(
        (np.ones(len(where), np.float32), (which, where)), (len(masks), height * width)
    ).tocsr()
    sums = counts @ values.reshape(channels, -1).T
    return np.asarray(sums / np.maximum(1, counts.sum(axis=1)), np.float32)


def _describe(mask: PlaneMask, pixels: _Pixels, features: Vector) -> Appearance:
    from scipy import ndimage

    area, field = mask.area, pixels.field
    width = int(np.clip(_RING * np.sqrt(area), _LEAST_RING, _LARGEST_RING))
    y0, x0, y1, x1 = mask.bbox
    rows = slice(max(field.rows[0], y0 - width), min(field.rows[1], y1 + width))
    columns = slice(max(field.columns[0], x0 - width), min(field.columns[1], x1 + width))
    inside = mask.within((rows, columns))
    # Dilate by a square instead of a disc, since its maximum filter is separable.
    ring = ndimage.maximum_filter(inside, size=2 * width + 1) & ~inside
    outline = inside & ~ndimage.binary_erosion(inside)
    colours, gradient, laplacian = pixels.at(rows, columns)
    body = colours[inside]
    around = colours[ring] if ring.any() else body
    return Appearance(
        features=features,
        area=float(area),
        extent=(float(y1 - y0), float(x1 - x0)),
        solidity=area / max(1, mask.crop.size),
        colour=body.mean(axis=0),
        ring=around.mean(axis=0),
        texture=body.std(axis=0),
        edge=float(np.log(gradient[outline].mean() + _FAINT)),
        grain=float(np.log(laplacian[inside].mean() + _FAINT)),
    )
