"""Read labels of other programs as Labels layers on an image."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sam3.errors import Sam3Error

from .label_layer import image_shape, placement
from .readers import features_of, placed
from .writers import layer_axes

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam3.core.axes import ImageAxes

__all__ = ["LayerData", "facts_of", "get_outlines_reader", "layer_data", "read_outlines"]

LayerData = tuple[Any, dict[str, Any], str]
#: Suffixes that Cellpose appends to the name of an image.
_ENDS = re.compile("(_cp)?(_seg|_masks|_rois)$")
Reader = Callable[[str | Sequence[str]], list[LayerData]]


def get_outlines_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader if all paths are labels of a format with objects, or None."""
    paths = [path] if isinstance(path, str) else list(path)
    return read_outlines if paths and all(_holds_objects(Path(one)) for one in paths) else None


def read_outlines(path: str | Sequence[str]) -> list[LayerData]:
    """Read labels of other programs, placed on the image in the viewer if there is one.

    Raises
    ------
    sam3.errors.Sam3Error
        If a file cannot be read, or belongs to another image.
    """
    import napari

    viewer = napari.current_viewer()
    image = None if viewer is None else _image_in(viewer)
    return [layer_data(one, image) for one in ([path] if isinstance(path, str) else path)]


def layer_data(path: str | os.PathLike[str], image: Image | None = None) -> LayerData:
    """Read labels of any format as the data of a Labels layer.

    Parameters
    ----------
    path : str or path-like
        See `napari_sam3.labels.formats.reading.read_labels`.
    image : Image, optional
        Layer of the image, for the shape, and for scale and units if the file has none.

    Raises
    ------
    sam3.errors.Sam3Error
        If the file cannot be read, or belongs to another image.
    """
    from napari_sam3.labels.formats.reading import read_labels

    options = {} if image is None else facts_of(image)
    loaded = read_labels(path, **options)
    try:
        # In memory and with a sufficient dtype, so that objects can be added.
        data = np.array(loaded.data[...])
        axes, table = loaded.axes, loaded.table.fitted(data.shape)
    finally:
        loaded.close()
    if data.dtype.itemsize < 4 or data.dtype.kind == "b":
        data = data.astype(np.uint32)
    about: dict[str, Any] = {
        "name": f"{_ENDS.sub('', Path(path).name.split('.')[0])} labels",
        **placed(axes),
        "metadata": {"format": loaded.format},
    }
    if image is not None and _lies_on(axes, options["axes"]):
        about |= placement(image)  # including rotation
    if table.rows:
        about["features"] = features_of(table)
    return data, about, "labels"


def facts_of(image: Image) -> dict[str, Any]:
    """Return the image's shape, axes and name, for `read_labels`."""
    shape = image_shape(image)
    return {
        "shape": shape,
        "axes": layer_axes(image.as_layer_data_tuple()[1], len(shape)),
        "image_name": Path(image.source.path or image.name).name,
    }


def _lies_on(axes: ImageAxes, image: ImageAxes) -> bool:
    """Whether axes match an image, in translation too unless that is 0, as in TIFF files."""
    same = (axes.scale, axes.units) == (image.scale, image.units)
    return same and axes.translate in (image.translate, (0.0,) * axes.ndim)


def _image_in(viewer: Any) -> Image | None:
    """Return the selected image, or else the topmost one."""
    from napari.layers import Image

    active = viewer.layers.selection.active
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    return active if isinstance(active, Image) else next(reversed(images), None)


def _holds_objects(path: Path) -> bool:
    from napari_sam3.labels.formats.reading import LABEL_IMAGE, input_format

    if not path.exists():
        return False
    try:
        name = input_format(path)
    except Sam3Error:
        return False
    if path.suffix.lower() == ".txt" and name == "yolo":
        return _is_outline(path)
    if path.suffix.lower() == ".zip":
        return _has_rois(path)
    return name not in (LABEL_IMAGE, "ctc")  # which have their own readers


def _has_rois(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.lower().endswith(".roi") for name in file.namelist())


def _is_outline(path: Path) -> bool:
    """Whether a text file begins with numbers, as in YOLO."""
    try:
        with path.open(encoding="utf-8") as file:
            return all(float(word) is not None for word in file.readline(1 << 16).split())
    except ValueError:
        return False
