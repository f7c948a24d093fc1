"""Writer of label images as OME-Zarr, standalone or inside an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.labels.ome_zarr import making_labels

from .label_planes import TILE, plane_positions, read_region

if TYPE_CHECKING:
    from .object_table import ObjectTable
    from .output import LabelOutput

__all__ = ["write_ome_zarr"]


def write_ome_zarr(output: LabelOutput, *, version: str | None = None) -> Path:
    """Write a label image and its pyramid, one tile at a time.

    Parameters
    ----------
    output : LabelOutput
        A folder; ``image.zarr/labels/name`` adds the labels to an image. The values of the table
        become properties. A label that is on several planes keeps the first value of each.
    version : {"0.4", "0.5"}, optional
        See `napari_sam3.labels.ome_zarr.create_labels`.

    Raises
    ------
    ExportError, sam3.errors.ImageError
        See `napari_sam3.labels.ome_zarr.create_labels`.
    """
    labels = output.labels
    dtype = np.dtype(labels.dtype)
    height, width = (int(length) for length in labels.shape[-2:])
    with making_labels(
        output.path,
        output.shape,
        np.uint8 if dtype.kind == "b" else dtype,
        output.axes,
        version=version,
        overwrite=output.overwrite,
    ) as made:
        array: Any = made.array
        for position in plane_positions(labels):
            for top in range(0, height, TILE):
                for left in range(0, width, TILE):
                    rows, columns = slice(top, top + TILE), slice(left, left + TILE)
                    pixels = read_region(labels, position, rows, columns)
                    array[(*position, rows, columns)] = pixels
        made.finish(_properties(output.given_table) or None)
    return output.path


def _properties(table: ObjectTable) -> Mapping[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for (label, _), known in table.rows.items():
        found[label] = {**known, **found.get(label, {})}
    return found
