"""Writers for napari's File > Save: Labels layers in the formats of other programs."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.axes import ImageAxes

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = [
    "layer_axes",
    "prefer_own_writers",
    "save_labels",
    "write_cellpose",
    "write_coco",
    "write_ctc",
    "write_geff",
    "write_csv",
    "write_geojson",
    "write_imagej_rois",
    "write_labelme",
    "write_ome_tiff",
    "write_ome_zarr",
    "write_tracks",
    "write_parquet",
    "write_tiff",
    "write_via",
    "write_yolo",
]

_PLUGIN = "napari-sam3"
# napari's default names of axes.
_UNNAMED = re.compile(r"-\d+|axis -?\d+")


def layer_axes(attributes: Mapping[str, Any], ndim: int) -> ImageAxes:
    """Return the axes of a layer from its attributes, as `napari.layers.Layer` has them.

    Parameters
    ----------
    attributes : mapping
        "axis_labels", "units", "scale" and "translate" are used; any may be missing.
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


def save_labels(
    layer: Labels, path: str | os.PathLike[str], format: str | None = None, **options: Any
) -> Path:
    """Write a Labels layer, with its scale, units and table of objects.

    Parameters
    ----------
    layer : Labels
        The layer; it need not be selected.
    path, format, **options
        As for `napari_sam3.labels.formats.choice.export_labels`.
    """
    data, attributes, _ = layer.as_layer_data_tuple()
    return _save(format, path, data, attributes, **options)


def prefer_own_writers() -> None:
    """Make napari prefer this plugin's writers for labels in its dialog and for .tif names.

    napari's own TIFF writer omits the scale, and napari uses the writer registered first.
    """
    from npe2 import PluginManager

    known: list[Any] | None = getattr(PluginManager.instance()._contrib, "_writers", None)
    if known is not None:  # private in npe2, so it may change
        known.sort(key=lambda row: not row[-1].command.startswith(f"{_PLUGIN}."))


def _save(
    format_name: str | None,
    path: str | os.PathLike[str],
    data: Any,
    attributes: Mapping[str, Any],
    **options: Any,
) -> Path:
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
    axes = layer_axes(attributes, labels.ndim)
    return export_labels(labels, path, format_name, axes=axes, table=table, **options)


def _write(format_name: str, path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer for napari's File > Save."""
    from napari_sam3.labels.formats.choice import ALL_FORMATS

    suffixes = ALL_FORMATS[format_name].suffixes
    named = path
    # The dialog returns the name as typed, and does not support suffixes without a dot.
    if not path.lower().endswith(suffixes):
        named = path.removesuffix(Path(suffixes[0]).suffix) + suffixes[0]
    # The dialog has confirmed that an existing file of this name may be replaced.
    return [str(_save(format_name, named, data, attributes, overwrite=named == path))]


# Each is called with the path, the data and the attributes of a layer; returns the files written.
write_ome_zarr = partial(_write, "ome-zarr")
write_ome_tiff = partial(_write, "ome-tiff")
write_tiff = partial(_write, "tiff")
write_imagej_rois = partial(_write, "imagej-roi")
write_geojson = partial(_write, "geojson")
write_coco = partial(_write, "coco")
write_yolo = partial(_write, "yolo")
write_cellpose = partial(_write, "cellpose")
write_via = partial(_write, "via")
write_labelme = partial(_write, "labelme")
write_csv = partial(_write, "csv")
write_parquet = partial(_write, "parquet")
write_ctc = partial(_write, "ctc")
write_geff = partial(_write, "geff")
write_tracks = partial(_write, "tracks")


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
            f"the layer {attributes.get('name', '')!r} has the scale {tuple(steps.tolist())}. Axes "
            "with a scale of 0, or one that is not finite, are saved in pixels.",
            stacklevel=2,
        )
    if turned:
        warnings.warn(
            f"the {' and '.join(turned)} of the layer {attributes.get('name', '')!r} cannot be "
            "written. Only scale and translation are saved.",
            stacklevel=2,
        )
