"""Images inside one file: series of a TIFF, fields of a plate, scenes of a microscope file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sam3.errors import ImageError

from .lazy import LazyImage, open_image
from .ome_metadata import ome_part
from .tiff_file import tiff_of

__all__ = ["BIOIO_SUFFIXES", "is_zarr", "natural_order", "open_scene", "scenes_of"]

#: Microscope files that the readers of bioio open.
BIOIO_SUFFIXES = {".czi", ".lif", ".nd2"}
# Series that slide scanners add to the image of a slide.
_SLIDE_EXTRAS = {"thumbnail", "label", "macro"}
_DEEPEST = 3


def scenes_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the images in a file or folder.

    Parameters
    ----------
    path : str or path-like
        A TIFF, an OME-Zarr image, plate or group, a microscope file, or any other image.

    Returns
    -------
    tuple of str
        Names for `open_scene`. A file of one image has one empty name.

    Raises
    ------
    sam3.errors.ImageError
        If the file cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            return _zarr_scenes(path)
        if tiff_of(path) is not None:
            return _tiff_scenes(path)
        if suffix in BIOIO_SUFFIXES:
            from .bioio_files import bioio_scenes

            return bioio_scenes(path)
    except ImageError:
        raise
    except Exception as error:  # each reader raises exceptions of its own
        raise ImageError(
            f"the images in {str(path)!r} cannot be listed: {_reason(error)}. Expected a complete "
            "TIFF, OME-Zarr, CZI, LIF or ND2. Check the file."
        ) from error
    return ("",)


def open_scene(path: str | os.PathLike[str], scene: str = "") -> LazyImage:
    """Open one image of a file.

    Parameters
    ----------
    path : str or path-like
        The file.
    scene : str
        Name from `scenes_of`. The empty name is the first image.

    Raises
    ------
    sam3.errors.ImageError
        If the image does not exist or cannot be opened.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in BIOIO_SUFFIXES and path.is_file():
        from .bioio_files import open_bioio

        return open_bioio(path, scene)
    return open_image(path / scene if scene else path)


def natural_order(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key that places "image 2" before "image 10"."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p.lower()) for p in parts]


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr array or group, by its name or its metadata."""
    if folder.suffix.lower() == ".zarr":
        return True
    return any((folder / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _zarr_scenes(path: Path) -> tuple[str, ...]:
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array) or "multiscales" in _about(node):
        return ("",)
    found = sorted(_images_inside(node), key=natural_order)
    return tuple(found) or ("",)


def _images_inside(group: Any, depth: int = _DEEPEST) -> Iterator[str]:
    """Yield the paths of images in a group. Those of a plate come from its metadata, for speed."""
    about = _about(group)
    plate = about.get("plate")
    if isinstance(plate, Mapping):
        for well in plate.get("wells", ()):
            row = str(well["path"])
            for field in _about(group[row]).get("well", {}).get("images", ()):
                yield f"{row}/{field['path']}"
        return
    for name, child in group.groups():
        # The labels of an image are stored as images, in a group of this name.
        if "multiscales" in _about(child):
            yield name
        elif depth > 1 and name != "labels":
            yield from (f"{name}/{path}" for path in _images_inside(child, depth - 1))


def _about(group: Any) -> Mapping[str, Any]:
    return ome_part(dict(group.attrs))


def _tiff_scenes(path: Path) -> tuple[str, ...]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series
        kept = [
            number
            for number, one in enumerate(series)
            if str(one.name).lower() not in _SLIDE_EXTRAS and len(one.shape) >= 2
        ]
    return tuple(map(str, kept)) if len(kept) > 1 else ("",)


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
