"""Image files opened without reading their pixels, for work on stacks and slides."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.planes import PlaneIndex
from sam3.errors import ImageError

from .contrast import ImageContrast, channel_axes
from .ome_metadata import axes_from_ome, ome_part
from .open import has_colours, read_image
from .plane_image import Channel, RenderedPlane
from .tiff_axes import tiff_axes, tiff_layout
from .tiff_file import open_tiff, tiff_of

__all__ = ["LazyImage", "open_image"]

#: Planes of files that viewers load whole get their contrast from all pixels, as there, up to this.
WHOLE_BYTES = 2 * 10**9
# Images named where a group holds several.
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class LazyImage:
    """An image whose pixels are read when they are needed.

    Parameters
    ----------
    data : array-like or list of array-like
        A pyramid, finest first, if `multiscale`. Rows and columns are the last two axes, with
        `rgb` followed by 3 or 4 colours.
    rgb, multiscale : bool
        As for `napari_sam3.images.plane_image.Channel`.
    loaded_whole : bool
        Whether napari would load a plane of it into memory, and so find its contrast from all
        pixels.
    file : object, optional
        What is to be closed with it.
    known_axes : ImageAxes, optional
        What the file says about its axes, colours left out.
    """

    data: Any = field(repr=False)
    rgb: bool = False
    multiscale: bool = False
    loaded_whole: bool = False
    file: Any = field(default=None, repr=False)
    known_axes: ImageAxes | None = None

    @classmethod
    def of(cls, array: Any, *, rgb: bool | None = None) -> LazyImage:
        """Take an array with rows and columns last, or with 3 or 4 colours after them.

        Parameters
        ----------
        array : array-like
            numpy, dask, zarr, xarray or anything with ``shape``, ``dtype`` and indexing.
        rgb : bool, optional
            Whether the last axis holds colours; only to be left out where it is too long for
            them, or has a name.

        Raises
        ------
        sam3.errors.ImageError
            If it is not known whether the last axis holds colours, or it holds none.
        """
        dims = getattr(array, "dims", None)
        names = dims if isinstance(dims, tuple) and len(dims) == len(array.shape) else ()
        # xarray calls axes that nobody has named dim_0 and so on.
        known = any(not str(name).startswith("dim_") for name in names)
        return cls(array, has_colours(array.shape, rgb, names if known else None))

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and place of the axes without the colours, at the finest level."""
        return self.known_axes or ImageAxes.default(len(self.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes without the colours, at the finest level."""
        finest = self.data[0] if self.multiscale else self.data
        shape = tuple(int(length) for length in finest.shape)
        return shape[:-1] if self.rgb else shape

    def close(self) -> None:
        """Close the file; nothing can be read from it any more."""
        if self.file is not None:
            self.file.close()

    def channel(self, plane: PlaneIndex, contrast: tuple[float, float] | None = None) -> Channel:
        """Return a plane with the contrast that the viewer would find.

        Raises
        ------
        sam3.errors.ImageError
            If it cannot be read.
        """
        limits = self._contrast if contrast is None else contrast
        return Channel(self.data, plane, self.rgb, self.multiscale, limits)

    def rendered(
        self, plane: PlaneIndex, contrast: tuple[float, float] | None = None
    ) -> RenderedPlane:
        """Return a plane as the model sees it; raises like `channel`."""
        return RenderedPlane(self.channel(plane, contrast))

    @property
    def seen(self) -> Mapping[str, Any] | None:
        """How it is shown to the model, as plain values, where somebody chose that."""
        return None

    @cached_property
    def _contrast(self) -> ImageContrast:
        finest = self.data[0] if self.multiscale else self.data
        nbytes = math.prod(self.shape[-2:]) * int(finest.dtype.itemsize)
        return ImageContrast(
            self.data,
            rgb=self.rgb,
            multiscale=self.multiscale,
            apart=channel_axes(self.known_axes.names) if self.known_axes else (),
            whole=self.loaded_whole and nbytes <= WHOLE_BYTES,
        )


def open_image(path: str | os.PathLike[str], *, rgb: bool | None = None) -> LazyImage:
    """Open an image.

    Parameters
    ----------
    path : str or path-like
        A zarr array or OME-Zarr group (zarr 2 or 3), a .npy file, or a TIFF, which is
        memory-mapped where its pixels are not compressed. Pages of one shape and data type are one
        stack; where a TIFF holds images that differ, ``cells.tif/1`` is the second one. Files of
        other kinds are read whole.
    rgb : bool, optional
        Whether 3 or 4 values of a pixel are its colours. By default what the file says. A .npy,
        or a zarr whose axes have no names, says nothing: with a last axis of 4 or less it is
        refused. If not, the samples of a TIFF or PNG are planes.

    Raises
    ------
    sam3.errors.ImageError
        If the image does not exist, cannot be opened, or may or may not be in colour.
    """
    path = Path(path)
    if not path.exists() and tiff_of(path) is None:
        raise ImageError(f"there is no image {str(path)!r}; check the path")
    try:
        image = _open(path, rgb)
        return _in_colour(image, path) if rgb and not image.rgb else image
    except ImageError:
        raise
    except Exception as error:  # the readers of many formats raise as many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be opened as an image ({reason}); expected a zarr array, an "
            "OME-Zarr, a TIFF, a .npy, or another file that skimage reads"
        ) from error


def _open(path: Path, rgb: bool | None) -> LazyImage:
    if path.is_dir():
        return _open_zarr(path, rgb)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _open_npy(path, rgb)
    tiff = tiff_of(path)
    if tiff is not None:
        opened = _open_tiff(*tiff, rgb)
        if opened is not None:
            return opened
    image = read_image(path, rgb=rgb)
    return LazyImage(image.data, image.rgb, loaded_whole=True, known_axes=image.known_axes)


def _in_colour(image: LazyImage, path: Path) -> LazyImage:
    """Take the last axis for colours, because somebody said so."""
    finest = image.data[0] if image.multiscale else image.data
    try:
        has_colours(finest.shape, True, what=repr(str(path)))
    except ImageError:
        image.close()
        raise
    return replace(image, rgb=True, known_axes=None)


def _open_npy(path: Path, rgb: bool | None) -> LazyImage:
    data = np.load(path, mmap_mode="r", allow_pickle=False)
    if data.ndim < 2 or not data.size or data.dtype.kind not in "buif":
        raise ImageError(
            f"{str(path)!r} holds {data.dtype} of shape {data.shape}; expected pixels in rows and "
            "columns"
        )
    return LazyImage(data, has_colours(data.shape, rgb, what=repr(str(path))), loaded_whole=True)


def _open_zarr(path: Path, rgb: bool | None) -> LazyImage:
    import zarr

    node = zarr.open(path, mode="r")
    data, multiscale = _levels(node, str(path))
    finest = data[0] if multiscale else data
    axes = _zarr_axes(node, finest)
    names = axes.names if axes is not None else None
    colours = has_colours(finest.shape, rgb, names, repr(str(path)))
    if colours and axes is not None:
        axes = axes.take(range(axes.ndim - 1))
    return LazyImage(data, colours, multiscale, known_axes=axes)


def _zarr_axes(node: Any, finest: Any) -> ImageAxes | None:
    """Return the axes by OME's metadata, or their names by zarr's or xarray's."""
    if "multiscales" in ome_part(dict(node.attrs)):
        return axes_from_ome(dict(node.attrs), finest.ndim)
    names = getattr(finest.metadata, "dimension_names", None)
    names = names or finest.attrs.get("_ARRAY_DIMENSIONS")
    try:
        return ImageAxes.of(names) if names and len(names) == finest.ndim else None
    except ImageError:  # not every axis has a name
        return None


def _levels(node: Any, name: str) -> tuple[Any, bool]:
    """Return data, and whether they are a pyramid, of an array or a group."""
    import zarr

    if isinstance(node, zarr.Array):
        levels = [node]
    else:
        about = node.attrs.get("ome", node.attrs)
        scales: Any = about.get("multiscales", [])
        if scales:
            levels = [node[level["path"]] for level in scales[0]["datasets"]]
        else:
            levels = [array for _, array in node.arrays()]
            if inside := list(islice(_images_inside(node), MOST_NAMED + 1)):
                more = ", ..." if len(inside) > MOST_NAMED else ""
                paths = ", ".join(
                    repr(f"{name.rstrip('/')}/{path}") for path in inside[:MOST_NAMED]
                )
                raise ImageError(
                    f"{name!r} is a zarr group that holds images, not an image. Give the path of "
                    f"one of them: {paths}{more}"
                )
            if len(levels) != 1:
                raise ImageError(
                    f"{name!r} is a zarr group of {len(levels)} arrays without OME metadata; give "
                    "the path of one array"
                )
    if levels[0].ndim < 2:
        raise ImageError(f"{name!r} has shape {levels[0].shape}; expected rows and columns")
    pyramid = len(levels) > 1
    return (levels if pyramid else levels[0]), pyramid


def _images_inside(group: Any, depth: int = 3) -> Iterator[str]:
    """Yield the paths of the images in a group, such as a plate or a file of several series."""
    for name, child in sorted(group.groups()):
        # Labels are images of their own, of the image that they lie in.
        if "multiscales" in ome_part(dict(child.attrs)):
            yield name
        elif depth > 1 and name != "labels":
            yield from (f"{name}/{path}" for path in _images_inside(child, depth - 1))


def _open_tiff(path: Path, number: int | None, rgb: bool | None) -> LazyImage | None:
    """Open a TIFF; None if its axes have to be moved, for which it must be read."""
    import tifffile
    import zarr

    with ExitStack() as stack:
        image = stack.enter_context(open_tiff(path, number))
        layout = tiff_layout(image.series, rgb)
        colours, ndim = layout.samples == "colours", len(image.series.shape)
        known: ImageAxes | None = tiff_axes(image, layout)
        if known is not None and known.ndim != ndim - colours:
            known = None
        if not layout.in_order or ndim < 2 + colours:
            return None
        if image.number is not None and len(image.series.levels) == 1:
            try:
                data = tifffile.memmap(path, series=image.number, mode="r")
                return LazyImage(data, colours, loaded_whole=True, known_axes=known)
            except ValueError:  # compressed, tiled, or in pieces
                pass
        store = image.series.aszarr()
        stack.callback(store.close)
        store.origin = str(path)  # for errors; see `napari_sam3.images.reading.origin_of`
        data, pyramid = _levels(zarr.open(store, mode="r"), str(path))
        return LazyImage(data, colours, pyramid, not pyramid, stack.pop_all(), known)
