"""Reader and writer of projects of the VGG Image Annotator (VIA 2).

Follows the files that VIA 2.0 saves. Programs that read them fill polygons inclusively, so outlines
run through the centres of pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.plain_values import is_number, label_of, plane_of
from napari_sam3.labels.output_files import replacing
from sam3.errors import ImageError

from .drawn import Drawing, DrawnObject, warn_of_no_area
from .label_planes import objects, plane_positions
from .object_table import class_name, plane_text
from .polygons import (
    centre_rings,
    check_ring,
    fill_edges,
    fill_ellipse,
    fill_inclusive,
    warn_of_holes,
)
from .stated import (
    NAME,
    bad_file,
    known_values,
    load_json,
    number_or_text,
    read_stated,
    stated,
)

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask

    from .output import LabelOutput

__all__ = ["read_via", "write_via"]

_PROJECT = "_via_img_metadata"
_CLASSES = ("class", "type", "name", "category", "label")


def write_via(output: LabelOutput, *, image_name: str = "") -> Path:
    """Write a VIA project: one polygon per part, object and plane.

    Holes are filled, with a warning. Polygons have the attributes "label" and "class", and one per
    other column of the table; the parts of an object share a label.

    Parameters
    ----------
    output : LabelOutput
        A JSON file; each plane is an image. Only `read_via` reads the axes: VIA knows pixels.
    image_name : str
        File name of the image. The index of a plane is added to it, as in ``cells_0003.png``.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    labels, table = output.labels, output.table
    name = Path(image_name or "image.png")
    images: dict[str, Any] = {}
    holes = 0
    for position in plane_positions(labels):
        places = "".join(f"_{at:04d}" for at in position)
        regions = []
        for label, mask in objects(labels, position):
            known = table.known(label, position)
            rings, filled = centre_rings(mask)
            holes += filled
            attributes = {"label": str(label), **_texts(known)}
            regions += [_region(ring, attributes) for ring in rings]
        file_name = f"{name.stem}{places}{name.suffix}"
        images[f"{file_name}-1"] = {
            "filename": file_name,
            "size": -1,  # bytes; unknown
            "regions": regions,
            "file_attributes": {"plane": plane_text(position)} if position else {},
        }
    names = ["label", "class", *(one for one in table.columns() if one not in ("label", "class"))]
    project = {
        "_via_settings": {
            "project": {"name": output.path.stem},
            NAME: stated(output.shape, output.axes),
        },
        _PROJECT: images,
        "_via_attributes": {
            "region": {one: {"type": "text", "description": ""} for one in names},
            "file": {},
        },
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(images),
    }
    with (
        replacing(output.path, output.overwrite) as written,
        open(written, "w", encoding="utf-8") as file,
    ):
        json.dump(project, file, ensure_ascii=False)
    warn_of_holes(holes, "VIA")
    return output.path


def read_via(path: Path, image_name: str | None = None) -> Drawing:
    """Read a project of VIA, or the annotations that it exports as JSON.

    The label is the attribute "label" where it is a number, and regions with the same one are parts
    of an object. Attributes become the table; the first of "class", "type", "name", "category" and
    "label", or a single one with any name, is the class. Points and lines are left out, with a
    warning.

    Parameters
    ----------
    path : Path
        JSON file.
    image_name : str, optional
        Which image, by its file name, where a file has several.

    Raises
    ------
    sam3.errors.ImageError
        If it is not of VIA, or it holds several images and none is named.
    """
    content = load_json(path)
    try:
        settings = content.get("_via_settings") or {}
        listed = list(content.get(_PROJECT, content).values())
        images = _images(path, listed, image_name)
        found = [
            _read(region, plane_of((image.get("file_attributes") or {}).get("plane")))
            for image in images
            for region in _listed(image["regions"])
        ]
    except ImageError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise bad_file(path, "VIA file", error) from error
    shown = [one for one in found if one is not None]
    if len(shown) < len(found):
        warn_of_no_area(len(found) - len(shown))
    return Drawing(shown, *read_stated(settings.get(NAME)), in_parts=True)


def _region(ring: Any, attributes: Mapping[str, str]) -> dict[str, Any]:
    shape = {
        "name": "polygon",
        "all_points_x": ring[:, 0].tolist(),
        "all_points_y": ring[:, 1].tolist(),
    }
    return {"shape_attributes": shape, "region_attributes": attributes}


def _texts(known: Mapping[str, Any]) -> dict[str, str]:
    """Return the values as strings, the only type in VIA."""
    kind = class_name(known)
    values = {name: str(value) for name, value in known_values(known).items() if name != "label"}
    return {**values, **({"class": kind} if kind else {})}


def _images(path: Path, listed: list[Any], name: str | None) -> list[Any]:
    """Return the planes of the chosen image."""
    if len(listed) > 1 and all((one.get("file_attributes") or {}).get("plane") for one in listed):
        return listed
    if len(listed) > 1 and name is not None:
        listed = [one for one in listed if Path(str(one["filename"])).name == Path(name).name]
    if len(listed) != 1:
        shown = ", ".join(repr(str(one["filename"])) for one in listed[:5])
        raise ImageError(
            f"{str(path)!r} lists {len(listed)} images{': ' * bool(shown)}{shown}. Expected "
            "one. Choose the image of these labels (--image-name)."
        )
    return listed


def _listed(regions: Any) -> list[Any]:
    """Return the regions as a list; VIA 1 has a mapping."""
    return list(regions.values()) if isinstance(regions, Mapping) else list(regions)


def _read(region: Mapping[str, Any], plane: str) -> DrawnObject | None:
    mask = _mask(region["shape_attributes"])
    if mask is None:
        return None
    attributes = {
        str(name): value
        for name, value in (region.get("region_attributes") or {}).items()
        if isinstance(value, str | int | float) and value != ""
    }
    label = label_of(attributes.get("label"))
    if label is not None:
        attributes.pop("label")
    kinds = [name for name in _CLASSES if name in attributes]
    if not kinds and len(attributes) == 1:
        kinds = list(attributes)
    known: dict[str, Any] = {"class": str(attributes.pop(kinds[0]))} if kinds else {}
    known |= {name: number_or_text(value) for name, value in attributes.items()}
    return DrawnObject(mask, tuple(int(at) for at in plane.split()), label, known)


def _mask(shape: Mapping[str, Any]) -> Callable[[tuple[int, int]], PlaneMask] | None:
    """Return the function that paints a region; None if it has no area."""
    kind = shape["name"]
    if kind == "polygon":
        ring = np.stack([shape["all_points_x"], shape["all_points_y"]], axis=1)
        return partial(fill_inclusive, check_ring(ring))
    if kind not in ("rect", "circle", "ellipse"):
        return None
    numbers = {name: value for name, value in shape.items() if is_number(value)}
    if kind == "rect":
        x, y = numbers["x"], numbers["y"]
        right, bottom = x + numbers["width"], y + numbers["height"]
        return partial(fill_edges, [check_ring([[x, y], [right, y], [right, bottom], [x, bottom]])])
    radii = [numbers[name] for name in (("r", "r") if kind == "circle" else ("rx", "ry"))]
    centre = numbers["cx"], numbers["cy"]
    return partial(fill_ellipse, centre, (radii[0], radii[1]), angle=numbers.get("theta", 0.0))
