"""Readers for napari's File > Open: labels with scale, units, classes and table, and sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.labels.beside_images import read_table
from napari_sam3.labels.formats.label_files import open_label_file
from sam3.errors import ImageError, Sam3Error

from .image_files import OPENED_FROM

if TYPE_CHECKING:
    import pandas as pd

    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.labels.formats.object_table import ObjectTable

__all__ = [
    "features_of",
    "get_labels_reader",
    "get_session_reader",
    "placed",
    "read_labels",
    "read_session",
]

LayerData = tuple[Any, dict[str, Any], str]
Reader = Callable[[str | Sequence[str]], list[LayerData]]
# First columns of a features table.
_FIRST = ("index", "class", "score", "plane")


def get_labels_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader if all paths are files of labels, or None."""
    paths = [path] if isinstance(path, str) else list(path)
    return read_labels if paths and all(_holds_labels(one) for one in paths) else None


def get_session_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader of saved sessions, or None."""
    paths = [path] if isinstance(path, str) else list(path)
    return read_session if paths and all(Path(one).is_file() for one in paths) else None


def read_labels(path: str | Sequence[str]) -> list[LayerData]:
    """Read files of labels as Labels layers, with their tables of objects.

    Raises
    ------
    sam3.errors.Sam3Error
        If a file cannot be read.
    """
    paths = [path] if isinstance(path, str) else path
    return [_read_labels(Path(one)) for one in paths]


def read_session(path: str | Sequence[str]) -> list[LayerData]:
    """Read the labels of saved sessions; "Open session" in the panel opens whole sessions.

    Raises
    ------
    sam3.errors.Sam3Error
        If a file cannot be read.
    """
    from napari_sam3.records.saved_session import read_saved_session

    from .saved_sessions import labels_of, objects_table

    found: list[LayerData] = []
    for file in [path] if isinstance(path, str) else path:
        saved = read_saved_session(file)
        about = {
            "name": saved.image.name + " labels",
            "features": features_of(objects_table(saved)),
            "metadata": {OPENED_FROM: (str(file), "")},
        }
        found.append((labels_of(saved), about, "labels"))
    return found


def features_of(table: ObjectTable) -> pd.DataFrame:
    """Return a table of objects as features of a Labels layer, one row per label and plane."""
    import pandas as pd

    rows = [
        {"index": label, **({"plane": plane} if plane else {}), **known}
        for (label, plane), known in table.rows.items()
    ]
    frame = pd.DataFrame(rows)
    order = [name for name in _FIRST if name in frame]
    return frame[[*order, *(name for name in frame if name not in order)]]


def _holds_labels(path: str) -> bool:
    """Whether a file or folder is an image of integers."""
    if not os.path.exists(path):
        return False
    try:
        image = open_label_file(path)
    except Sam3Error:
        return False
    try:
        data = image.data[0] if image.multiscale else image.data
        return np.dtype(data.dtype).kind in "iub"
    finally:
        image.close()


def _read_labels(path: Path) -> LayerData:
    image = open_label_file(path)
    try:
        finest = image.data[0] if image.multiscale else image.data
        if np.dtype(finest.dtype).kind not in "iub":
            raise ImageError(
                f"{str(path)!r} does not hold labels: dtype {finest.dtype}. Expected integers. "
                "Open it as an image."
            )
        # In memory, so that objects can be added; only saving writes the file.
        data = np.array(finest[...])
        if data.dtype.kind in "ub" and data.dtype.itemsize < 4:
            data = data.astype(np.uint32)
        about = {**placed(image.axes), "name": path.name.split(".")[0] + " labels"}
    finally:
        image.close()
    about["metadata"] = {OPENED_FROM: (str(path), "")}
    table = read_table(path)
    if table is not None:
        about["features"] = features_of(table.fitted(data.shape))
    return data, about, "labels"


def placed(axes: ImageAxes) -> Mapping[str, Any]:
    """Return the arguments that place a layer by the axes of a file."""
    return {
        "scale": axes.scale,
        "translate": axes.translate,
        "units": [unit or "pixel" for unit in axes.units],
        "axis_labels": axes.names,
    }
