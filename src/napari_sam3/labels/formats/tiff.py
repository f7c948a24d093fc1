"""Writer of label images as TIFF, with ImageJ or OME metadata."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.output_files import ExportError, replacing

from .label_planes import WHOLE_PIXELS, check_labels, id_range, plane_positions, read_region

__all__ = ["write_labels"]

TILE = 1024
#: Unit symbols of OME, and the order of axes in ImageJ.
_SYMBOLS = {
    "angstrom": "Å", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "centimeter": "cm",
    "meter": "m", "inch": "in", None: "pixel", "nanosecond": "ns", "microsecond": "µs",
    "millisecond": "ms", "second": "s", "minute": "min", "hour": "h", "day": "d",
}  # fmt: skip
_IMAGEJ = "TZCYX"
_IMAGEJ_BYTES = 1 << 32


def write_labels(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    ome: bool | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a label image as a compressed TIFF, one plane or tile at a time.

    Parameters
    ----------
    path : str or path-like
        File to write; missing folders are created.
    labels : array-like of integers, ... x H x W
        Stored as uint16, or as uint32 if an id exceeds 65535.
    axes : ImageAxes, optional
        Names, units and scale for the metadata. The sign of a negative scale is lost, with a
        warning.
    ome : bool, optional
        OME instead of ImageJ metadata; by default for names such as ``labels.ome.tif``, ids above
        65535 and slides, which ImageJ metadata cannot describe. Labels with axes other than time,
        depth and channels get neither.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the ids cannot be stored, the file exists, or the folder is read-only.
    sam3.errors.ImageError
        If the labels are not a label image.
    """
    import tifffile

    check_labels(labels)
    path = Path(path)
    axes = ImageAxes.default(labels.ndim) if axes is None else _without_direction(axes, path)
    with replacing(path, overwrite) as partial:
        dtype = _dtype(labels)
        tiled = labels.shape[-2] * labels.shape[-1] > WHOLE_PIXELS
        letters = _letters(axes)
        nbytes = int(np.prod(labels.shape, dtype=np.int64)) * dtype.itemsize
        if ome is None:
            ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
            ome = ome or dtype.itemsize > 2 or tiled or nbytes >= _IMAGEJ_BYTES
            ome = ome or letters is None or not _in_order(letters)
        options: dict[str, Any] = {"metadata": {}}  # tifffile stores the shape
        if letters is not None:
            options = _ome(axes, letters) if ome else _imagej(axes, letters)
        if tiled:
            options["tile"] = (TILE, TILE)
        tifffile.imwrite(
            partial,
            _tiles(labels, dtype) if tiled else _pages(labels, dtype),
            shape=tuple(labels.shape),
            dtype=dtype,
            compression="zlib",
            photometric="minisblack",
            bigtiff=bool(ome and nbytes >= _IMAGEJ_BYTES),
            **options,
        )
    return path


def _without_direction(axes: ImageAxes, path: Path) -> ImageAxes:
    """Return axes with positive scales; TIFF metadata has no others."""
    turned = [name for name, step in zip(axes.names, axes.scale, strict=True) if step < 0]
    if not turned:
        return axes
    warnings.warn(
        f"the scale is negative along {', '.join(turned)}: {axes.scale}. TIFF stores no sign, so "
        f"{path.name!r} gets {tuple(map(abs, axes.scale))}. Choose OME-Zarr to keep the sign.",
        stacklevel=3,
    )
    return replace(axes, scale=tuple(map(abs, axes.scale)))


def _dtype(labels: Any) -> np.dtype[Any]:
    lowest, highest = id_range(labels)
    if lowest < 0 or highest > np.iinfo(np.uint32).max:
        raise ExportError(
            f"label ids from {lowest} to {highest} do not fit a label TIFF. Expected 0 to "
            f"{np.iinfo(np.uint32).max}. Renumber the labels, or choose OME-Zarr."
        )
    return np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)


def _letters(axes: ImageAxes) -> str | None:
    """Return one letter per axis; None if an axis has no letter."""
    letters = "".join(axes.letters()).upper()
    return f"{letters}YX" if len(letters) == axes.ndim - 2 else None


def _in_order(letters: str) -> bool:
    return sorted(letters, key=_IMAGEJ.index) == list(letters)


def _imagej(axes: ImageAxes, letters: str) -> dict[str, Any]:
    step = dict(zip(letters, axes.scale, strict=True))
    unit = dict(zip(letters, axes.units, strict=True))
    about: dict[str, Any] = {"axes": letters, "unit": _imagej_unit(unit["X"])}
    if unit["Y"] != unit["X"]:
        about["yunit"] = _imagej_unit(unit["Y"])
    if "Z" in step:
        about["spacing"] = step["Z"]
        if unit["Z"] != unit["X"]:
            about["zunit"] = _imagej_unit(unit["Z"])
    if "T" in step:
        about |= {"finterval": step["T"], "tunit": _imagej_unit(unit["T"])}
    resolution = 1 / step["X"], 1 / step["Y"]
    return {"imagej": True, "metadata": about, "resolution": resolution}


def _imagej_unit(unit: str | None) -> str:
    symbol = "um" if unit == "micrometer" else _SYMBOLS.get(unit, str(unit))
    return symbol.encode("ascii", "ignore").decode()  # ImageJ metadata are ASCII


def _ome(axes: ImageAxes, letters: str) -> dict[str, Any]:
    about: dict[str, Any] = {"axes": letters}
    for letter, step, unit in zip(letters, axes.scale, axes.units, strict=True):
        if letter == "C" or unit not in _SYMBOLS or (letter == "T" and unit is None):
            continue
        name = "TimeIncrement" if letter == "T" else f"PhysicalSize{letter}"
        about |= {name: step, f"{name}Unit": _SYMBOLS[unit]}
    return {"ome": True, "metadata": about}


def _pages(labels: Any, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    for position in plane_positions(labels):
        yield read_region(labels, position).astype(dtype)


def _tiles(labels: Any, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    height, width = labels.shape[-2:]
    for position in plane_positions(labels):
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                rows, columns = slice(top, top + TILE), slice(left, left + TILE)
                yield read_region(labels, position, rows, columns).astype(dtype)
