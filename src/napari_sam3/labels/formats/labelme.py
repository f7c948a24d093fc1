"""Reader and writer of labelme files: one JSON file per image.

Follows the files of labelme 5 and 6. labelme fills polygons inclusively, so they run through the
centres of pixels. Objects with holes or several parts are written as labelme's "mask" instead.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import label_of
from napari_sam3.labels.output_files import ExportError, replacing

from .drawn import Drawing, DrawnObject, warn_of_no_area
from .label_planes import objects
from .object_table import class_name, no_class_name
from .polygons import centre_rings, check_ring, fill_ellipse, fill_inclusive
from .stated import NAME, bad_file, known_values, load_json, read_stated, stated

if TYPE_CHECKING:
    from .output import LabelOutput

__all__ = ["read_labelme", "write_labelme"]

_LARGEST_MASK = 1 << 26  # px of one object


def write_labelme(output: LabelOutput, *, image_name: str = "") -> Path:
    """Write one shape per object: its class is labelme's "label", its label the group id.

    Parameters
    ----------
    output : LabelOutput
        A JSON file of a single plane. Only `read_labelme` reads the axes: labelme knows pixels.
    image_name : str
        File name of the image, which labelme opens from the same folder.

    Raises
    ------
    ExportError
        If the labels are a stack, or the file cannot be written.
    """
    path, labels, table = output.path, output.labels, output.table
    if any(length > 1 for length in labels.shape[:-2]):
        raise ExportError(
            f"labels of shape {tuple(labels.shape)} do not fit a labelme file. Expected a "
            "single plane. Export one plane, or choose COCO, which keeps stacks."
        )
    no_class = no_class_name(table)
    position = (0,) * (labels.ndim - 2)
    shapes = []
    for label, mask in objects(labels, position):
        known = table.known(label, position)
        others = {name: value for name, value in known_values(known).items() if name != "class"}
        shapes.append(
            {
                "label": class_name(known) or no_class,
                **_shape(mask),
                "group_id": label,
                "description": "",
                "flags": {},
                **({"attributes": others} if others else {}),  # kept by labelme
            }
        )
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image_name or f"{path.name.removesuffix('.json')}.png",
        "imageData": None,
        "imageHeight": output.shape[-2],
        "imageWidth": output.shape[-1],
        NAME: {**stated(output.shape, output.axes), "no class": no_class},
    }
    with replacing(path, output.overwrite) as written, open(written, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False)
    return path


def read_labelme(path: Path) -> Drawing:
    """Read the shapes of a file; shapes of one group are parts of an object.

    Points and lines are skipped, with a warning.

    Raises
    ------
    sam3.errors.ImageError
        If the file is not a labelme file.
    """
    content = load_json(path)
    try:
        about = content.get(NAME) or {}
        found = [_read(shape, about) for shape in content["shapes"]]
        height, width = content.get("imageHeight"), content.get("imageWidth")
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise bad_file(path, "labelme file", error) from error
    shown = [one for one in found if one is not None]
    if len(shown) < len(found):
        warn_of_no_area(len(found) - len(shown))
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return Drawing(shown, *read_stated(about), plane_shape=size, in_parts=True)


def _shape(mask: PlaneMask) -> dict[str, Any]:
    rings, filled = centre_rings(mask)
    if len(rings) == 1 and not filled:
        return {"shape_type": "polygon", "points": rings[0].tolist(), "mask": None}
    top, left, bottom, right = mask.bbox
    corners = [[left, top], [right - 1, bottom - 1]]
    return {"shape_type": "mask", "points": corners, "mask": _packed(mask.crop)}


def _packed(crop: npt.NDArray[np.bool_]) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(crop.astype(np.uint8) * 255).convert("1").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _unpacked(text: str) -> npt.NDArray[np.bool_]:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        if image.width * image.height > _LARGEST_MASK:
            raise ValueError(f"a mask has {image.width} x {image.height} px")
        pixels = np.asarray(image)
    return (pixels if pixels.ndim == 2 else pixels[..., 0]).astype(bool)


def _read(shape: Mapping[str, Any], about: Mapping[str, Any]) -> DrawnObject | None:
    mask = _mask(shape)
    if mask is None:
        return None
    kind = str(shape.get("label") or "")
    attributes = shape.get("attributes")
    known: dict[str, Any] = {"class": kind} if kind and kind != about.get("no class") else {}
    known |= known_values(attributes) if isinstance(attributes, Mapping) else {}
    return DrawnObject(mask, (), label_of(shape.get("group_id")), known)


def _mask(shape: Mapping[str, Any]) -> Callable[[tuple[int, int]], PlaneMask] | None:
    """Return the function that paints a shape; None if it has no area."""
    kind = shape.get("shape_type") or "polygon"
    points = check_ring(shape["points"])
    if kind in ("polygon", "oriented_rectangle"):
        return partial(fill_inclusive, points)
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return partial(fill_inclusive, check_ring(corners))
    if kind == "circle" and len(points) == 2:
        radius = float(np.hypot(*(points[1] - points[0])))
        centre = float(points[0, 0]) + 0.5, float(points[0, 1]) + 0.5
        return partial(fill_ellipse, centre, (radius + 0.5, radius + 0.5))
    if kind != "mask":
        return None
    crop = _unpacked(shape["mask"])
    left, top = (round(float(at)) for at in points[0])
    return partial(_placed, PlaneMask.from_array(crop, top, left))


def _placed(mask: PlaneMask, shape: tuple[int, int]) -> PlaneMask:
    """Clip a mask to the plane."""
    return PlaneMask.from_array(mask.within((slice(0, shape[0]), slice(0, shape[1]))))
