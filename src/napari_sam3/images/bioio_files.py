"""Microscope files (CZI, LIF, ND2), read with the optional package bioio."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from sam3.errors import ImageError

from .lazy import LazyImage

__all__ = ["bioio_scenes", "open_bioio"]

_AXES = "TCZYX"


def bioio_scenes(path: Path) -> tuple[str, ...]:
    """Return the numbers of the scenes of a file, or one empty name for a single scene.

    Raises
    ------
    sam3.errors.ImageError
        If bioio or its reader is not installed, or the file cannot be read.
    """
    with _opened(path) as image:
        count = len(image.scenes)
    return tuple(map(str, range(count))) if count > 1 else ("",)


def open_bioio(path: Path, scene: str = "") -> LazyImage:
    """Read a scene into memory plane by plane, since bioio misreads whole scenes of some CZI.

    Raises
    ------
    sam3.errors.ImageError
        If bioio or its reader is not installed, the file cannot be read, or it does not fit into
        memory.
    """
    with _opened(path) as image:
        if scene:
            _choose_scene(image, scene, path)
        sizes = {axis: int(getattr(image.dims, axis)) for axis in _AXES}
        kept = [axis for axis in "TCZ" if sizes[axis] > 1]
        colours = "S" in str(image.dims.order)
        letters = "YXS" if colours else "YX"
        shape = [sizes[axis] for axis in kept]
        first = _plane(image, letters, dict.fromkeys("TCZ", 0))
        _check_memory(path, math.prod(shape) * first.nbytes)
        data = np.empty((*shape, *first.shape), first.dtype)
        for index in product(*map(range, shape)):
            position = dict.fromkeys("TCZ", 0) | dict(zip(kept, index, strict=True))
            data[index] = _plane(image, letters, position)
        return LazyImage(data, colours, loaded_whole=True, known_axes=_axes(image, kept))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    reader = f"bioio_{path.suffix.lower()[1:]}"
    try:
        bioio, plugin = importlib.import_module("bioio"), importlib.import_module(reader)
    except ImportError as error:
        raise ImageError(
            f"a reader for {path.name!r} is not installed: {error.name}. Expected bioio with "
            f"{reader.replace('_', '-')}. Install it: pip install 'napari-sam3[bioio]'."
        ) from error
    if not path.is_file():
        raise ImageError(
            f"image file {str(path)!r} does not exist. Expected a file. Check the path."
        )
    try:
        yield bioio.BioImage(path, reader=plugin.Reader)
    except ImageError:
        raise
    except Exception as error:  # each reader raises exceptions of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be read: {reason}. Expected a complete CZI, LIF or ND2 file. "
            "Check the file, or save it as OME-TIFF."
        ) from error


def _choose_scene(image: Any, scene: str, path: Path) -> None:
    count = len(image.scenes)
    if not scene.isdecimal() or int(scene) >= count:
        raise ImageError(
            f"no scene {scene!r} in {str(path)!r}. Expected 0 to {count - 1}. Choose one of these."
        )
    image.set_scene(int(scene))


def _plane(image: Any, letters: str, at: dict[str, int]) -> np.ndarray[Any, Any]:
    return np.asarray(image.get_image_data(letters, **at))


def _check_memory(path: Path, nbytes: int) -> None:
    import psutil

    free = int(psutil.virtual_memory().available)
    if nbytes > free // 2:
        raise ImageError(
            f"{str(path)!r} does not fit into memory: {nbytes >> 20} MB. Expected at most "
            f"{free >> 21} MB. Save it as OME-Zarr, which is read by regions."
        )


def _axes(image: Any, kept: list[str]) -> ImageAxes:
    """Return names and scale. bioio gives sizes in micrometers, 0 or None if unknown."""
    sizes = image.physical_pixel_sizes
    letters = [*kept, "Y", "X"]
    scale = [float(getattr(sizes, axis, None) or 0.0) for axis in letters]
    units = ["micrometer" if step > 0 else None for step in scale]
    return ImageAxes.of([axis.lower() for axis in letters], units=units, scale=scale)
