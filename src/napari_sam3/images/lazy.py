"""Image files opened without reading their pixels, for stacks and whole slides."""

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
from napari_sam3.core.planes import PlaneIndex, whole_lengths
from sam3.errors import ImageError

from .contrast import ImageContrast, channel_axes
from .ome_metadata import axes_from_ome, ome_part
from .open import check_not_empty, has_colours, read_image
from .plane_image import Channel, RenderedPlane
from .tiff_axes import tiff_axes, tiff_layout
from .tiff_file import open_tiff, tiff_of

__all__ = ["LazyImage", "open_image"]

#: Larger planes of files that are loaded whole get their contrast limits from a sample.
WHOLE_BYTES = 2 * 10**9
# Images listed in the error for a group that holds several.
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class LazyImage:
    """Image whose pixels are read on demand.

    Parameters
    ----------
    data : array-like or list of array-like
        A pyramid, finest level first, if `multiscale`. The last two axes are rows and columns,
        followed by 3 or 4 colours if `rgb`.
    rgb, multiscale : bool
        As for `napari_sam3.images.plane_image.Channel`.
    loaded_whole : bool
        Whether napari would load its planes into memory, and so find their contrast limits
        from all pixels.
    file : object, optional
        File that `close` closes.
    known_axes : ImageAxes, optional
        Axes according to the file, without the colours.
    """

    data: Any = field(repr=False)
    rgb: bool = False
    multiscale: bool = False
    loaded_whole: bool = False
    file: Any = field(default=None, repr=False)
    known_axes: ImageAxes | None = None

    @classmethod
    def of(cls, array: Any, *, rgb: bool | None = None) -> LazyImage:
        """Wrap an array whose last axes are rows and columns, or rows, columns and colours.

        Parameters
        ----------
        array : array-like
            NumPy, dask, zarr, xarray or any other array with ``shape``, ``dtype`` and indexing.
        rgb : bool, optional
            Whether the last axis holds colours. Required if that axis is short enough for
            colours and has no name.

        Raises
        ------
        sam3.errors.ImageError
            If the last axis may or may not hold colours, or holds none although `rgb` is set.
        """
        dims = getattr(array, "dims", None)
        names = dims if isinstance(dims, tuple) and len(dims) == len(array.shape) else ()
        # xarray calls unnamed axes dim_0, dim_1, ...
        known = any(not str(name).startswith("dim_") for name in names)
        return cls(array, has_colours(array.shape, rgb, names if known else None))

    @property
    def axes(self) -> ImageAxes:
        """Names, units, scale and translation of the axes, without colours, at the finest level."""
        return self.known_axes or ImageAxes.default(len(self.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes, without colours, at the finest level."""
        finest = self.data[0] if self.multiscale else self.data
        shape = whole_lengths(finest.shape)
        return shape[:-1] if self.rgb else shape

    def close(self) -> None:
        """Close the file. No pixels can be read afterwards."""
        if self.file is not None:
            self.file.close()

    def channel(self, plane: PlaneIndex, contrast: tuple[float, float] | None = None) -> Channel:
        """Return a plane with the contrast limits that the viewer would find.

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
        """Return a plane as the model sees it. Raises like `channel`."""
        return RenderedPlane(self.channel(plane, contrast))

    @property
    def seen(self) -> Mapping[str, Any] | None:
        """Contrast and channels of the model's view as plain values, None for the default."""
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
        A zarr array or OME-Zarr group (zarr 2 or 3), a .npy file, a .npz file of one array, or a
        TIFF, which is memory-mapped if its pixels are not compressed. Pages of one shape and data
        type form one stack. If a TIFF holds images of several shapes, ``cells.tif/1`` is the second
        one. Files in other formats are read whole.
    rgb : bool, optional
        Whether 3 or 4 values of a pixel are its colours. By default the file decides. A .npy file
        or a zarr array without axis names cannot, and is refused if its last axis has length 4
        or less. With False, the samples of a TIFF or PNG are planes.

    Raises
    ------
    sam3.errors.ImageError
        If the image does not exist, cannot be opened, or may or may not be in colour.
    """
    path = Path(path)
    if not path.exists() and tiff_of(path) is None:
        raise ImageError(
            f"image {str(path)!r} does not exist. Expected a file or folder. Check the path."
        )
    check_not_empty(path)
    try:
        image = _open(path, rgb)
        return _in_colour(image, path) if rgb and not image.rgb else image
    except ImageError:
        raise
    except Exception as error:  # each reader raises exceptions of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be opened as an image: {reason}. Expected a zarr array, an "
            "OME-Zarr, a TIFF, a .npy file or another format that skimage reads. Check the file, "
            "or save it as one of these."
        ) from error


def _open(path: Path, rgb: bool | None) -> LazyImage:
    if path.is_dir():
        return _open_zarr(path, rgb)
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _open_npy(path, rgb)
    tiff = tiff_of(path)
    if tiff is not None:
        opened = _open_tiff(*tiff, rgb)
        if opened is not None:
            return opened
    image = read_image(path, rgb=rgb)
    return LazyImage(image.data, image.rgb, loaded_whole=True, known_axes=image.known_axes)


def _in_colour(image: LazyImage, path: Path) -> LazyImage:
    """Return the image with its last axis as colours, as requested by the caller."""
    finest = image.data[0] if image.multiscale else image.data
    try:
        has_colours(finest.shape, True, what=repr(str(path)))
    except ImageError:
        image.close()
        raise
    return replace(image, rgb=True, known_axes=None)


def _open_npy(path: Path, rgb: bool | None) -> LazyImage:
    data: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(data, np.lib.npyio.NpzFile):
        with data:
            if len(data.files) != 1:
                raise ImageError(
                    f"{str(path)!r} holds {len(data.files)} arrays: {', '.join(data.files)}. "
                    "Expected one. Save the one that is meant as a .npy."
                )
            data = data[data.files[0]]
    if data.ndim < 2 or not data.size or data.dtype.kind not in "buif":
        raise ImageError(
            f"{str(path)!r} holds {data.dtype} of shape {data.shape}. Expected numbers in rows "
            "and columns. Choose another file."
        )
    return LazyImage(data, has_colours(data.shape, rgb, what=repr(str(path))), loaded_whole=True)


def _open_zarr(path: Path, rgb: bool | None) -> LazyImage:
    import zarr

    try:
        node = zarr.open(path, mode="r")
    except FileNotFoundError as error:
        raise ImageError(
            f"{str(path)!r} is a folder, but no zarr array or group. Expected one image. Give the "
            "path of an image in it, one at a time."
        ) from error
    data, multiscale = _levels(node, str(path))
    finest = data[0] if multiscale else data
    axes = _zarr_axes(node, finest)
    names = axes.names if axes is not None else None
    colours = has_colours(finest.shape, rgb, names, repr(str(path)))
    if colours and axes is not None:
        axes = axes.take(range(axes.ndim - 1))
    return LazyImage(data, colours, multiscale, known_axes=axes)


def _zarr_axes(node: Any, finest: Any) -> ImageAxes | None:
    """Return the axes from the OME metadata, or named as in zarr or xarray."""
    if "multiscales" in ome_part(dict(node.attrs)):
        return axes_from_ome(dict(node.attrs), finest.ndim)
    names = getattr(finest.metadata, "dimension_names", None)
    names = names or finest.attrs.get("_ARRAY_DIMENSIONS")
    try:
        return ImageAxes.of(names) if names and len(names) == finest.ndim else None
    except ImageError:  # not every axis has a name
        return None


def _levels(node: Any, name: str) -> tuple[Any, bool]:
    """Return the data of an array or group, and whether they are a pyramid."""
    import zarr

    if isinstance(node, zarr.Array):
        levels = [node]
    else:
        about = node.attrs.get("ome", node.attrs)
        scales: Any = about.get("multiscales", [])
        if scales:
            levels = _listed_levels(node, scales[0], name)
        else:
            levels = [array for _, array in node.arrays()]
            if inside := list(islice(_images_inside(node), MOST_NAMED + 1)):
                more = ", ..." if len(inside) > MOST_NAMED else ""
                paths = ", ".join(
                    repr(f"{name.rstrip('/')}/{path}") for path in inside[:MOST_NAMED]
                )
                raise ImageError(
                    f"{name!r} is a zarr group of several images. Expected one image. Give the "
                    f"path of one of them: {paths}{more}"
                )
            if len(levels) != 1:
                raise ImageError(
                    f"{name!r} is a zarr group of {len(levels)} arrays without OME metadata. "
                    "Expected one array, or an OME-Zarr. Give the path of one array."
                )
    if levels[0].ndim < 2:
        raise ImageError(
            f"{name!r} has shape {levels[0].shape}. Expected rows and columns. Choose another "
            "array."
        )
    pyramid = len(levels) > 1
    return (levels if pyramid else levels[0]), pyramid


def _listed_levels(group: Any, entry: Mapping[str, Any], name: str) -> list[Any]:
    """Return the levels that the metadata list; raises ImageError if one is missing."""
    paths = [level["path"] for level in entry.get("datasets", ())]
    missing = [path for path in paths if path not in group]
    if missing or not paths:
        what = "levels" if not paths else f"the level {missing[0]!r}, which its metadata list"
        raise ImageError(
            f"{name!r} is incomplete: it lacks {what}. Expected all levels of the image. Copy or "
            "download it again."
        )
    return [group[path] for path in paths]


def _images_inside(group: Any, depth: int = 3) -> Iterator[str]:
    """Yield the paths of the images in a group, such as a plate or a multi-series file."""
    for name, child in sorted(group.groups()):
        # The labels of an image are stored as images, in a group of this name.
        if "multiscales" in ome_part(dict(child.attrs)):
            yield name
        elif depth > 1 and name != "labels":
            yield from (f"{name}/{path}" for path in _images_inside(child, depth - 1))


def _open_tiff(path: Path, number: int | None, rgb: bool | None) -> LazyImage | None:
    """Open a TIFF; None if its axes have to be transposed, which takes all its pixels."""
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
            except ValueError:  # compressed, tiled or not contiguous
                pass
        store = image.series.aszarr()
        stack.callback(store.close)
        store.origin = str(path)  # for error messages; see `napari_sam3.images.reading.origin_of`
        data, pyramid = _levels(zarr.open(store, mode="r"), str(path))
        return LazyImage(data, colours, pyramid, not pyramid, stack.pop_all(), known)
