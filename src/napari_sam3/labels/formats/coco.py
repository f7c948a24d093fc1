"""Reader and writer of COCO annotations with run-length encoded masks (RLE).

Format: https://cocodataset.org/#format-data; compressed counts: pycocotools' ``maskApi.h``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import is_number, label_of, plane_of
from napari_sam3.labels.output_files import replacing
from sam3.errors import ImageError

from .drawn import Drawing, DrawnObject, warn_of_no_area
from .label_planes import objects, plane_positions
from .object_table import class_name, no_class_name, plane_text
from .polygons import check_ring, fill_edges, joined
from .stated import NAME, bad_file, known_values, load_json, read_stated, stated

if TYPE_CHECKING:
    from .output import LabelOutput

__all__ = ["compress_counts", "expand_counts", "read_coco", "write_coco"]


def write_coco(output: LabelOutput, *, image_name: str = "") -> Path:
    """Write one annotation per object and plane; each plane is an image.

    Parameters
    ----------
    output : LabelOutput
        A JSON file. The column "class" of the table becomes the category, "score" the score, and
        the other columns become attributes. Only `read_coco` reads the axes: COCO knows pixels.
    image_name : str
        File name of the image.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    table, axes = output.table, output.axes
    height, width = output.shape[-2:]
    images: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    count = 0
    no_class = no_class_name(table)
    with (
        replacing(output.path, output.overwrite) as partial,
        open(partial, "w", encoding="utf-8") as file,
    ):
        file.write('{"annotations": [')
        for number, position in enumerate(plane_positions(output.labels), 1):
            image = {"id": number, "file_name": image_name, "height": height, "width": width}
            images.append({**image, "plane": plane_text(position)})
            for label, mask in objects(output.labels, position):
                known, count = table.known(label, position), count + 1
                kind = class_name(known) or no_class
                annotation: dict[str, Any] = {
                    "id": count,
                    "image_id": number,
                    "category_id": categories.setdefault(kind, len(categories) + 1),
                    "iscrowd": 0,
                    "label": label,
                    **_shape(mask, height, width),
                }
                others = {k: v for k, v in known_values(known).items() if k != "class"}
                if is_number(others.get("score")):
                    annotation["score"] = others.pop("score")
                if others:
                    annotation["attributes"] = others  # as CVAT has them
                file.write((",\n" if count > 1 else "\n") + json.dumps(annotation))
        named = [{"id": number, "name": name} for name, number in categories.items()]
        about = {**stated(output.shape, axes), "no class": no_class}
        info = {"description": "napari-sam3", NAME: about}
        rest = {"images": images, "categories": named, "info": info}
        file.write("\n],\n" + json.dumps(rest, ensure_ascii=False)[1:] + "\n")
    return output.path


def _shape(mask: PlaneMask, height: int, width: int) -> dict[str, Any]:
    top, left, bottom, right = mask.bbox
    counts = compress_counts(_counts(mask, height, width))
    return {
        "area": mask.area,
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": {"size": [height, width], "counts": counts},
    }


def _counts(mask: PlaneMask, height: int, width: int) -> list[int]:
    """Return the run lengths of a mask in its whole plane, column by column.

    Runs of unset and set pixels alternate, starting with unset ones.
    """
    columns, rows = np.nonzero(mask.crop.T)
    places: npt.NDArray[np.int64] = (columns + mask.column) * height + rows + mask.row
    starts = places[np.flatnonzero(np.diff(places, prepend=-2) > 1)]
    stops = places[np.flatnonzero(np.diff(places, append=places[-1] + 2) > 1)] + 1
    edges = np.stack([starts, stops], axis=1).ravel()
    counts: list[int] = np.diff(edges, prepend=0, append=height * width).tolist()
    return counts if counts[-1] else counts[:-1]


def compress_counts(counts: Sequence[int]) -> str:
    """Compress run lengths to COCO's string.

    From the fourth number on, the difference to the number two positions earlier is stored. Each
    value is split into groups of five bits, lowest first; a sixth bit marks that more groups
    follow. 48 is added to get ASCII characters.
    """
    text = bytearray()
    for at, count in enumerate(counts):
        rest = count - counts[at - 2] if at > 2 else count
        more = True
        while more:
            group, rest = rest & 31, rest >> 5
            more = rest != (-1 if group & 16 else 0)
            text.append(48 + (group | 32 if more else group))
    return text.decode("ascii")


