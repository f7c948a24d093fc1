"""Pages of a TIFF that form its image: one series, or a stack of several equal ones."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3.errors import ImageError

__all__ = ["TIFF_SUFFIXES", "TiffImage", "open_tiff", "tiff_of"]

TIFF_SUFFIXES = {
    ".tif",
    ".tiff",
    ".lsm",
    ".stk",
    ".qptiff",
    ".btf",
    ".tf8",
    ".svs",
    ".ndpi",
    ".scn",
}
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Slide formats, whose other series are thumbnails, slide labels and macro images.
_FIRST_COUNTS = {"svs", "ndpi", "qpi", "philips", "bif", "avs", "lsm"}
# Letters for a new axis of stacked series: I for images, then letters without a meaning.
_STACKED = "IRAQ"
# Series listed in an error.
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class TiffImage:
    """Image of an open TIFF.

    Parameters
    ----------
    file : tifffile.TiffFile
        Open file.
    series : tifffile.TiffPageSeries
        Pages of the image. A stack of several series is a new series, without coarser levels.
    number : int, optional
        Number of the series in the file, None for a stack.
    """

    file: Any
    series: Any
    number: int | None


def tiff_of(path: Path) -> tuple[Path, int | None] | None:
    """Return the TIFF of a path and the number of a series in it, None for other files.

    A TIFF is recognized by its suffix or its first bytes. ``cells.tif/1`` is the second series
    of ``cells.tif``.
    """
    if _is_tiff(path):
        return path, None
    if path.name.isdecimal() and _is_tiff(path.parent):
        return path.parent, int(path.name)
    return None


@contextmanager
def open_tiff(path: Path, number: int | None = None) -> Iterator[TiffImage]:
    """Open a TIFF and find its image, without reading pixels.

    Pages written one by one, and other series of equal shape and data type, form one stack, as in
    ImageJ. Coarser levels, masks and the thumbnails of slides are ignored.

    Parameters
    ----------
    path : Path
        The file.
    number : int, optional
        Number of a series, if the file holds several.

    Raises
    ------
    sam3.errors.ImageError
        If the file holds images of several shapes or types and none is chosen, if it is
        truncated, or if a library that reads it is not installed.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        image = _image(file, path, number)
        _check_complete(file, image.series, path)
        _check_codec(image.series.keyframe, path)
        yield image


def _is_tiff(path: Path) -> bool:
    if not path.is_file():
        return False
    if path.suffix.lower() in TIFF_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) in _MAGIC
    except OSError:  # opening the file reports the error
        return False


def _image(file: Any, path: Path, number: int | None) -> TiffImage:
    try:
        found = list(file.series)
    except IndexError:  # no page is where the file says
        found = []
    if not found:
        raise ImageError(
            f"{str(path)!r} holds no image: none of its pages can be found. Expected a whole TIFF. "
            "Copy or write the file again."
        )
    if number is not None:
        if number >= len(found):
            raise ImageError(
                f"no image {number} in {str(path)!r}. Expected one of those that it holds: "
                f"{_listed(path, range(len(found)))}. Give the path of one of them."
            )
        return TiffImage(file, found[number], number)
    # Other series may be coarser levels, masks or, in slides, thumbnails.
    numbers = [at for at, one in enumerate(found) if at == 0 or not _is_extra(one)]
    if len(numbers) == 1 or found[0].kind in _FIRST_COUNTS:
        return TiffImage(file, found[0], 0)
    # Equal series form a stack.
    chosen = [found[at] for at in numbers]
    stacked = _stacked(chosen)
    if stacked is not None:
        return TiffImage(file, stacked, None)
    kinds = ", ".join(
        dict.fromkeys(f"{one.dtype} {one.axes} {' x '.join(map(str, one.shape))}" for one in chosen)
    )
    raise ImageError(
        f"{str(path)!r} holds {len(chosen)} images that differ: {kinds}. Expected pages of one "
        f"shape and data type. Give the path of one of them: {_listed(path, numbers)}."
    )


def _is_extra(series: Any) -> bool:
    """Return whether a series is a coarser level or a mask of another one."""
    return bool(series.keyframe.is_reduced or series.keyframe.is_mask)


def _listed(path: Path, numbers: Sequence[int]) -> str:
    named = ", ".join(repr(f"{path}/{at}") for at in numbers[:MOST_NAMED])
    return named + (", ..." if len(numbers) > MOST_NAMED else "")


