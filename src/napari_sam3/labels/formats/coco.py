"""Objects as COCO annotations with run lengths (RLE).

Written from the format at https://cocodataset.org/#format-data, and for the compressed counts from
the description in pycocotools' ``maskApi.h``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.plain_values import is_number
from napari_sam3.labels.output_files import replacing

from .label_planes import check_labels, objects, plane_positions
from .object_table import ObjectTable, class_name, plane_text

__all__ = ["compress_counts", "write_coco"]

_NO_CLASS = "object"


def write_coco(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    image_name: str = "",
    overwrite: bool = False,
) -> Path:
    """Write one annotation for each object on each plane; planes are images.

    Parameters
    ----------
    path : str or path-like
        JSON file to write.
    labels : array-like of integers, ... x H x W
        Label image.
    axes : ImageAxes, optional
        Of no meaning here: COCO knows pixels only.
    table : ObjectTable, optional
        Its column "class" becomes the category, "score" the score.
    image_name : str
        File name of the image, as COCO wants it.
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
    table = (table or ObjectTable()).fitted(labels.shape)
    height, width = (int(length) for length in labels.shape[-2:])
    images: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    count = 0
    with replacing(path, overwrite) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for number, position in enumerate(plane_positions(labels), 1):
            image = {"id": number, "file_name": image_name, "height": height, "width": width}
            images.append({**image, "plane": plane_text(position)})
            for label, mask in objects(labels, position):
                known, count = table.known(label, position), count + 1
                kind = class_name(known) or _NO_CLASS
                annotation: dict[str, Any] = {
                    "id": count,
                    "image_id": number,
                    "category_id": categories.setdefault(kind, len(categories) + 1),
                    "iscrowd": 0,
                    "label": label,
                    **_shape(mask, height, width),
                }
                if is_number(known.get("score")):
                    annotation["score"] = known["score"]
                file.write((",\n" if count > 1 else "\n") + json.dumps(annotation))
        named = [{"id": number, "name": name} for name, number in categories.items()]
        rest = {"images": images, "categories": named, "info": {"description": "napari-sam3"}}
        file.write("\n],\n" + json.dumps(rest, ensure_ascii=False)[1:] + "\n")
    return Path(path)


def _shape(mask: PlaneMask, height: int, width: int) -> dict[str, Any]:
    top, left, bottom, right = mask.bbox
    counts = compress_counts(_counts(mask, height, width))
    return {
        "area": mask.area,
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": {"size": [height, width], "counts": counts},
    }


def _counts(mask: PlaneMask, height: int, width: int) -> list[int]:
    """Return run lengths of the mask in its whole plane, read column by column.

    In turn the number of unset and of set pixels, unset ones first.
    """
    columns, rows = np.nonzero(mask.crop.T)
    places: npt.NDArray[np.int64] = (columns + mask.column) * height + rows + mask.row
    starts = places[np.flatnonzero(np.diff(places, prepend=-2) > 1)]
    stops = places[np.flatnonzero(np.diff(places, append=places[-1] + 2) > 1)] + 1
    edges = np.stack([starts, stops], axis=1).ravel()
    counts: list[int] = np.diff(edges, prepend=0, append=height * width).tolist()
    return counts if counts[-1] else counts[:-1]


def compress_counts(counts: Sequence[int]) -> str:
    """Return run lengths as COCO's text.

    Each number, from the fourth on its difference from the one two before it, in groups of five
    bits, the lowest first; a sixth bit says that more follow. 48 is added to make it ASCII.
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
