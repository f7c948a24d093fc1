"""Read image files into arrays, for the command line. In napari, reader plugins do this."""

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

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.planes import PlaneIndex, whole_lengths
from sam3.errors import ImageError

from .contrast import ImageContrast, channel_axes
from .plane_image import Channel
from .tiff_axes import tiff_axes, tiff_layout
from .tiff_file import open_tiff, tiff_of

__all__ = ["LoadedImage", "check_not_empty", "has_colours", "plane_of", "read_image"]

COLOURS = (3, 4)
_COLOUR_NAMES = {"s", "c", "ch", "channel", "channels", "rgb", "rgba", "color", "colour", "band"}


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """Image file in memory.

    Parameters
    ----------
    data : ndarray
        At least two axes. The last two are rows and columns, followed by 3 or 4 colours if
        `rgb`.
    rgb : bool
        Whether the last axis holds colours.
    known_axes : ImageAxes, optional
        Axes according to the file.
    """

    data: npt.NDArray[Any] = field(repr=False)
    rgb: bool = False
    known_axes: ImageAxes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, without colours."""
        shape = tuple(int(length) for length in self.data.shape)
        return shape[:-1] if self.rgb else shape

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and translation of the axes, without colours."""
        return self.known_axes or ImageAxes.default(len(self.shape))

    def channel(self, plane: PlaneIndex) -> Channel:
        """Return a plane with the contrast limits that the viewer would find."""
        return Channel(self.data, plane, self.rgb, contrast=self._contrast)

    @cached_property
    def _contrast(self) -> ImageContrast:
        apart = channel_axes(self.known_axes.names) if self.known_axes else ()
        return ImageContrast(self.data, rgb=self.rgb, apart=apart)


def has_colours(
    shape: Sequence[int],
    rgb: bool | None = None,
    names: Sequence[str] | None = None,
    what: str = "the array",
) -> bool:
    """Return whether the last axis of an array holds colours.

    Parameters
    ----------
    shape : sequence of int
        Shape of the array.
    rgb : bool, optional
        The caller's answer, if there is one.
    names : sequence of str, optional
        Names of the axes, if they are known.
    what : str
        Name of the array in error messages.

    Raises
    ------
    sam3.errors.ImageError
        If `rgb` is set and the last axis does not have length 3 or 4; or if neither `rgb` nor
        `names` is given, and the last axis is short enough to hold colours.
    """
    shape = whole_lengths(shape)
    colours = len(shape) >= 3 and shape[-1] in COLOURS
    if rgb and not colours:
        raise ImageError(
            f"{what} is not a colour image: it has shape {shape}. Expected 3 or 4 values along "
            "the last axis. Leave out rgb=True (--rgb)."
        )
    if rgb is not None:
        return rgb
    if names is not None:
        return colours and str(names[-1]).lower() in _COLOUR_NAMES
    if len(shape) < 3 or shape[-1] > max(COLOURS):
        return False
    remedy = "pass rgb=True (--rgb)" if colours else "take one of them: image[..., 0]"
    raise ImageError(
        f"the last axis of {what} may hold columns or colours: it has shape {shape}. Expected rgb "
        f"to be given. Pass rgb=False (--no-rgb) for planes of {shape[-2]} x {shape[-1]} px. For "
        f"{shape[-1]} values a pixel, {remedy}."
    )


def check_not_empty(path: Path) -> None:
    """Refuse a file without content; raises `sam3.errors.ImageError`."""
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError(
            f"the file {str(path)!r} is empty: it has 0 bytes. Expected an image. Copy or write "
            "the file again."
        )


