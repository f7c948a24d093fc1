"""Any label image as an OME-Zarr of its own, or inside an image."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.ome_zarr import making_labels

from .label_planes import TILE, check_labels, plane_positions, read_region
from .object_table import ObjectTable

__all__ = ["write_ome_zarr"]


def write_ome_zarr(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    version: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a label image with its pyramid, a tile at a time.

    Parameters
    ----------
    path : str or path-like
        Folder to make; ``image.zarr/labels/name`` adds it to an image.
    labels : array-like of integers, ... x H x W
        Kept in their own type.
    axes : ImageAxes, optional
        Names, units, scale and place.
    table : ObjectTable, optional
        What is known of each label becomes its properties. A label that is on several planes has
        those of the first that says them.
    version : {"0.4", "0.5"}, optional
        See `napari_sam3.labels.ome_zarr.create_labels`.
    overwrite : bool
        Replace a label image that is there.

    Raises
    ------
    ExportError, sam3.errors.ImageError
        See `napari_sam3.labels.ome_zarr.create_labels`.
    """
    check_labels(labels)
    dtype = np.dtype(labels.dtype)
    height, width = (int(length) for length in labels.shape[-2:])
    with making_labels(
        path,
        labels.shape,
        np.uint8 if dtype.kind == "b" else dtype,
        axes,
        version=version,
        overwrite=overwrite,
    ) as made:
        array: Any = made.array
        for position in plane_positions(labels):
            for top in range(0, height, TILE):
                for left in range(0, width, TILE):
                    rows, columns = slice(top, top + TILE), slice(left, left + TILE)
                    pixels = read_region(labels, position, rows, columns)
                    array[(*position, rows, columns)] = pixels
        made.finish(_properties(table) if table is not None else None)
    return Path(path)


def _properties(table: ObjectTable) -> Mapping[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for (label, _), known in table.rows.items():
        found[label] = {**known, **found.get(label, {})}
    return found
