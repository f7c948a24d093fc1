"""Image files into arrays, for the command line; in napari its readers do this."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

from .axes import ImageAxes
from .image_contrast import ImageContrast, channel_axes
from .plane_image import Channel
from .planes import PlaneIndex
from .tiff_axes import tiff_axes

__all__ = ["LoadedImage", "plane_of", "read_image"]

TIFF_SUFFIXES = {".tif", ".tiff", ".lsm", ".stk", ".qptiff", ".btf"}
COLOURS = (3, 4)


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image file in memory.

    Parameters
    ----------
    data : ndarray
        At least two axes, rows and columns last; with `rgb` followed by 3 or 4 colours.
    rgb : bool
        Whether the last axis holds colours.
    known_axes : ImageAxes, optional
        What the file says about its axes.
    """

    data: npt.NDArray[Any] = field(repr=False)
    rgb: bool = False
    known_axes: ImageAxes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes without the colours."""
        shape = tuple(int(length) for length in self.data.shape)
        return shape[:-1] if self.rgb else shape

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and place of the axes without the colours."""
        return self.known_axes or ImageAxes.default(len(self.shape))

    def channel(self, plane: PlaneIndex) -> Channel:
        """Return a plane, with the contrast that the viewer would find."""
        return Channel(self.data, plane, self.rgb, contrast=self._contrast)

    @cached_property
    def _contrast(self) -> ImageContrast:
        apart = channel_axes(self.known_axes.names) if self.known_axes else ()
        return ImageContrast(self.data, rgb=self.rgb, apart=apart)


def read_image(path: str | os.PathLike[str]) -> LoadedImage:
    """Read any image that tifffile or skimage reads.

    Parameters
    ----------
    path : str or path-like
        TIFF and its relatives are read whole, with all planes; everything else by skimage.

    Returns
    -------
    LoadedImage
        Axes of length 1 before rows and columns are dropped.

    Raises
    ------
    sam3.errors.ImageError
        If there is no such file, or it is no image that can be read.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"there is no image file {str(path)!r}; check the path")
    try:
        image = _read_tiff(path) if path.suffix.lower() in TIFF_SUFFIXES else _read_other(path)
    except ImageError:
        raise
    except Exception as error:  # the readers of many formats raise as many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be read as an image ({reason}); expected a TIFF, PNG, JPEG or "
            "another format that skimage reads"
        ) from error
    if image.data.ndim < 2 + image.rgb or image.data.size == 0:
        raise ImageError(
            f"{str(path)!r} holds data of shape {image.data.shape}; expected an image of at least "
            "two axes with pixels in it"
        )
    return image


class Shaped(Protocol):
    """An image, in memory or not."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes without the colours."""


def plane_of(image: Shaped, position: Sequence[int] | None = None) -> PlaneIndex:
    """Choose the plane of an image.

    Parameters
    ----------
    image : LoadedImage or LazyImage
        With D axes, colours left out.
    position : sequence of D - 2 int, optional
        Place on each axis before rows and columns; may be left out for a 2-D image.

    Raises
    ------
    sam3.errors.ImageError
        If the position does not fit the image; the message says what would.
    """
    leading = image.shape[:-2]
    chosen = tuple(position or ())
    ranges = ", ".join(f"0 to {length - 1}" for length in leading)
    if len(chosen) != len(leading):
        if not leading:
            raise ImageError(f"a 2-D image has one plane only; leave out the plane {chosen}")
        raise ImageError(
            f"the image of shape {image.shape} has many planes; choose one by a number for each "
            f"leading axis ({ranges}), for example --plane {','.join(['0'] * len(leading))}"
        )
    if any(not 0 <= at < length for at, length in zip(chosen, leading, strict=True)):
        raise ImageError(f"the plane {chosen} lies outside the image; expected {ranges}")
    return PlaneIndex((len(leading), len(leading) + 1), chosen)


def _read_tiff(path: Path) -> LoadedImage:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        data, letters, axes = series.asarray(), series.axes, tiff_axes(file)
    # tifffile calls colours S (samples), wherever they are stored.
    rgb = "S" in letters and data.shape[letters.index("S")] in COLOURS
    if rgb:
        data = np.moveaxis(data, letters.index("S"), -1)
    known = axes if axes.ndim == data.ndim - rgb else None
    return _drop_single_axes(LoadedImage(data, rgb, known))


def _read_other(path: Path) -> LoadedImage:
    import skimage.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the readers, about details of the format
        data = np.asarray(skimage.io.imread(path))
    if data.dtype == object or data.dtype.kind not in "buif":
        raise ImageError(f"{str(path)!r} holds {data.dtype}, which are no pixels")
    if data.ndim >= 3 and data.shape[-1] == 2:  # grey and alpha
        data = data[..., 0]
    # These formats hold 2-D images, alone or in sequence: what comes last are their colours.
    rgb = data.ndim >= 3 and data.shape[-1] in COLOURS
    return _drop_single_axes(LoadedImage(data, rgb))


def _drop_single_axes(image: LoadedImage) -> LoadedImage:
    """Drop axes of length 1 before rows and columns."""
    leading = image.shape[:-2]
    single = tuple(axis for axis, n in enumerate(leading) if n == 1)
    kept = [axis for axis in range(len(image.shape)) if axis not in single]
    known = image.known_axes.take(kept) if image.known_axes is not None else None
    return LoadedImage(np.squeeze(image.data, axis=single), image.rgb, known)
