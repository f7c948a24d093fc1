"""Reader and writer of GeoJSON in QuPath's dialect."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_sam3.core.classes import PALETTE
from napari_sam3.core.plain_values import is_number, label_of
from napari_sam3.labels.output_files import replacing
from sam3.errors import ImageError

from .drawn import Drawing, DrawnObject, warn_of_no_area
from .label_planes import objects, plane_positions
from .object_table import class_name
from .outlines import Ring, outlines
from .polygons import Points, check_ring, fill_edges, joined
from .stated import NAME, bad_file, known_values, load_json, read_stated, stated

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.core.masks import PlaneMask

    from .output import LabelOutput

__all__ = ["read_geojson", "write_geojson"]


def write_geojson(
    output: LabelOutput, *, object_type: Literal["annotation", "detection"] = "annotation"
) -> Path:
    """Write one feature per object and plane.

    Polygons follow the edges of pixels, in px, with the corner of the first pixel at (0, 0) as in
    QuPath. Objects keep their holes and separate parts. The ids of objects are new in every file,
    so that two files can be imported into one image.

    Parameters
    ----------
    output : LabelOutput
        A GeoJSON file. The column "class" of the table becomes the classification, numbers
        become measurements, and other values metadata.
    object_type : {"annotation", "detection"}
        QuPath handles many objects faster as detections, which cannot be edited.

    Raises
    ------
    ExportError
        If the file cannot be written.
    sam3.errors.ImageError
        If the labels have planes for which QuPath has no axis.
    """
    labels, axes, table = output.labels, output.axes, output.table
    colors: dict[str, list[int]] = {}
    letters = _letters(axes, output.shape)
    with (
        replacing(output.path, output.overwrite) as partial,
        open(partial, "w", encoding="utf-8") as file,
    ):
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
                        **_values(label, mask, known),
                    },
                }
                file.write(between + json.dumps(feature, ensure_ascii=False))
                between = ",\n"
        about = json.dumps({NAME: stated(output.shape, axes)}, ensure_ascii=False)
        file.write("\n],\n" + about[1:] + "\n")
    return output.path


def _letters(axes: ImageAxes, shape: Sequence[int]) -> tuple[str, ...]:
    """Return QuPath's letter for each axis before rows and columns; "" if it has none."""
    letters = axes.letters(shape[:-2])
    if any(not letter and length > 1 for letter, length in zip(letters, shape, strict=False)):
        raise ImageError(
            f"GeoJSON has no planes for the axes {', '.join(axes.names)} of shape {tuple(shape)}. "
            "Expected up to three axes before rows and columns. Choose another format, such as "
            "OME-Zarr."
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


def _values(label: int, mask: PlaneMask, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers as measurements, and other values as metadata, which are texts in QuPath."""
    values = known_values(known)
    numbers = {name: value for name, value in values.items() if is_number(value)}
    texts = {
        name: value if isinstance(value, str) and _parsed(value) is value else _json(value)
        for name, value in values.items()
        if name not in numbers and name != "class"
    }
    measured = {"measurements": {**numbers, "label": label, "area": mask.area}}
    return {**measured, "metadata": texts} if texts else measured


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parsed(text: Any) -> Any:
    """Return the value of a text in JSON, such as "true" or "[1, 2]"; other texts unchanged."""
    try:
        return json.loads(text, parse_constant=int)  # which raises for NaN
    except (TypeError, ValueError, RecursionError):
        return text


def read_geojson(path: Path) -> Drawing:
    """Read the objects of a GeoJSON file by QuPath or another program.

    Polygons, with their holes, follow the edges of pixels. The label is the measurement "label", or
    else a numeric name. The classification becomes "class"; measurements and metadata keep
    their names.
    Points and lines are skipped, with a warning.

    Raises
    ------
    sam3.errors.ImageError
        If the file is not GeoJSON.
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
    if geometry is None:  # an object without a place
        return None
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
        {**({"class": kind} if kind else {}), **_read_metadata(properties), **known},
    )


def _polygons(geometry: Mapping[str, Any]) -> Iterator[list[Points]]:
    """Yield the rings of each polygon."""
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _polygons(one)
    elif kind in ("Polygon", "MultiPolygon"):
        parts = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
        for part in filter(None, parts):
            yield [check_ring(ring) for ring in part]
    elif kind not in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        raise ValueError(f"unknown geometry type {kind!r}")


def _read_class(classification: Any) -> str:
    """Return the class; derived classes as QuPath shows them, such as "Tumor: Positive"."""
    if isinstance(classification, Mapping):
        names = classification.get("names")
        classification = ": ".join(map(str, names)) if names else classification.get("name")
    return str(classification) if classification else ""


def _read_metadata(properties: Mapping[str, Any]) -> dict[str, Any]:
    values = properties.get("metadata")
    if not isinstance(values, Mapping):
        return {}
    return known_values({name: _parsed(text) for name, text in values.items()})


def _read_measurements(values: Any) -> dict[str, Any]:
    if isinstance(values, list):  # QuPath up to 0.3
        values = {one["name"]: one["value"] for one in values}
    return {str(name): value for name, value in (values or {}).items() if is_number(value)}
