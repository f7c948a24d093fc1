"""Reader of ImageJ ROIs, as the ROI Manager, StarDist and Cellpose write them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.plain_values import label_of
from sam3.errors import ImageError

from .drawn import STACK, Drawing, DrawnObject, warn_of_no_area
from .imagej_roi import need_roifile
from .polygons import Points, check_ring, fill_edges, fill_ellipse, fill_inclusive
from .stated import NAME, bad_file, check_size, number_or_text, read_stated

if TYPE_CHECKING:
    from roifile import ImagejRoi

    from napari_sam3.core.masks import PlaneMask

__all__ = ["read_imagej_rois"]

_NUMBER = re.compile(r"0*[1-9][0-9]{0,17}")


def read_imagej_rois(path: Path) -> Drawing:
    """Read a ZIP of ROIs, or a single ROI.

    An object has the pixels whose centre lies inside its outline. Cellpose is an exception: its
    outlines run through the centres of pixels; they are recognised by steps of one pixel. The label
    is the property "label", or else the name if the names of all ROIs are numbers. Otherwise (as in
    files by StarDist and ImageJ) objects are numbered. Points and lines are skipped, with a
    warning.

    Raises
    ------
    ExportError
        If roifile is not installed.
    sam3.errors.ImageError
        If the file is damaged.
    """
    need_roifile()
    try:
        rois, comment = _load(path)
        inclusive = bool(rois) and all(map(_through_centres, rois))
        drawn = [(roi, _mask(roi, inclusive)) for roi in rois]
    except ImageError:
        raise
    except Exception as error:  # roifile raises many kinds for damaged files
        raise bad_file(path, "ROI file of ImageJ", error) from error
    with_area = [(roi, mask) for roi, mask in drawn if mask is not None]
    if len(with_area) < len(drawn):
        warn_of_no_area(len(drawn) - len(with_area))
    by_name = all(_NUMBER.fullmatch(roi.name or "") for roi, _ in with_area)
    objects = []
    for roi, mask in with_area:
        known = _properties(roi)
        label = label_of(known.pop("label", roi.name if by_name else None))
        objects.append(DrawnObject(mask, _place(roi), label, known))
    return Drawing(objects, *read_stated(comment.get(NAME)))


def _load(path: Path) -> tuple[list[ImagejRoi], Mapping[str, Any]]:
    from roifile import ImagejRoi

    if not zipfile.is_zipfile(path):
        return [ImagejRoi.frombytes(path.read_bytes())], {}
    with zipfile.ZipFile(path) as file:
        names = [
            name for name in file.namelist()
            if name.lower().endswith(".roi") and not name.startswith("__MACOSX/")
        ]  # fmt: skip
        check_size(sum(file.getinfo(name).file_size for name in names), path)
        rois = [ImagejRoi.frombytes(file.read(name)) for name in names]
        for roi, name in zip(rois, names, strict=True):
            roi.name = roi.name or Path(name).stem
        try:
            comment = json.loads(file.comment.decode("utf-8"))
        except ValueError:  # by another program
            comment = {}
    return rois, comment if isinstance(comment, dict) else {}


def _mask(roi: ImagejRoi, inclusive: bool) -> Callable[[tuple[int, int]], PlaneMask] | None:
    """Return how to paint a ROI; None for one without area."""
    from roifile import ROI_TYPE

    if roi.multi_coordinates is not None:
        return partial(fill_edges, [check_ring(ring) for ring in roi.coordinates(multi=True)])
    left, top, right, bottom = _bounds(roi)
    if roi.roitype == ROI_TYPE.RECT:
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return partial(fill_edges, [check_ring(corners)])
    if roi.roitype == ROI_TYPE.OVAL:
        centre, radii = ((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top)
        return partial(fill_ellipse, centre, (radii[0] / 2, radii[1] / 2))
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        ring = _ring(roi)
        return partial(fill_inclusive, ring) if inclusive else partial(fill_edges, [ring])
    return None


def _ring(roi: ImagejRoi) -> Points:
    return check_ring(roi.coordinates())


def _bounds(roi: ImagejRoi) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom, in subpixels if stored."""
    if roi.subpixelrect:
        return roi.xd, roi.yd, roi.xd + roi.widthd, roi.yd + roi.heightd
    return roi.left, roi.top, roi.right, roi.bottom


def _through_centres(roi: ImagejRoi) -> bool:
    """Return whether an outline steps from pixel to pixel, as in Cellpose."""
    from roifile import ROI_TYPE

    if roi.multi_coordinates is not None or roi.roitype not in (
        ROI_TYPE.POLYGON,
        ROI_TYPE.FREEHAND,
    ):
        return False
    ring = _ring(roi)
    steps = np.abs(np.roll(ring, -1, 0) - ring).max(axis=1)
    return len(ring) > 2 and bool((ring == np.floor(ring)).all() and (steps == 1).all())


def _place(roi: ImagejRoi) -> Mapping[str, int]:
    """Return the plane of a ROI; ImageJ's 0 means every channel, slice or frame."""
    numbers = {"c": roi.c_position, "z": roi.z_position, "t": roi.t_position}
    if any(numbers.values()):
        return {letter: number - 1 for letter, number in numbers.items() if number > 0}
    return {STACK: roi.position - 1} if roi.position > 0 else {}


def _properties(roi: ImagejRoi) -> dict[str, Any]:
    """Return the properties of a ROI: label, class and others."""
    lines = dict(_split((roi.props or "").splitlines()))
    return {
        name: value if name == "class" else number_or_text(value)
        for name, value in lines.items()
        if name and value
    }


def _split(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()
