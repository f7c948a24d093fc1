"""Conversion between layer and world coordinates: all transforms and units are applied here."""

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

#: Maximum deviation in px of a plane from the slice that counts as parallel.
MOST_DRIFT = 0.05

FloatArray = npt.NDArray[np.float64]


def shown_plane(layer: Layer, dims: Dims) -> PlaneIndex:
    """Return the plane of a layer that a viewer shows, as napari slices it.

    napari maps the hidden axes without the displayed ones, and rounds halves to even.

    Parameters
    ----------
    layer : Image
        Layer whose axes are the last ones of the viewer.
    dims : Dims
        Dims of the viewer; `point` in world coordinates decides, not the slider's step.

    Raises
    ------
    LayerError
        In 3-D display, if the layer lacks one of the displayed axes, or if the slice is not one
        of its planes: outside its range, oblique, or a projection.
    """
    if dims.ndisplay != 2:
        raise LayerError(
            "the viewer is in 3-D display. Expected a plane to click on. Switch to 2-D display "
            "(button at the lower left, or Ctrl-Y)."
        )
    missing = dims.ndim - layer.ndim
    axes = sorted(axis - missing for axis in dims.displayed)
    if axes[0] < 0:
        raise LayerError(
            f"the viewer shows axes that {layer.name!r} lacks: {tuple(dims.displayed)}. Expected "
            f"two of the last {layer.ndim} of {dims.ndim} axes. Roll the axes until one of its "
            "planes is shown."
        )
    hidden = [axis for axis in range(layer.ndim) if axis not in axes]
    if hidden:
        _check_orthogonal(layer, axes, hidden)
    return PlaneIndex((axes[0], axes[1]), _sliced(layer, dims, hidden))


def _sliced(layer: Layer, dims: Dims, hidden: list[int]) -> tuple[int, ...]:
    """Return the index of the slice along each hidden axis."""
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
                f"the slider of axis {axis} is outside {layer.name!r}: at plane {place:.4g}. "
                f"Expected 0 to {length - 1}. Move the slider into the image."
            )
        at = int(nearest(place))
        planes = _projected(low, high, length)
        if planes != range(at, at + 1):
            raise LayerError(
                f"a projection of {layer.name!r} is shown: planes {planes.start} to "
                f"{planes.stop - 1} of axis {axis}. Expected one plane. Set the thickness of the "
                'slice to 0, or the projection mode of the image to "none".'
            )
        index.append(at)
    return tuple(index)


def _projected(low: float, high: float, length: int) -> range:
    """Return the planes that napari projects for a slice between two positions."""
    start, stop = max(int(nearest(low)), 0), max(int(nearest(high)), 0)
    # Integer positions are inclusive, and a slice has at least one plane.
    stop += int(np.isclose(stop, high))
    stop += int(start == stop)
    return range(start, min(stop, length))


def _check_orthogonal(layer: Layer, shown: list[int], hidden: list[int]) -> None:
    """Raise LayerError if the planes of a layer are oblique to the slice.

    napari then draws a plane of the layer at a position that differs from its coordinates.
    """
    forth, _ = _affine(layer, layer.data_to_world)
    back = np.linalg.inv(forth)
    reach = np.asarray(_shape(layer), np.float64) - 1
    for these, others in ((shown, hidden), (hidden, shown)):
        drift = np.abs(forth[np.ix_(these, others)]) @ reach[others]
        if (np.abs(back[np.ix_(these, these)]) @ drift).max() > MOST_DRIFT:
            raise LayerError(
                f"the planes of {layer.name!r} are oblique to the slice: its affine rotates or "
                f"shears axes {tuple(shown)} into {tuple(hidden)}. Expected parallel planes. Show "
                "other axes or reset its transform."
            )


def displacement(layer: Layer, image: Layer) -> float:
    """Return the largest displacement between pixels of a layer and those of an image.

    Parameters
    ----------
    layer, image : Layer
        Layers with the same number of axes. If their units cannot be converted, numbers are
        compared without units, as napari does.

    Returns
    -------
    float
        In px of the image, along the axis on which it is largest.
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
    # Extremes over all corners of the layer.
    most = moved + np.maximum(stretched, 0).sum(axis=1)
    least = moved + np.minimum(stretched, 0).sum(axis=1)
    return float(np.max(np.maximum(np.abs(most), np.abs(least))))


def _shape(layer: Layer) -> tuple[int, ...]:
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    return tuple(int(length) for length in data.shape[: layer.ndim])


def to_data(layer: Layer, position: FloatArray, units: Any = None) -> FloatArray:
    """Convert a world position to px of a layer.

    Parameters
    ----------
    layer : Layer
        Layer with D axes.
    position : ndarray, at least D
        World coordinates, of which the last D are used.
    units : tuple of pint.Unit, optional
        Units of the position, if they differ from the layer's.
    """
    world = np.asarray(position, np.float64)[-layer.ndim :]
    world = world * _unit_factors(units, layer.units, layer.ndim)
    return np.asarray(layer.world_to_data(world), np.float64)


def to_world(layer: Layer, position: FloatArray, units: Any = None) -> FloatArray:
    """Convert a position in px of a layer to world coordinates.

    Parameters
    ----------
    layer : Layer
        Layer with D axes.
    position : ndarray, D
        Position in px.
    units : tuple of pint.Unit, optional
        Units to return, if they differ from the layer's.
    """
    world = np.asarray(layer.data_to_world(position), np.float64)
    return np.asarray(world / _unit_factors(units, layer.units, layer.ndim))


def between_layers(
    source: Layer, target: Layer, rows: npt.ArrayLike, plane: PlaneIndex
) -> FloatArray:
    """Convert positions from px of one layer to px of another.

    Both affine maps are sampled once through public methods, for any number of rows.

    Parameters
    ----------
    source, target : Layer
        Layers with S and T axes; all transforms and units are applied.
    rows : array-like, N x S
        Positions.
    plane : PlaneIndex
        Plane of the layer with more axes, for axes that the source lacks.

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
        # A layer without an axis is shown on every plane along it, so use the current one.
        at = dict(zip(plane.other_axes, plane.index, strict=True))
        for axis in range(target.ndim - common):
            result[:, axis] = at.get(axis, 0)
    return np.asarray(result)


def _affine(layer: Layer, function: Any) -> tuple[FloatArray, FloatArray]:
    offset = np.asarray(function(np.zeros(layer.ndim)), np.float64)
    columns = [np.asarray(function(axis), np.float64) - offset for axis in np.eye(layer.ndim)]
    return np.stack(columns, axis=1), offset


def _unit_factors(source: Any, target: Any, count: int) -> FloatArray:
    """Return factors from units of the source to those of the target, for the last axes."""
    if source is None or target is None or len(source) < count:
        return np.ones(count)
    factors = []
    for have, want in zip(tuple(source)[-count:], tuple(target)[-count:], strict=True):
        if have == want:
            factors.append(1.0)
            continue
        try:
            factors.append(float((1 * have).to(want).magnitude))
        except Exception as error:  # pint's own error types
            raise LayerError(
                f"the units of two layers cannot be converted: {have} to {want}. Expected "
                "compatible units. Set them in Layers > Metadata, or by layer.units."
            ) from error
    return np.asarray(factors)