def read_coco(path: Path, image_name: str | None = None) -> Drawing:
    """Read the annotations of one image or of its planes, as outlines or run lengths.

    The label is our own key "label", or else the position in the file. The category becomes
    "class". Annotations with only a box are skipped, with a warning.

    Parameters
    ----------
    path : Path
        Annotations with their images, or a list of results.
    image_name : str, optional
        File name of the image, if the file lists several.

    Raises
    ------
    sam3.errors.ImageError
        If the file is not COCO, or lists several images and none is named.
    """
    content = load_json(path)
    try:
        if isinstance(content, list):  # results of a detector
            content = {"annotations": content}
        info = content.get("info")
        about = info.get(NAME) if isinstance(info, Mapping) else None
        images = _images(path, content, image_name)
        names = {one["id"]: str(one["name"]) for one in content.get("categories", ())}
        chosen = [one for one in content["annotations"] if one["image_id"] in images]
        found = [_read(one, images[one["image_id"]], names, about or {}) for one in chosen]
    except ImageError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise bad_file(path, "COCO file", error) from error
    objects = [one for one in found if one is not None]
    if len(objects) < len(found):
        warn_of_no_area(len(found) - len(objects))
    sizes = {(int(one["height"]), int(one["width"])) for one in images.values() if "height" in one}
    shape, axes = read_stated(about)
    return Drawing(objects, shape, axes, plane_shape=next(iter(sizes), None))


def _images(path: Path, content: Mapping[str, Any], name: str | None) -> dict[Any, Any]:
    """Return the planes of the chosen image by id."""
    listed = content.get("images") or [{"id": n} for n in _ids(content["annotations"])]
    files = list(dict.fromkeys(str(one.get("file_name", one["id"])) for one in listed))
    if name is not None and (len(files) > 1 or name in files):
        wanted = [one for one in files if Path(one).name == Path(name).name]
        listed = [one for one in listed if str(one.get("file_name", one["id"])) in wanted]
    elif len(files) > 1:
        listed = []
    in_planes = all("plane" in one for one in listed)
    if not listed or (len(listed) > 1 and not in_planes):
        shown = ", ".join(map(repr, files[:5])) + (", ..." if len(files) > 5 else "")
        raise ImageError(
            f"{str(path)!r} lists {len(files)} image(s): {shown}. Expected the name of one. "
            "Choose the image of these labels (--image-name)."
        )
    return {one["id"]: one for one in listed}


def _ids(annotations: Sequence[Mapping[str, Any]]) -> list[Any]:
    return list(dict.fromkeys(one["image_id"] for one in annotations))


def _read(
    one: Mapping[str, Any],
    image: Mapping[str, Any],
    names: Mapping[Any, str],
    ours: Mapping[str, Any],
) -> DrawnObject | None:
    """Return an object; None if it has only a box."""
    mask = _mask_of(one.get("segmentation"))
    if mask is None:
        return None
    number = one.get("category_id")
    kind = names.get(number, "" if number is None else str(number))
    known: dict[str, Any] = {"class": kind} if kind and kind != ours.get("no class") else {}
    attributes = one.get("attributes")
    known |= known_values(attributes) if isinstance(attributes, Mapping) else {}
    known |= {"score": one["score"]} if is_number(one.get("score")) else {}
    place = tuple(int(at) for at in plane_of(image.get("plane")).split())
    return DrawnObject(mask, place, label_of(one.get("label")), known)


def _mask_of(segmentation: Any) -> Callable[[tuple[int, int]], PlaneMask] | None:
    if not segmentation:
        return None
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        counts = expand_counts(counts) if isinstance(counts, str | bytes) else counts
        height, width = (int(length) for length in segmentation["size"])
        return partial(_from_counts, np.asarray(counts, np.int64), (height, width))
    parts = [check_ring(np.asarray(part, np.float64).reshape(-1, 2)) for part in segmentation]
    return lambda shape: joined([fill_edges([part], shape) for part in parts])


def _from_counts(
    counts: npt.NDArray[np.int64], size: tuple[int, int], shape: tuple[int, int]
) -> PlaneMask:
    """Decode run lengths, which run column by column."""
    if size != tuple(shape) or (counts < 0).any() or counts.sum() > shape[0] * shape[1]:
        raise ImageError(
            f"run lengths of {counts.sum()} px in {size[0]} x {size[1]} do not fit an image of "
            f"{shape[0]} x {shape[1]} px. Expected the same size. Choose the image of "
            "these annotations."
        )
    edges = np.cumsum(counts)
    starts, stops = edges[:-1:2], edges[1::2]
    starts, stops = starts[stops > starts], stops[stops > starts]
    if not len(starts):
        return joined([])
    height = shape[0]
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    changes = np.zeros((right - left) * height + 1, np.int8)
    changes[starts - left * height] += 1
    changes[stops - left * height] -= 1
    inside = np.cumsum(changes[:-1], dtype=np.int8).astype(bool).reshape(right - left, height)
    return PlaneMask.from_array(inside.T, 0, left)


def expand_counts(text: str | bytes) -> list[int]:
    """Expand COCO's string to run lengths; see `compress_counts`."""
    counts: list[int] = []
    number = shift = 0
    for letter in text.encode("ascii") if isinstance(text, str) else text:
        group = letter - 48
        number |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                number -= 1 << shift
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    return counts