def read_image(path: str | os.PathLike[str], *, rgb: bool | None = None) -> LoadedImage:
    """Read an image in any format that tifffile or skimage reads.

    Parameters
    ----------
    path : str or path-like
        tifffile reads TIFF and formats derived from it, with all planes; skimage reads all other
        formats. If a TIFF holds several images, ``cells.tif/1`` is the second one.
    rgb : bool, optional
        Whether 3 or 4 values of a pixel are its colours. By default the file decides. With False,
        they are planes, on an axis before rows and columns.

    Returns
    -------
    LoadedImage
        Axes of length 1 before rows and columns are dropped.

    Raises
    ------
    sam3.errors.ImageError
        If the file does not exist or is not a readable image.
    """
    path = Path(path)
    tiff = tiff_of(path)
    if tiff is None and not path.is_file():
        raise ImageError(
            f"image file {str(path)!r} does not exist. Expected a file. Check the path."
        )
    check_not_empty(path)
    try:
        image = _read_other(path, rgb) if tiff is None else _read_tiff(*tiff, rgb)
        if rgb and not image.rgb:
            image = LoadedImage(
                image.data, has_colours(image.data.shape, rgb, what=repr(str(path)))
            )
    except ImageError:
        raise
    except Exception as error:  # each reader raises exceptions of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be read as an image: {reason}. Expected a TIFF, PNG, JPEG or "
            "another format that skimage reads. Check the file, or save it as one of these."
        ) from error
    if image.data.ndim < 2 + image.rgb or image.data.size == 0:
        raise ImageError(
            f"{str(path)!r} holds data of shape {image.data.shape}. Expected an image with at "
            "least two axes, none of them empty. Choose another file."
        )
    return image


class Shaped(Protocol):
    """Image with a shape, in memory or not."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, without colours."""


def plane_of(image: Shaped, position: Sequence[int] | None = None) -> PlaneIndex:
    """Return a plane of an image by its position.

    Parameters
    ----------
    image : LoadedImage or LazyImage
        Image with D axes, without colours.
    position : sequence of D - 2 int, optional
        Position along each axis before rows and columns. May be left out for a 2-D image.

    Raises
    ------
    sam3.errors.ImageError
        If the position does not fit the image. The message gives the valid range.
    """
    leading = image.shape[:-2]
    chosen = tuple(position or ())
    ranges = ", ".join(f"0 to {length - 1}" for length in leading)
    example = ",".join("0" for _ in leading)
    if len(chosen) != len(leading):
        if not leading:
            raise ImageError(
                f"a 2-D image has no plane {chosen}. Expected no position, since it has a single "
                "plane. Leave it out."
            )
        raise ImageError(
            f"the image of shape {image.shape} has several planes. Expected the position of one "
            f"along each leading axis: {ranges}. Choose it, for example by --plane {example}."
        )
    if any(not 0 <= at < length for at, length in zip(chosen, leading, strict=True)):
        raise ImageError(
            f"plane {chosen} lies outside the image. Expected {ranges}. Choose one of these."
        )
    return PlaneIndex((len(leading), len(leading) + 1), chosen)


def _read_tiff(path: Path, number: int | None, rgb: bool | None) -> LoadedImage:
    with open_tiff(path, number) as image:
        layout = tiff_layout(image.series, rgb)
        data, axes = image.series.asarray().transpose(layout.order), tiff_axes(image, layout)
    if layout.samples == "alpha":
        data = data[..., 0]
    colours = layout.samples == "colours"
    known = axes if axes.ndim == data.ndim - colours else None
    return _drop_single_axes(LoadedImage(data, colours, known))


def _read_other(path: Path, rgb: bool | None) -> LoadedImage:
    import skimage.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # readers warn of details of the format
        data = np.asarray(skimage.io.imread(path))
    if data.dtype == object or data.dtype.kind not in "buif":
        raise ImageError(
            f"{str(path)!r} holds values of type {data.dtype}. Expected numbers. Choose another "
            "file."
        )
    if data.ndim >= 3 and data.shape[-1] == 2:  # grey and alpha
        data = data[..., 0]
    # These formats hold one 2-D image or a sequence of them, so a last axis of 3 or 4 is colours.
    colours = data.ndim >= 3 and data.shape[-1] in COLOURS
    if colours and rgb is False:
        data, colours = np.moveaxis(data, -1, -3), False
    return _drop_single_axes(LoadedImage(data, colours))


def _drop_single_axes(image: LoadedImage) -> LoadedImage:
    """Drop axes of length 1 before rows and columns."""
    leading = image.shape[:-2]
    single = tuple(axis for axis, n in enumerate(leading) if n == 1)
    kept = [axis for axis in range(len(image.shape)) if axis not in single]
    known = image.known_axes.take(kept) if image.known_axes is not None else None
    return LoadedImage(np.squeeze(image.data, axis=single), image.rgb, known)
