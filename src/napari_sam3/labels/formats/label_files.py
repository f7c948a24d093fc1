"""Label images opened from files: integers as stored, never colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.images.lazy import LazyImage, open_image
from napari_sam3.images.tiff_axes import tiff_layout
from napari_sam3.images.tiff_file import open_tiff, tiff_of
from napari_sam3.labels.exact_arrays import check_exact
from sam3.errors import ImageError

from .lossy import is_lossy, is_lossy_tiff

__all__ = ["open_label_file"]

_ONE_VALUE = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_WITH_ALPHA = {"LA", "La", "PA"}
# Pillow scales 2-bit and 4-bit grey values to 0..255; these are the factors.
_STRETCHED = {"L;2": 85, "L;4": 17}


def open_label_file(path: str | os.PathLike[str], *, rgb: bool | None = None) -> LazyImage:
    """Open a label image.

    Parameters
    ----------
    path : str or path-like
        As for `napari_sam3.images.lazy.open_image`. Palette images give their indices, not their
        colours; alpha is ignored.
    rgb : bool, optional
        False treats several values per pixel as planes, and the last axis of a .npy or zarr as
        columns.

    Returns
    -------
    LazyImage
        Never in colour; the values may be floating-point.

    Raises
    ------
    sam3.errors.ImageError
        If the file does not exist, cannot be opened, or is in colour.
    """
    path = Path(path)
    tiff = tiff_of(path)
    if tiff is not None:
        _check_tiff(path, *tiff, rgb)
    elif path.is_file() and path.suffix.lower() not in (".npy", ".npz") and _is_picture(path):
        return LazyImage(_stored_values(path, rgb), loaded_whole=True)
    image = open_image(path, rgb=rgb)
    if image.rgb:
        image.close()
        raise _in_colour(path, "colours")
    if path.is_dir():
        check_exact(image.data[0] if image.multiscale else image.data, repr(str(path)))
    return image


def _check_tiff(path: Path, file: Path, number: int | None, rgb: bool | None) -> None:
    """Raise for a TIFF with several values per pixel or with lossy compression."""
    try:
        with open_tiff(file, number) as image:
            series = image.series
            samples, letters = tiff_layout(series).samples, series.axes
            lossy = is_lossy_tiff(series.keyframe)
    except Exception:  # reported when it is opened
        return
    if lossy:
        raise _inexact(path)
    if rgb is None and samples in ("colours", "channels") and "S" in letters:
        raise _in_colour(path, f"{series.shape[letters.index('S')]} values")


def _is_picture(path: Path) -> bool:
    """Return whether Pillow reads a file, which gives the stored values."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # a damaged file of a known kind; reported when its pixels are read
        return True


def _stored_values(path: Path, rgb: bool | None) -> npt.NDArray[Any]:
    from PIL import Image, ImageSequence

    with path.open("rb") as file:
        if is_lossy(file.read(1 << 16)):
            raise _inexact(path)
    try:
        with Image.open(path) as image:
            frames = [_frame(path, frame, rgb) for frame in ImageSequence.Iterator(image)]
        return frames[0] if len(frames) == 1 else np.stack(frames)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be read as a label image: {reason}. Expected an image of "
            "integers. Check the file."
        ) from error


def _frame(path: Path, frame: Any, rgb: bool | None) -> npt.NDArray[Any]:
    # The decoder's mode is known only before the pixels are read.
    stored = [tile[3][0] if isinstance(tile[3], tuple) else tile[3] for tile in frame.tile]
    if frame.mode in _WITH_ALPHA:
        return np.asarray(frame)[..., 0]
    if frame.mode not in _ONE_VALUE:
        if rgb is False:
            return np.moveaxis(np.asarray(frame), -1, 0)
        raise _in_colour(path, f"colours ({frame.mode})")
    if frame.mode == "1":  # Pillow stores booleans as 0 and 255
        return np.asarray(frame.convert("L")) > 0
    pixels = np.asarray(frame)
    factor = _STRETCHED.get(str(stored[0]), 1) if stored else 1
    return pixels // factor if factor > 1 else pixels


def _inexact(path: Path) -> ImageError:
    return ImageError(
        f"{str(path)!r} is not a label image: its compression (such as JPEG) changes the label "
        "ids. Expected lossless compression. Export the labels again as TIFF or PNG."
    )


def _in_colour(path: Path, what: str) -> ImageError:
    return ImageError(
        f"{str(path)!r} is not a label image: it holds {what} per pixel. Expected one integer "
        "per pixel, 0 for the background. Save it in grey or with a palette, or pass rgb=False "
        "(--no-rgb) if the colours are planes."
    )
