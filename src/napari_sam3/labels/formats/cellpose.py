"""Masks of Cellpose: the files of its window (``_seg.npy``) and of its training (``_masks.tif``).

Written from the files that Cellpose 4 saves. In a ``_seg.npy`` objects are numbered 1 to n, since
Cellpose numbers others anew; their labels are kept beside them, and found again by this reader.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.plain_values import label_of
from napari_sam3.labels.output_files import ExportError, replacing
from sam3.errors import ImageError

from .label_planes import check_labels, id_range
from .loaded import LoadedLabels
from .object_table import ObjectTable
from .plain_pickle import load_pickled_npy
from .stated import NAME, known_values, read_stated, stated
from .tiff import write_labels

__all__ = ["read_cellpose", "write_cellpose", "write_cellpose_masks"]


def write_cellpose(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    image_name: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a ``_seg.npy``, which Cellpose's window opens beside its image.

    Parameters
    ----------
    path : str or path-like
        File to write: the name of the image with ``_seg.npy`` in place of its ending.
    labels : array-like of integers, H x W or Z x H x W
        Label image; it is read whole, as Cellpose does.
    axes : ImageAxes, optional
        Kept for this reader; Cellpose knows pixels only.
    table : ObjectTable, optional
        Kept for this reader.
    image_name : str
        File name of the image, which Cellpose opens.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ExportError
        If there are more than three axes, labels below 0, or the file cannot be written.
    sam3.errors.ImageError
        If it is not a label image.
    """
    check_labels(labels)
    _check_axes(labels.shape, "_seg.npy")
    axes = ImageAxes.default(labels.ndim) if axes is None else axes
    table = (table or ObjectTable()).fitted(labels.shape, axes.names)
    pixels = np.asarray(labels[...])
    ids, numbered = np.unique(np.append(pixels.ravel(), 0), return_inverse=True)
    if ids[0] < 0:
        raise ExportError(
            f"labels down to {ids[0]} do not fit a file of Cellpose. Expected labels from 0 on. "
            "Choose another format, such as OME-Zarr"
        )
    count = len(ids) - 1
    kind = np.uint16 if count < (1 << 16) - 1 else np.uint32  # as Cellpose chooses them
    masks = numbered[:-1].reshape(pixels.shape).astype(kind)
    present = set(ids.tolist())
    rows = [
        [label, plane, known_values(table.known(label, map(int, plane.split())))]
        for label, plane in table.rows
        if label in present
    ]
    content = {
        "masks": masks,
        "outlines": np.where(_borders(masks), masks, 0).astype(kind),
        "chan_choose": [0, 0],
        "ismanual": np.ones(count, bool),
        "filename": image_name or Path(path).name.replace("_seg.npy", ".tif"),
        "flows": [],
        "diameter": np.nan,
        NAME: {**stated(labels.shape, axes), "labels": ids[1:].tolist(), "table": rows},
    }
    with replacing(path, overwrite) as partial, open(partial, "wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)
    return Path(path)


def write_cellpose_masks(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    table: ObjectTable | None = None,
    **options: Any,
) -> Path:
    """Write a ``_masks.tif``, from which Cellpose trains; see `write_labels` for its options.

    Raises
    ------
    ExportError
        If there are more than three axes, or the file cannot be written.
    """
    check_labels(labels)
    _check_axes(labels.shape, "_masks.tif")
    return write_labels(path, labels, **options)


def read_cellpose(path: Path) -> LoadedLabels:
    """Read a ``_seg.npy``; nothing in it is run.

    Raises
    ------
    sam3.errors.ImageError
        If it holds no masks, or would run code.
    """
    content = load_pickled_npy(path)
    masks = content.get("masks") if isinstance(content, Mapping) else None
    if not isinstance(masks, np.ndarray) or masks.ndim < 2 or masks.dtype.kind not in "iub":
        raise ImageError(
            f"{str(path)!r} holds no masks. Expected a _seg.npy of Cellpose with 'masks', an array "
            "of integers. Check the file"
        )
    masks = masks + 1 if masks.size and masks.min() == -1 else masks  # of older versions
    if masks.ndim == 3 and len(masks) == 1:
        masks = masks[0]
    ours = content.get(NAME)
    shape, axes = read_stated(ours)
    if shape is None or int(np.prod(shape)) != masks.size or shape[-2:] != masks.shape[-2:]:
        return LoadedLabels(masks)
    masks, rows = masks.reshape(shape), {}
    ids = [label_of(label) for label in ours.get("labels", ())]
    # Cellpose numbers objects anew when it saves, and drops what it does not know.
    if None not in ids and id_range(masks)[1] == len(ids):
        masks = np.array([0, *ids], _kind(ids))[masks]
        rows = _rows(ours.get("table", ()))
    return LoadedLabels(masks, axes, ObjectTable(rows))


def _rows(listed: Any) -> dict[tuple[int, str], Mapping[str, Any]]:
    return {
        (int(label), str(plane)): known
        for label, plane, known in (listed if isinstance(listed, list) else ())
        if isinstance(known, Mapping) and label_of(label) is not None
    }


def _kind(ids: Sequence[Any]) -> Any:
    largest = max(ids, default=0)
    return next(t for t in (np.uint16, np.uint32, np.uint64) if largest <= np.iinfo(t).max)


def _check_axes(shape: Sequence[int], name: str) -> None:
    if len(shape) > 3:
        raise ExportError(
            f"labels of shape {tuple(shape)} do not fit a {name} of Cellpose. Expected rows and "
            "columns, and planes at most. Export one time point or channel"
        )


def _borders(masks: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return the pixels beside a pixel of another label in their plane."""
    border = np.zeros(masks.shape, bool)
    for axis in (-2, -1):
        one, other = np.moveaxis(masks, axis, 0), np.moveaxis(border, axis, 0)
        differs = one[1:] != one[:-1]
        other[1:] |= differs
        other[:-1] |= differs
    return border
