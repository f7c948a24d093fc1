"""napari's File > Save for Labels layers, in the formats of other programs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes

__all__ = [
    "layer_axes",
    "write_coco",
    "write_ctc",
    "write_geff",
    "write_geojson",
    "write_imagej_rois",
    "write_ome_tiff",
    "write_ome_zarr",
    "write_tracks",
]

# What napari calls axes that nobody has named.
_UNNAMED = re.compile(r"-\d+|axis -?\d+")


def write_ome_zarr(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as OME-Zarr 0.5, with the layer's table as properties."""
    return _write("ome-zarr", path, data, attributes)


def write_ome_tiff(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as TIFF with OME's metadata."""
    return _write("ome-tiff", path, data, attributes)


def write_imagej_rois(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the objects of a Labels layer for ImageJ's ROI Manager."""
    return _write("imagej-roi", path, data, attributes)


def write_geojson(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the objects of a Labels layer as QuPath reads them."""
    return _write("geojson", path, data, attributes)


def write_coco(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the objects of a Labels layer as COCO annotations."""
    return _write("coco", path, data, attributes)


def write_ctc(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer through time as a result of the Cell Tracking Challenge."""
    return _write("ctc", path, data, attributes)


def write_geff(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the tracks of a Labels layer as a graph in GEFF."""
    return _write("geff", path, data, attributes)


def write_tracks(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the tracks of a Labels layer as a table."""
    return _write("tracks", path, data, attributes)


def layer_axes(attributes: Mapping[str, Any], ndim: int) -> ImageAxes:
    """Return the axes of a layer from its attributes, as `napari.layers.Layer` has them.

    Parameters
    ----------
    attributes : mapping
        "axis_labels", "units", "scale" and "translate" count; any may be missing.
    ndim : int
        Number of axes of its data.
    """
    names = tuple(str(name) for name in attributes.get("axis_labels") or ())
    default = ImageAxes.default(ndim).names
    if len(names) != ndim or all(_UNNAMED.fullmatch(name) for name in names):
        names = default
    else:
        names = tuple(
            f"axis_{at}" if _UNNAMED.fullmatch(name) else name for at, name in enumerate(names)
        )
    options = {
        name: values
        for name in ("units", "scale", "translate")
        if (values := attributes.get(name)) is not None and len(values) == ndim
    }
    return ImageAxes.of(names, **options)


def _write(format_name: str, path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    from napari_sam3.labels.formats.choice import export_labels
    from napari_sam3.labels.formats.object_table import ObjectTable
    from napari_sam3.labels.formats.tracks.choice import with_parents

    from .features import METADATA

    labels = data[0] if attributes.get("multiscale") else data
    _warn_of_what_is_lost(attributes, labels.ndim)
    features = attributes.get("features")
    table = ObjectTable.from_features(features) if features is not None else ObjectTable()
    kept = (attributes.get("metadata") or {}).get(METADATA, {})
    table = with_parents(table, kept.get("parents", {}))
    # Whoever saves has been asked by the dialog whether a file may be replaced.
    written = export_labels(
        labels,
        path,
        format_name,
        axes=layer_axes(attributes, labels.ndim),
        table=table,
        overwrite=True,
    )
    return [str(written)]


def _warn_of_what_is_lost(attributes: Mapping[str, Any], ndim: int) -> None:
    without: dict[str, Any] = {"rotate": np.eye(ndim), "shear": 0.0, "affine": np.eye(ndim + 1)}
    turned = [
        name
        for name, neutral in without.items()
        if (value := attributes.get(name)) is not None
        and not np.allclose(np.asarray(value), neutral)
    ]
    steps = np.asarray(attributes.get("scale", np.ones(ndim)), float)
    if not (np.isfinite(steps) & (steps != 0)).all():
        warnings.warn(
            f"the layer {attributes.get('name', '')!r} has the scale {tuple(steps.tolist())}; axes "
            "whose scale is 0 or not finite are saved in pixels",
            stacklevel=2,
        )
    if turned:
        warnings.warn(
            f"the {' and '.join(turned)} of the layer {attributes.get('name', '')!r} cannot be "
            "written: its pixels are saved as they are, with scale and translation only",
            stacklevel=2,
        )
