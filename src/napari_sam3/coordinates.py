"""Between layers and the world: the one place where layer transforms and units are applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import LayerError
from .planes import PlaneIndex

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer

__all__ = ["between_layers", "shown_plane", "to_data"]

FloatArray = npt.NDArray[np.float64]


def shown_plane(layer: Layer, dims: Dims) -> PlaneIndex:
    """Return the plane of a layer that a viewer shows.

    Parameters
    ----------
    layer : Image
        Its axes are the last ones of the viewer.
    dims : Dims
        Of the viewer; `point` in world coordinates decides, not the slider's step.

    Raises
    ------
    LayerError
        In 3-D display, or if the two axes shown are not both axes of the layer.
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
    position = to_data(layer, np.asarray(dims.point, np.float64), getattr(dims, "units", None))
    shape = layer.data[0].shape if getattr(layer, "multiscale", False) else layer.data.shape
    index = tuple(
        int(np.clip(np.floor(position[axis] + 0.5), 0, shape[axis] - 1))
        for axis in range(layer.ndim)
        if axis not in axes
    )
    return PlaneIndex((axes[0], axes[1]), index)


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
    if source is None or target is None:
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
