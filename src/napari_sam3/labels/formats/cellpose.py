"""Reader and writer of Cellpose masks: ``_seg.npy`` of its GUI, ``_masks.tif`` for training.

Follows the files that Cellpose 4 saves. Cellpose renumbers the objects of a ``_seg.npy``, so they
are written as 1 to n, with their labels in a list that `read_cellpose` restores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.plain_values import label_of
from napari_sam3.labels.output_files import ExportError, replacing
from sam3.errors import ImageError

from .drawn import label_type
from .label_planes import id_range
from .loaded import LoadedLabels
from .object_table import ObjectTable
from .plain_pickle import load_pickled_npy
from .stated import NAME, known_values, read_stated, stated
from .tiff import write_labels

if TYPE_CHECKING:
    from .output import LabelOutput

__all__ = ["read_cellpose", "write_cellpose", "write_cellpose_masks"]


def write_cellpose(output: LabelOutput, *, image_name: str = "") -> Path:
    """Write a ``_seg.npy`` file, which the Cellpose GUI opens together with its image.

    Parameters
    ----------
    output : LabelOutput
        A file named after the image, with ``_seg.npy`` instead of its extension. The labels,
        H x W or Z x H x W, are read whole, as in Cellpose. Only `read_cellpose` reads the axes and
        the table.
    image_name : str
        File name of the image, which Cellpose opens.

    Raises
    ------
    ExportError
        If there are more than three axes or negative labels, or the file cannot be written.
    """
    path, labels, table = output.path, output.labels, output.table
    _check_axes(output.shape, "_seg.npy")
    pixels = np.asarray(labels[...])
    ids, numbered = np.unique(np.append(pixels.ravel(), pixels.dtype.type(0)), return_inverse=True)
    if ids[0] < 0:
        raise ExportError(
            f"negative labels do not fit a Cellpose file: {ids[0]}. Expected labels from 0. "
            "Choose another format, such as OME-Zarr."
        )
    count = len(ids) - 1
    kind = np.uint16 if count < (1 << 16) - 1 else np.uint32  # as in Cellpose
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
        "filename": image_name or path.name.replace("_seg.npy", ".tif"),
        "flows": [],
        "diameter": np.nan,
        NAME: {**stated(output.shape, output.axes), "labels": ids[1:].tolist(), "table": rows},
    }
    with replacing(path, output.overwrite) as partial, open(partial, "wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)
    return path


def write_cellpose_masks(output: LabelOutput) -> Path:
    """Write a ``_masks.tif`` file, from which Cellpose trains; see `write_labels`.

    Raises
    ------
    ExportError
        If there are more than three axes, or the file cannot be written.
    """
    _check_axes(output.shape, "_masks.tif")
    return write_labels(output.path, output.labels, axes=output.axes, overwrite=output.overwrite)


def read_cellpose(path: Path) -> LoadedLabels:
    """Read a ``_seg.npy`` file without running code from it.

    Raises
    ------
    sam3.errors.ImageError
        If the file holds no masks, or would run code.
    """
    content = load_pickled_npy(path)
    masks = content.get("masks") if isinstance(content, Mapping) else None
    if not isinstance(masks, np.ndarray) or masks.ndim < 2 or masks.dtype.kind not in "iub":
        raise ImageError(
            f"{str(path)!r} holds no masks. Expected a _seg.npy of Cellpose with 'masks', an array "
            "of integers. Check the file."
        )
    masks = masks + 1 if masks.size and masks.min() == -1 else masks  # older versions
    if masks.ndim == 3 and len(masks) == 1:
        masks = masks[0]
    ours = content.get(NAME)
    shape, axes = read_stated(ours)
    if shape is None or int(np.prod(shape)) != masks.size or shape[-2:] != masks.shape[-2:]:
        return LoadedLabels(masks)
    masks, rows = masks.reshape(shape), {}
    listed = ours.get("labels", ())
    ids = [label for label in map(label_of, listed) if label is not None]
    # After a save by Cellpose the objects are renumbered, and the labels do not apply.
    if len(ids) == len(listed) and id_range(masks)[1] == len(ids):
        masks = np.array([0, *ids], label_type(ids))[masks]
        rows = _rows(ours.get("table", ()))
    return LoadedLabels(masks, axes, ObjectTable(rows))


def _rows(listed: Any) -> dict[tuple[int, str], Mapping[str, Any]]:
    return {
        (int(label), str(plane)): known
        for label, plane, known in (listed if isinstance(listed, list) else ())
        if isinstance(known, Mapping) and label_of(label) is not None
    }


def _check_axes(shape: Sequence[int], name: str) -> None:
    if len(shape) > 3:
        raise ExportError(
            f"labels of shape {tuple(shape)} do not fit a {name} file. Expected rows and "
            "columns, and at most one axis of planes. Export one time point or channel."
        )


def _borders(masks: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return the pixels with a neighbour of another label in their plane."""
    border = np.zeros(masks.shape, bool)
    for axis in (-2, -1):
        one, other = np.moveaxis(masks, axis, 0), np.moveaxis(border, axis, 0)
        differs = one[1:] != one[:-1]
        other[1:] |= differs
        other[:-1] |= differs
    return border
