"""Between layers and the world: the one place where layer transforms and units are applied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LayerError
from napari_sam3.core.planes import PlaneIndex, nearest

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer

__all__ = ["between_layers", "displacement", "shown_plane", "to_data", "to_world"]

#: Pixels by which a plane may be off when it is shown as if it were parallel to the slice.
MOST_DRIFT = 0.05

FloatArray = npt.NDArray[np.float64]


def shown_plane(layer: Layer, dims: Dims) -> PlaneIndex:
    """Return the plane of a layer that a viewer shows: the one that napari itself slices.

    napari maps the axes that are not shown on their own, without those that are, and rounds
    halves to the even neighbour.

    Parameters
    ----------
    layer : Image
        Its axes are the last ones of the viewer.
    dims : Dims
        Of the viewer; `point` in world coordinates decides, not the slider's step.

    Raises
    ------
    LayerError
        In 3-D display, if the two axes shown are not both axes of the layer, or if what is shown
        is not one plane of it: beyond its ends, at an angle to its planes, or a projection.
    """
    if dims.ndisplay != 2:
        raise LayerError(
            "the viewer shows 3-D; clicks need a plane, so switch to 2-D display (button at the "
            "lower left, or Ctrl-Y)"
        )
    missing = dims.ndim - layer.ndim
    axes = sorted(axis - missing for axis in dims.displayed)
    if axes[0] < 0:
        raise LayerError(
            f"the viewer shows axes {tuple(dims.displayed)}, but {layer.name!r} has only the "
            f"last {layer.ndim} of {dims.ndim}; roll the axes until a plane of it is shown"
        )
    hidden = [axis for axis in range(layer.ndim) if axis not in axes]
    if hidden:
        _check_orthogonal(layer, axes, hidden)
    return PlaneIndex((axes[0], axes[1]), _sliced(layer, dims, hidden))


def _sliced(layer: Layer, dims: Dims, hidden: list[int]) -> tuple[int, ...]:
    """Return the position that napari slices along each axis that is not shown."""
    units = getattr(dims, "units", None)
    nothing = to_data(layer, np.zeros(layer.ndim), units)

    def along(world: Sequence[float]) -> FloatArray:
        place, known = np.zeros(layer.ndim), np.asarray(world, np.float64)[-layer.ndim :]
        place[layer.ndim - len(known) :] = known
        place[[axis for axis in range(layer.ndim) if axis not in hidden]] = 0
        return to_data(layer, place, units)

    position = np.nan_to_num(along(dims.point))
    before, after = (along(margin) - nothing for margin in (dims.margin_left, dims.margin_right))
    projected = str(layer.projection_mode) != "none"
    index = []
    for axis in hidden:
        length, place = int(_shape(layer)[axis]), float(position[axis])
        if projected:
            low, high = place - before[axis], place + after[axis]
        else:
            low = high = place
        if nearest(high) < 0 or nearest(low) >= length:
            raise LayerError(
                f"the viewer shows position {place:.4g} on axis {axis}, and {layer.name!r} has "
                f"planes 0 to {length - 1} there; move the slider into the image"
            )
        at = int(nearest(place))
        planes = _projected(low, high, length)
        if planes != range(at, at + 1):
            raise LayerError(
                f"a projection of planes {planes.start} to {planes.stop - 1} on axis {axis} of "
                f"{layer.name!r} is shown; clicks need one plane, so set the thickness of the "
                'slice to 0, or the projection mode of the image to "none"'
            )
        index.append(at)
    return tuple(index)


def _projected(low: float, high: float, length: int) -> range:
    """Return the planes that napari projects, for a slice from one position to another."""
    start, stop = max(int(nearest(low)), 0), max(int(nearest(high)), 0)
    # Whole positions belong to the slice, and a slice has at least one plane.
    stop += int(np.isclose(stop, high))
    stop += int(start == stop)
    return range(start, min(stop, length))


def _check_orthogonal(layer: Layer, shown: list[int], hidden: list[int]) -> None:
    """Refuse a layer whose planes lie at an angle to the ones that the viewer shows.

    napari then draws a plane of the layer all the same, elsewhere than its coordinates say.
    """
    forth, _ = _affine(layer, layer.data_to_world)
    back = np.linalg.inv(forth)
    reach = np.asarray(_shape(layer), np.float64) - 1
    for these, others in ((shown, hidden), (hidden, shown)):
        drift = np.abs(forth[np.ix_(these, others)]) @ reach[others]
        if (np.abs(back[np.ix_(these, these)]) @ drift).max() > MOST_DRIFT:
            raise LayerError(
                f"the planes of {layer.name!r} lie at an angle to the slice shown (its affine "
                f"turns or shears axes {tuple(shown)} into {tuple(hidden)}); clicks need a plane "
                "of the image itself, so show other axes or reset its transform"
            )


def displacement(layer: Layer, image: Layer) -> float:
    """Return how far the pixels of a layer lie from those of an image, the farthest of them.

    Parameters
    ----------
    layer, image : Layer
        Of the same number of axes. Where the units of one cannot be converted into those of the
        other, numbers are compared, as napari does when it shows them.

    Returns
    -------
    float
        In px of the image, along the axis along which it is largest.
    """
    matrix, offset = _affine(layer, layer.data_to_world)
    try:
        factors = _unit_factors(layer.units, image.units, layer.ndim)
    except LayerError:
        factors = np.ones(layer.ndim)
    back, shift = _affine(image, image.world_to_data)
    both = back @ (factors[:, None] * matrix)
    moved = back @ (factors * offset) + shift
    reach = np.maximum(np.asarray(_shape(layer), np.float64) - 1, 0)
    stretched = (both - np.eye(layer.ndim)) * reach
    # Of all corners of the layer: those that add to the offset, or take from it.
    most = moved + np.maximum(stretched, 0).sum(axis=1)
    least = moved + np.minimum(stretched, 0).sum(axis=1)
    return float(np.max(np.maximum(np.abs(most), np.abs(least))))


def _shape(layer: Layer) -> tuple[int, ...]:
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    return tuple(int(length) for length in data.shape[: layer.ndim])


def to_data(layer: Layer, position: FloatArray, units: Any = None) -> FloatArray:
    """Bring one world position into px of a layer.

    Parameters
    ----------
    layer : Layer
        Of D axes.
    position : ndarray, at least D
        World coordinates; the last D count.
    units : tuple of pint.Unit, optional
        Units of the position, where they differ from the layer's.
    """
    world = np.asarray(position, np.float64)[-layer.ndim :]
    world = world * _unit_factors(units, layer.units, layer.ndim)
    return np.asarray(layer.world_to_data(world), np.float64)


def to_world(layer: Layer, position: FloatArray, units: Any = None) -> FloatArray:
    """Bring a position in px of a layer into world coordinates.

    Parameters
    ----------
    layer : Layer
        Of D axes.
    position : ndarray, D
        In px.
    units : tuple of pint.Unit, optional
        Units to return, where they differ from the layer's.
    """
    world = np.asarray(layer.data_to_world(position), np.float64)
    return np.asarray(world / _unit_factors(units, layer.units, layer.ndim))


def between_layers(
    source: Layer, target: Layer, rows: npt.ArrayLike, plane: PlaneIndex
) -> FloatArray:
    """Bring positions from px of one layer into px of another.

    Both affine maps are read off the layers' public methods once, for any number of rows.

    Parameters
    ----------
    source, target : Layer
        Of S and T axes; scale, translation, rotation, shear, affine and units are honoured.
    rows : array-like, N x S
        Positions.
    plane : PlaneIndex
        Plane of the layer with more axes; it gives axes that the source does not have.

    Returns
    -------
    ndarray, N x T

    Raises
    ------
    LayerError
        If the units of the two layers cannot be converted.
    """
    points = np.asarray(rows, np.float64).reshape(-1, source.ndim)
    matrix, offset = _affine(source, source.data_to_world)
    world = points @ matrix.T + offset
    common = min(source.ndim, target.ndim)
    world = world[:, source.ndim - common :] * _unit_factors(source.units, target.units, common)
    if common < target.ndim:
        world = np.concatenate([np.zeros((len(world), target.ndim - common)), world], axis=1)
    matrix, offset = _affine(target, target.world_to_data)
    result = world @ matrix.T + offset
    if common < target.ndim:
        # A layer without an axis is shown on every plane along it: here, the present one.
        at = dict(zip(plane.other_axes, plane.index, strict=True))
        for axis in range(target.ndim - common):
            result[:, axis] = at.get(axis, 0)
    return np.asarray(result)


def _affine(layer: Layer, function: Any) -> tuple[FloatArray, FloatArray]:
    offset = np.asarray(function(np.zeros(layer.ndim)), np.float64)
    columns = [np.asarray(function(axis), np.float64) - offset for axis in np.eye(layer.ndim)]
    return np.stack(columns, axis=1), offset


def _unit_factors(source: Any, target: Any, count: int) -> FloatArray:
    """Return what to multiply positions in units of the source by, for the last `count` axes."""
    if source is None or target is None or len(source) < count:
        return np.ones(count)
    factors = []
    for have, want in zip(tuple(source)[-count:], tuple(target)[-count:], strict=True):
        if have == want:
            factors.append(1.0)
            continue
        try:
            factors.append(float((1 * have).to(want).magnitude))
        except Exception as error:  # pint raises types of its own, kept out of here
            raise LayerError(
                f"layers in {have} and in {want} cannot be brought together; give them the same "
                "units (Layers > Metadata, or layer.units)"
            ) from error
    return np.asarray(factors)