def _stacked(series: Sequence[Any]) -> Any:
    """Return equal series as one series along a new first axis, None if they differ."""
    import tifffile

    first = series[0]
    if len({(one.shape, one.dtype, one.axes) for one in series}) > 1:
        return None
    if any(one.transform is not None for one in series):
        return None
    pages = [page for one in series for page in one]
    # In some files one page describes many planes.
    if len(pages) * math.prod(first.keyframe.shape) != len(series) * math.prod(first.shape):
        return None
    letter = next((letter for letter in _STACKED if letter not in first.axes), None)
    if letter is None:
        return None
    shape = (len(series), *first.shape)
    return tifffile.TiffPageSeries(pages, shape, first.dtype, letter + first.axes, squeeze=False)


def _check_complete(file: Any, series: Any, path: Path) -> None:
    """Raise ImageError if the file is truncated, or describes more values than it holds."""
    _check_chain(file, path)
    described, held = _described(file), sum(math.prod(one.shape) for one in file.series)
    if described > held:
        raise _incomplete(path, f"it describes {described} values and holds {held}")
    missing = sum(page is None for page in series)
    if missing:
        raise _incomplete(path, f"{missing} of its {len(series)} pages are missing")
    if series.dataoffset is not None and not series.is_multifile:
        _check_end(file, series.dataoffset + series.nbytes, path)
        return
    for number, page in enumerate(series):
        _check_alike(series.keyframe, page, number, path)
        ends = (at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=False))
        _check_end(page.parent, max(ends, default=0), path)


def _check_alike(first: Any, page: Any, number: int, path: Path) -> None:
    """Raise ImageError for a page of other shape or type that tifffile would read as the first."""
    (size, kind), (other, other_kind) = ((one.shape, one.dtype) for one in (first, page))
    same = (size, kind) == (other, other_kind)
    # Pages of another number of bytes are errors when they are read, and the others are not.
    if not same and math.prod(size) * kind.itemsize == math.prod(other) * other_kind.itemsize:
        raise ImageError(
            f"page {number} of {str(path)!r} is {other_kind} of shape {other}. Expected {kind} of "
            f"shape {size}, as its first page. Write the files of the image again."
        )


def _check_end(file: Any, end: int, path: Path) -> None:
    size = file.filehandle.size
    if end > size:
        raise _incomplete(path, f"its pixels reach to byte {end} of {size}")


def _check_chain(file: Any, path: Path) -> None:
    """Raise ImageError if the last page points to another one, as in a truncated file."""
    form, handle = file.tiff, file.filehandle
    place = file.pages[-1].offset
    handle.seek(place)
    try:
        (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
        handle.seek(place + form.tagnosize + tags * form.tagsize)
        (following,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
    except struct.error:
        following = -1
    if following:
        raise _incomplete(path, f"the page after its page {len(file.pages)} cannot be found")


def _described(file: Any) -> int:
    """Return the number of values in a description that tifffile rejected, else 0."""
    from tifffile.tifffile import shaped_description_metadata

    first, kind = file.pages.first, file.series[0].kind
    try:
        if file.is_imagej and kind != "imagej":
            about = file.imagej_metadata or {}
            planes = [int(about.get(name, 1)) for name in ("frames", "slices", "channels")]
            size = int(math.prod(first.shape))
            return max(math.prod(planes), int(about.get("images", 1))) * size
        if first.is_shaped and kind != "shaped":
            shape: Any = shaped_description_metadata(first.is_shaped)["shape"]
            return int(math.prod(shape))
    except (LookupError, TypeError, ValueError):  # an invalid description proves nothing
        pass
    return 0


def _incomplete(path: Path, why: str) -> ImageError:
    return ImageError(
        f"{str(path)!r} is incomplete: {why}. Expected all pages. Copy or write the file again."
    )


def _check_codec(page: Any, path: Path) -> None:
    import tifffile

    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError as error:
        name = getattr(page.compression, "name", page.compression)
        try:
            import imagecodecs  # noqa: F401
        except ImportError:
            raise ImageError(
                f"{str(path)!r} cannot be read: it is compressed by {name}. Expected imagecodecs, "
                "which reads it. Install it: pip install imagecodecs."
            ) from error
        raise ImageError(
            f"{str(path)!r} is compressed by {name}, which cannot be read. Expected no "
            "compression, LZW, Deflate or Zstandard. Save the file again in one of these."
        ) from error
