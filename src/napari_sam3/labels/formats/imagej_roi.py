"""Objects as ROIs of ImageJ, in a ZIP that its ROI Manager opens."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.masks import PlaneMask
from napari_sam3.labels.output_files import ExportError, replacing

from .label_planes import Position, check_labels, objects, plane_positions
from .object_table import ObjectTable, class_name
from .outlines import Outline, outlines
from .stated import NAME, known_values, stated

if TYPE_CHECKING:
    from roifile import ImagejRoi

__all__ = ["need_roifile", "write_imagej_rois"]

#: The largest place that all versions of ImageJ read.
_FARTHEST = 32767
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_imagej_rois(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one ROI for each object on each plane.

    Objects of one part without holes are traced polygons, others composites; both along the edges
    of pixels, so that ImageJ makes the same pixels of them. They are named by label, plane and
    class, appear on their plane, and have label, class and other values as properties.

    Parameters
    ----------
    path : str or path-like
        ZIP file to write.
    labels : array-like of integers, ... x H x W
        With up to three axes before rows and columns.
    axes : ImageAxes, optional
        Which of these are channels, depth and time.
    table : ObjectTable, optional
        Classes, for the names.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ExportError
        If roifile is not installed, the image is too large for ImageJ, or it cannot be written.
    sam3.errors.ImageError
        If it is not a label image.
    """
    need_roifile()
    check_labels(labels)
    axes = ImageAxes.default(labels.ndim) if axes is None else axes
    table = (table or ObjectTable()).fitted(labels.shape, axes.names)
    if max(labels.shape[-2:]) > _FARTHEST or labels.ndim > 5:
        raise ExportError(
            f"ImageJ has no ROIs for labels of shape {tuple(labels.shape)}; expected up to 5 axes, "
            f"and up to {_FARTHEST} rows and columns. Choose another format, such as GeoJSON"
        )
    with (
        replacing(path, overwrite) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for position in plane_positions(labels):
            for label, mask in objects(labels, position):
                name = _name(label, position, table)
                roi = _roi(mask, position, axes)
                roi.name, roi.props = name, _properties(label, table.known(label, position))
                file.writestr(f"{name}.roi", roi.tobytes())
        file.comment = json.dumps({NAME: stated(labels.shape, axes)}).encode()
    return Path(path)


def need_roifile() -> None:
    """Raise ExportError if roifile is not installed."""
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise ExportError(
            "ROIs of ImageJ need roifile, which is not installed; pip install "
            "'napari-sam3[formats]'"
        ) from error


def _name(label: int, position: Position, table: ObjectTable) -> str:
    places = [f"{at:04d}" for at in position]
    kind = class_name(table.known(label, position))
    # It is the name of a file in the ZIP, too.
    safe = "".join(letter if letter.isalnum() else "_" for letter in kind)
    return "-".join([f"{label:04d}", *places, *([safe] if safe else [])])


def _properties(label: int, known: Mapping[str, Any]) -> str:
    """Return the label and what is known, a line each, as ImageJ keeps the properties of a ROI."""
    kind = class_name(known)
    values = {**known_values(known), **({"class": kind} if kind else {}), "label": label}
    lines = {" ".join(name.replace(":", " ").split()): value for name, value in values.items()}
    return "".join(f"{name}: {' '.join(str(value).split())}\n" for name, value in lines.items())


def _roi(mask: PlaneMask, position: Position, axes: ImageAxes) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    parts = outlines(mask)
    top, left, bottom, right = mask.bbox
    roi = ImagejRoi(top=top, left=left, bottom=bottom, right=right)
    if len(parts) == 1 and not parts[0].holes and len(parts[0].outside) < 1 << 16:
        roi.roitype = ROI_TYPE.TRACED
        corners = parts[0].outside - (left, top)
        roi.integer_coordinates, roi.n_coordinates = corners.astype(np.int32), len(corners)
    else:
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = _path(parts)
        roi.shape_roi_size = len(roi.multi_coordinates)
    _place(roi, position, axes)
    return roi


def _path(parts: list[Outline]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return rings as moves, lines and closings, as ImageJ keeps a path."""
    path: list[float] = []
    for part in parts:
        for ring in (part.outside, *part.holes):
            for at, (x, y) in enumerate(ring.tolist()):
                path += [_LINE if at else _MOVE, x, y]
            path.append(_CLOSE)
    return np.array(path, np.float32)


def _place(roi: ImagejRoi, position: Position, axes: ImageAxes) -> None:
    """Put a ROI on its plane, the first being 1: a slice of a stack, or of a hyperstack."""
    if len(position) == 1:
        roi.position = position[0] + 1
    elif position:
        for letter, at in zip(axes.letters(), position, strict=True):
            setattr(roi, f"{letter}_position", at + 1)
