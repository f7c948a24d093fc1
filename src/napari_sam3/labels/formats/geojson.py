"""Objects as GeoJSON, as QuPath reads it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.classes import PALETTE
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import is_number
from napari_sam3.labels.output_files import replacing
from sam3.errors import ImageError

from .label_planes import check_labels, objects, plane_positions
from .object_table import ObjectTable, class_name
from .outlines import Ring, outlines

__all__ = ["write_geojson"]


def write_geojson(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    object_type: Literal["annotation", "detection"] = "annotation",
    overwrite: bool = False,
) -> Path:
    """Write one feature for each object on each plane.

    Polygons run along the edges of pixels, in px, with the corner of the first pixel at (0, 0) as
    QuPath has it; with holes, and of several parts where an object has them. The ids of objects
    are new with every file, so that two files can be imported into one image.

    Parameters
    ----------
    path : str or path-like
        File to write.
    labels : array-like of integers, ... x H x W
        Label image.
    axes : ImageAxes, optional
        Which axes are depth, time and channels.
    table : ObjectTable, optional
        Its column "class" becomes the classification, its numbers become measurements.
    object_type : {"annotation", "detection"}
        Detections are for many objects that nobody edits.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ExportError
        If it cannot be written.
    sam3.errors.ImageError
        If it is not a label image.
    """
    check_labels(labels)
    axes = ImageAxes.default(labels.ndim) if axes is None else axes
    table = (table or ObjectTable()).fitted(labels.shape)
    colors: dict[str, list[int]] = {}
    letters = _letters(axes, labels.shape)
    with replacing(path, overwrite) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        between = "\n"
        for position in plane_positions(labels):
            for label, mask in objects(labels, position):
                known = table.known(label, position)
                feature = {
                    "type": "Feature",
                    "id": str(uuid.uuid4()),
                    "geometry": _geometry(mask, dict(zip(letters, position, strict=True))),
                    "properties": {
                        "objectType": object_type,
                        "name": str(label),
                        **_classification(known, colors),
                        "measurements": _measurements(label, mask, known),
                    },
                }
                file.write(between + json.dumps(feature, ensure_ascii=False))
                between = ",\n"
        file.write("\n]}\n")
    return Path(path)


def _letters(axes: ImageAxes, shape: Sequence[int]) -> tuple[str, ...]:
    """Return which of QuPath's axes those before rows and columns are; "" for none of them."""
    letters = axes.letters(shape[:-2])
    if any(not letter and length > 1 for letter, length in zip(letters, shape, strict=False)):
        raise ImageError(
            f"GeoJSON cannot hold the planes of labels with the axes {', '.join(axes.names)} and "
            f"the shape {tuple(shape)}; expected up to three axes before rows and columns. Choose "
            "another format, such as a table"
        )
    return letters


def _geometry(mask: PlaneMask, at: Mapping[str, int]) -> dict[str, Any]:
    polygons = [[_closed(ring) for ring in (part.outside, *part.holes)] for part in outlines(mask)]
    plane = {"c": at.get("c", -1), "z": at.get("z", 0), "t": at.get("t", 0)}  # -1: all channels
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0], "plane": plane}
    return {"type": "MultiPolygon", "coordinates": polygons, "plane": plane}


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = ring.tolist()
    return [*corners, corners[0]]


def _classification(known: Mapping[str, Any], colors: dict[str, list[int]]) -> dict[str, Any]:
    name = class_name(known)
    if not name:
        return {}
    if name not in colors:
        text = PALETTE[len(colors) % len(PALETTE)]
        colors[name] = [int(text[at : at + 2], 16) for at in (1, 3, 5)]
    return {"classification": {"name": name, "color": colors[name]}}


def _measurements(label: int, mask: PlaneMask, known: Mapping[str, Any]) -> dict[str, float]:
    numbers = {name: value for name, value in known.items() if is_number(value)}
    return {**numbers, "label": label, "area": mask.area}
