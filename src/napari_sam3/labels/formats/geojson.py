"""Objects as GeoJSON, as QuPath reads and writes it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.classes import PALETTE
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import is_number, label_of
from napari_sam3.labels.output_files import replacing
from sam3.errors import ImageError

from .drawn import Drawing, DrawnObject, warn_of_no_area
from .label_planes import check_labels, objects, plane_positions
from .object_table import ObjectTable, class_name
from .outlines import Ring, outlines
from .polygons import Points, check_ring, fill_edges, joined
from .stated import NAME, bad_file, load_json, read_stated, stated

__all__ = ["read_geojson", "write_geojson"]


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
    table = (table or ObjectTable()).fitted(labels.shape, axes.names)
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
        about = json.dumps({NAME: stated(labels.shape, axes)}, ensure_ascii=False)
        file.write("\n],\n" + about[1:] + "\n")
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


def read_geojson(path: Path) -> Drawing:
    """Read the objects of a GeoJSON, of QuPath or others.

    Polygons count along edges of pixels, with holes. The label is the measurement "label", or else
    a name that is a number; the classification becomes "class", measurements keep their names.
    Points and lines have no pixels and are left out, with a warning.

    Raises
    ------
    sam3.errors.ImageError
        If it is not GeoJSON.
    """
    content = load_json(path)
    about = content if isinstance(content, dict) else {}
    features = about.get("features", [about]) if about else content
    try:
        found = [_read_feature(one) for one in features]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise bad_file(path, "GeoJSON", error) from error
    objects = [one for one in found if one is not None]
    if len(objects) < len(found):
        warn_of_no_area(len(found) - len(objects))
    shape, axes = read_stated(about.get(NAME))
    return Drawing(objects, shape, axes)


def _read_feature(feature: Mapping[str, Any]) -> DrawnObject | None:
    """Return an object; None if it has no area."""
    bare = feature.get("type") != "Feature"
    geometry = feature if bare else feature["geometry"]
    polygons = list(_polygons(geometry))
    if not polygons:
        return None
    plane = geometry.get("plane") or {}
    place = {name: int(plane.get(name, 0)) for name in "zt"}
    if int(plane.get("c", -1)) >= 0:
        place["c"] = int(plane["c"])
    properties = {} if bare else feature.get("properties") or {}
    known = _read_measurements(properties.get("measurements"))
    label = label_of(known.pop("label", None))
    known.pop("area", None)
    if label is None:
        label = label_of(properties.get("name"))
    kind = _read_class(properties.get("classification"))
    return DrawnObject(
        lambda shape: joined([fill_edges(rings, shape) for rings in polygons]),
        place,
        label,
        {**({"class": kind} if kind else {}), **known},
    )


def _polygons(geometry: Mapping[str, Any]) -> Iterator[list[Points]]:
    """Yield the rings of each part."""
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _polygons(one)
    elif kind in ("Polygon", "MultiPolygon"):
        parts = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
        for part in parts:
            yield [check_ring(ring) for ring in part]
    elif kind not in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        raise ValueError(f"it has no geometry of the type {kind!r}")


def _read_class(classification: Any) -> str:
    """Return the class; derived ones as QuPath shows them, such as "Tumor: Positive"."""
    if isinstance(classification, Mapping):
        names = classification.get("names")
        classification = ": ".join(map(str, names)) if names else classification.get("name")
    return str(classification) if classification else ""


def _read_measurements(values: Any) -> dict[str, Any]:
    if isinstance(values, list):  # as QuPath wrote them up to 0.3
        values = {one["name"]: one["value"] for one in values}
    return {str(name): value for name, value in (values or {}).items() if is_number(value)}
