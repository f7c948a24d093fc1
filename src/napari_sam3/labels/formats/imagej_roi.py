"""Writer of ImageJ ROIs, as a ZIP file for the ROI Manager."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.labels.output_files import ExportError, missing_package, replacing

from .label_planes import Position, objects, plane_positions
from .object_table import ObjectTable, class_name
from .outlines import Outline, outlines
from .stated import NAME, known_values, stated

if TYPE_CHECKING:
    from roifile import ImagejRoi

    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.core.masks import PlaneMask

    from .output import LabelOutput

__all__ = ["need_roifile", "write_imagej_rois"]

#: The largest coordinate that all versions of ImageJ read.
_FARTHEST = 32767
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_imagej_rois(output: LabelOutput) -> Path:
    """Write one ROI per object and plane.

    Objects of one part without holes become traced polygons, all others composites. Both follow
    the edges of pixels, so that ImageJ fills the same pixels. A ROI is named after its label,
    plane and class, is shown on its plane, and has the label and the values of the table as
    properties.

    Parameters
    ----------
    output : LabelOutput
        A ZIP file; up to three axes before rows and columns.

    Raises
    ------
    ExportError
        If roifile is not installed, the image is too large for ImageJ, or the file cannot be
        written.
    """
    need_roifile()
    labels, axes, table = output.labels, output.axes, output.table
    if max(labels.shape[-2:]) > _FARTHEST or labels.ndim > 5:
        raise ExportError(
            f"labels of shape {tuple(labels.shape)} do not fit ImageJ ROIs. Expected up to 5 axes, "
            f"and up to {_FARTHEST} rows and columns. Choose another format, such as GeoJSON."
        )
    with (
        replacing(output.path, output.overwrite) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for position in plane_positions(labels):
            for label, mask in objects(labels, position):
                name = _name(label, position, table)
                roi = _roi(mask, position, axes)
                roi.name, roi.props = name, _properties(label, table.known(label, position))
                file.writestr(f"{name}.roi", roi.tobytes())
        file.comment = json.dumps({NAME: stated(output.shape, axes)}).encode()
    return output.path


def need_roifile() -> None:
    """Raise ExportError if roifile is not installed."""
    try:
        import roifile  # noqa: F401
    except ImportError as error:
        raise missing_package("roifile", "the ROI format of ImageJ", "formats") from error


def _name(label: int, position: Position, table: ObjectTable) -> str:
    places = [f"{at:04d}" for at in position]
    kind = class_name(table.known(label, position))
    # It is also a file name in the ZIP.
    safe = "".join(letter if letter.isalnum() else "_" for letter in kind)
    return "-".join([f"{label:04d}", *places, *([safe] if safe else [])])


def _properties(label: int, known: Mapping[str, Any]) -> str:
    """Return label and values as ImageJ stores ROI properties: one per line."""
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
    """Return rings as ImageJ stores a path: move, line and close commands."""
    path: list[float] = []
    for part in parts:
        for ring in (part.outside, *part.holes):
            for at, (x, y) in enumerate(ring.tolist()):
                path += [_LINE if at else _MOVE, x, y]
            path.append(_CLOSE)
    return np.array(path, np.float32)


def _place(roi: ImagejRoi, position: Position, axes: ImageAxes) -> None:
    """Set the slice of a ROI in its stack or hyperstack, counted from 1."""
    if len(position) == 1:
        roi.position = position[0] + 1
    elif position:
        for letter, at in zip(axes.letters(), position, strict=True):
            setattr(roi, f"{letter}_position", at + 1)
