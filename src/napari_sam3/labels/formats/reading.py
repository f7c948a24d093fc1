"""Reader of labels in any format, as a label image with a table of objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_sam3.core.axes import ImageAxes, axis_letter
from napari_sam3.images.lazy import open_image
from napari_sam3.images.tiff_file import tiff_of
from sam3.errors import ImageError

from .cellpose import read_cellpose
from .coco import read_coco
from .drawn import Drawing, paint
from .geojson import read_geojson
from .imagej_roi_reading import read_imagej_rois
from .label_files import open_label_file
from .label_planes import check_labels
from .labelme import read_labelme
from .loaded import LoadedLabels, WholeNumbers
from .object_table import ObjectTable
from .stated import load_json
from .tracks.choice import PARENT
from .tracks.ctc import is_ctc, read_ctc
from .via import read_via
from .yolo import read_yolo

__all__ = ["INPUTS", "LABEL_IMAGE", "input_format", "read_labels"]


def _read_tracks(path: Path) -> LoadedLabels:
    """Read masks of the Cell Tracking Challenge; the table has the parents of tracks."""
    labels, parents = read_ctc(path)
    rows = {(n, ""): {PARENT: " ".join(map(str, many))} for n, many in parents.items()}
    axes = ImageAxes.of("tzyx" if labels.ndim == 4 else "tyx")
    return LoadedLabels(labels, axes, ObjectTable(rows))


#: Format name of label images.
LABEL_IMAGE = "label-image"
#: Readers by format name; those in `_NAMED` also take the name of the image.
INPUTS: dict[str, Callable[..., Drawing | LoadedLabels]] = {
    "imagej-roi": read_imagej_rois,
    "geojson": read_geojson,
    "coco": read_coco,
    "cellpose": read_cellpose,
    "yolo": read_yolo,
    "via": read_via,
    "labelme": read_labelme,
    "ctc": _read_tracks,
}
_NAMED = ("coco", "yolo", "via")
_TABLES = (".csv", ".parquet")
_TRACKS = (".geff", ".tracks.csv")
_BY_SUFFIX = {
    ".zip": "imagej-roi",
    ".roi": "imagej-roi",
    ".geojson": "geojson",
    ".txt": "yolo",
}


def read_labels(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    image: str | os.PathLike[str] | None = None,
    shape: Sequence[int] | None = None,
    axes: ImageAxes | None = None,
    image_name: str | None = None,
    rgb: bool | None = None,
) -> LoadedLabels:
    """Read labels in any format: label images, outlines and run lengths.

    Parameters
    ----------
    path : str or path-like
        File or folder.
    format : str, optional
        A name of `INPUTS`, or `LABEL_IMAGE`; detected by name and content by default.
    image : str or path-like, optional
        The image of the labels. It gives their shape, which many formats do not store, and their
        axes if the file does not state them.
    shape : sequence of int, optional
        Shape of the labels, instead of an image.
    axes : ImageAxes, optional
        Axes of the labels, instead of an image.
    image_name : str, optional
        The image in a file that lists several; the name of `image` by default.
    rgb : bool, optional
        For label images, see `open_label_file`.

    Returns
    -------
    LoadedLabels
        Close it when its data are no longer needed.

    Raises
    ------
    sam3.errors.ImageError
        If the file cannot be read, its shape is unknown, or differs from that of the image.
    ExportError
        If a package that the format needs is not installed.
    """
    path = Path(path)
    if not path.exists() and tiff_of(path) is None:
        raise ImageError(
            f"label file {str(path)!r} does not exist. Expected a file or folder. Check the path."
        )
    name = input_format(path) if format is None else format
    if name != LABEL_IMAGE and name not in INPUTS:
        raise ImageError(
            f"unknown input format: {name!r}. Expected one of "
            f"{', '.join((LABEL_IMAGE, *INPUTS))}. Choose one."
        )
    if image is not None:
        shape, axes = _of_image(image, shape, axes)
        image_name = Path(image).name if image_name is None else image_name
    if name == LABEL_IMAGE:
        found: Drawing | LoadedLabels = _label_image(path, rgb)
    else:
        options = {"image_name": image_name} if name in _NAMED else {}
        found = INPUTS[name](path, **options)
    if isinstance(found, Drawing):
        found = _painted(found, path, shape, axes)
    return _fitted(replace(found, format=name), path, shape, axes)


def input_format(path: str | os.PathLike[str]) -> str:
    """Detect the format of a file by its name, or by its content.

    Raises
    ------
    sam3.errors.ImageError
        If the file holds no labels.
    """
    path = Path(path)
    lower, suffix = path.name.lower(), path.suffix.lower()
    if path.is_dir() and (path / "data.yaml").is_file():
        return "yolo"
    if is_ctc(path):
        return "ctc"
    if lower.endswith(_TRACKS):
        raise ImageError(
            f"{str(path)!r} holds tracks without pixels. Expected labels. Drop it on the viewer "
            "to see its tracks."
        )
    if path.is_dir():
        return LABEL_IMAGE
    if suffix == ".json":
        return _kind_of_json(path)
    if suffix in _TABLES:
        raise ImageError(
            f"{str(path)!r} is a table, which holds no pixels. Expected labels. Open the label "
            "image that it describes, or pass it as the table of that image (--table)."
        )
    if suffix == ".npy" and (lower.endswith("_seg.npy") or _holds_objects(path)):
        return "cellpose"
    return _BY_SUFFIX.get(suffix, LABEL_IMAGE)


def _kind_of_json(path: Path) -> str:
    content = load_json(path)
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, dict):
        if "segmentation" in first or "annotations" in first:
            return "coco"
        if "type" in first:
            return "geojson"
        if "shapes" in first:
            return "labelme"
        if "_via_img_metadata" in first or all(
            isinstance(one, dict) and "regions" in one for one in first.values()
        ):
            return "via"
    if content == []:
        return "coco"
    raise ImageError(
        f"{str(path)!r} holds no labels. Expected JSON of COCO, GeoJSON, labelme or VIA. "
        "Check the file."
    )


def _holds_objects(path: Path) -> bool:
    try:
        return bool(np.load(path, mmap_mode="r", allow_pickle=False).dtype.hasobject)
    except ValueError as error:
        return "pickle" in str(error).lower() or "object" in str(error).lower()
    except OSError:
        return False


def _of_image(
    image: str | os.PathLike[str], shape: Sequence[int] | None, axes: ImageAxes | None
) -> tuple[Sequence[int], ImageAxes]:
    opened = open_image(image)
    try:
        return (opened.shape if shape is None else shape), (opened.axes if axes is None else axes)
    finally:
        opened.close()


def _label_image(path: Path, rgb: bool | None) -> LoadedLabels:
    image = open_label_file(path, rgb=rgb)
    data = image.data[0] if image.multiscale else image.data
    if np.dtype(data.dtype).kind == "f":
        data = WholeNumbers(data, repr(str(path)))
    return LoadedLabels(data, image.known_axes, _kept(path), file=image)


def _kept(path: Path) -> ObjectTable:
    """Return the properties of an OME-Zarr label image; empty for other files."""
    from napari_sam3.labels.ome_zarr import open_labels

    if not path.is_dir():
        return ObjectTable()
    try:
        return ObjectTable.from_properties(open_labels(path, read_only=True).properties)
    except ImageError:  # another zarr
        return ObjectTable()


def _painted(
    drawing: Drawing, path: Path, shape: Sequence[int] | None, axes: ImageAxes | None
) -> LoadedLabels:
    size = drawing.shape or shape or drawing.plane_shape
    if size is None:
        raise ImageError(
            f"{str(path)!r} does not state the size of its image. Expected the size from an "
            "image. Open the image in napari first, or pass the image (--image) or its size "
            "(--shape)."
        )
    known = next((one for one in (drawing.axes, axes) if one and one.ndim == len(size)), None)
    labels, table = paint(drawing, size, known or ImageAxes.default(len(size)))
    return LoadedLabels(labels, known, table)


def _fitted(
    found: LoadedLabels, path: Path, shape: Sequence[int] | None, axes: ImageAxes | None
) -> LoadedLabels:
    """Check the shape, and use the axes of the image if the file states none."""
    try:
        check_labels(found.data)
        if shape is not None and tuple(found.data.shape) != tuple(shape):
            alone = axes is not None and _of_a_channel(shape, axes) == tuple(found.data.shape)
            remedy = "Choose the image of these labels."
            if alone:  # the Cell Tracking Challenge has no channels
                remedy = "Split the channels of the image by 'Split Stack', and choose one."
            raise ImageError(
                f"{str(path)!r} holds labels of {_size(found.data.shape)}, the image has "
                f"{_size(shape)}. Expected the same size. {remedy}"
            )
    except ImageError:
        found.close()
        raise
    ndim = found.data.ndim
    # Axes in pixels from 0 mean that the file states none.
    unknown = found.known_axes is None or _counts_pixels(found.known_axes)
    if unknown and axes is not None and axes.ndim == ndim:
        return replace(found, known_axes=axes)
    return found


def _of_a_channel(shape: Sequence[int], axes: ImageAxes) -> tuple[int, ...]:
    """Return the shape of one channel."""
    names = zip(shape, axes.names, strict=False)  # axes of another image fit nothing
    return tuple(int(length) for length, name in names if axis_letter(name) != "c")


def _counts_pixels(axes: ImageAxes) -> bool:
    nothing = ImageAxes.default(axes.ndim)
    return (axes.units, axes.scale, axes.translate) == (
        nothing.units, nothing.scale, nothing.translate
    )  # fmt: skip


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(int(length)) for length in shape)
