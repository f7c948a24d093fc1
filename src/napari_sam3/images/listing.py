"""The images of a series: a folder, a pattern, a list, a table, or the scenes of one file."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3.errors import Sam3Error

from .scenes import BIOIO_SUFFIXES, is_zarr, natural_order, scenes_of
from .tiff_file import TIFF_SUFFIXES

__all__ = ["IMAGE_SUFFIXES", "ImageList", "ListingError", "SeriesItem", "Source", "list_images"]

#: A folder, file or pattern; or paths of images.
Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

IMAGE_SUFFIXES = TIFF_SUFFIXES | BIOIO_SUFFIXES | {".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".npy"}
_TABLES = {".csv": ",", ".tsv": "\t", ".txt": ""}
_PATH_COLUMNS = ("image", "path", "file", "filename", "image_path", "name")
_SCENE_COLUMNS = ("scene", "series")
# What this package and Cellpose write beside images.
_NOT_IMAGES = re.compile(r"\.labels(-\d+)?\.|_seg\.npy$|_cp_masks\.", re.IGNORECASE)


class ListingError(Sam3Error, ValueError):
    """A source that gives no images: an empty folder, a pattern that fits nothing, an odd table."""


@dataclass(frozen=True)
class SeriesItem:
    """One image of a series.

    Parameters
    ----------
    path : Path
        Its file or folder.
    scene : str
        Which image of the file; empty where there is one.
    key : str
        Names it in the record of the series: its path below the folder of the series, with "/",
        and the scene after "#".
    """

    path: Path
    scene: str
    key: str

    @property
    def stem(self) -> str:
        """Name of the image without the ends of file names, for the names of other files."""
        name = self.path.name
        for end in (*sorted(IMAGE_SUFFIXES), ".zarr"):
            if name.lower().endswith(end):
                name = name[: -len(end)]
                break
        name = name[:-4] if name.lower().endswith(".ome") else name
        return "_".join([name, *self.scene.split("/")]) if self.scene else name


@dataclass(frozen=True)
class ImageList:
    """The images of a series, in their order.

    Parameters
    ----------
    items : tuple of SeriesItem
        At least one; all different.
    folder : Path
        The folder that holds them all.
    """

    items: tuple[SeriesItem, ...]
    folder: Path


def list_images(source: Source) -> ImageList:
    """List the images of a source; they are not opened.

    Parameters
    ----------
    source : path, str or sequence of paths
        A folder, whose images are taken in the natural order of their names, without those in
        folders below; a pattern such as ``"day*/*.tif"`` or ``"images/**/*.tif"``; a CSV, TSV or
        text file with one path per line, in a column "image", "path" or "file", or the only one,
        and perhaps a column "scene"; one file that holds several images; or paths.

    Raises
    ------
    ListingError
        If there is no image.
    sam3.errors.ImageError
        If a file that holds several images cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        return _gather([(Path(one), "") for one in source], "the list")
    path = Path(source)
    if path.is_dir() and not is_zarr(path):
        found = [(one, "") for one in _in_folder(path)]
        return _gather(found, f"the folder {str(path)!r}", path)
    if path.suffix.lower() in _TABLES and path.is_file():
        return _gather(_read_table(path), f"the table {str(path)!r}")
    if path.exists():
        found = [(path, scene) for scene in scenes_of(path)]
        return _gather(found, f"the file {str(path)!r}", path.parent)
    if glob.has_magic(str(source)):
        names = glob.glob(str(source), recursive=True)
        images = (Path(name) for name in names)
        kept = [(one, "") for one in images if _may_be_image(one.name, one.is_dir() and one)]
        kept.sort(key=lambda pair: natural_order(str(pair[0])))
        return _gather(kept, f"the pattern {str(source)!r}")
    raise ListingError(
        f"no such folder, file or pattern: {str(source)!r}. Expected a folder with images, a "
        "pattern such as images/*.tif, or a table of paths. Check the path"
    )


def _in_folder(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if _may_be_image(entry.name, entry.is_dir() and Path(entry.path))
            ]
    except OSError as error:
        raise ListingError(
            f"the folder {str(folder)!r} cannot be read: {error.strerror or error}. Expected a "
            "folder with images. Check its permissions"
        ) from error
    return [folder / name for name in sorted(names, key=natural_order)]


def _may_be_image(name: str, folder: Path | bool) -> bool:
    lower = name.lower()
    if name.startswith(".") or _NOT_IMAGES.search(name):
        return False
    if isinstance(folder, Path):
        return is_zarr(folder)
    return any(lower.endswith(suffix) for suffix in IMAGE_SUFFIXES)


def _read_table(path: Path) -> list[tuple[Path, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ListingError(
            f"the table {str(path)!r} cannot be read: {error}. Expected text in UTF-8. Save it "
            "again as CSV"
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = _TABLES[path.suffix.lower()]
    if not delimiter:
        return [(_beside(path, line.strip()), "") for line in lines]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    column = next((header.index(name) for name in _PATH_COLUMNS if name in header), None)
    if column is None and len(header) > 1:
        raise ListingError(
            f"the table {str(path)!r} has no column of paths: {', '.join(header)}. Expected one "
            f"named {', '.join(_PATH_COLUMNS[:3])}. Rename it"
        )
    scene = next((header.index(name) for name in _SCENE_COLUMNS if name in header), None)
    body = rows[1:] if column is not None else rows
    at = column or 0
    return [
        (_beside(path, row[at]), row[scene] if scene is not None and scene < len(row) else "")
        for row in body
        if at < len(row) and row[at]
    ]


def _beside(table: Path, text: str) -> Path:
    """Return the path that a table names, relative to the table."""
    path = Path(text)
    return path if path.is_absolute() else table.parent / path


def _gather(found: Iterable[tuple[Path, str]], what: str, folder: Path | None = None) -> ImageList:
    """Name the images; one that is listed twice is taken once."""
    images = list(dict.fromkeys((Path(os.path.abspath(path)), scene) for path, scene in found))
    if not images:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ListingError(
            f"no images in {what}. Expected files ending with {known}, or OME-Zarr folders. Choose "
            "another source"
        )
    if folder is None:
        folder = Path(_common(sorted({str(path.parent) for path, _ in images})))
    folder = Path(os.path.abspath(folder))
    items = []
    for path, scene in images:
        key = Path(os.path.relpath(path, folder)).as_posix() if _same_drive(path, folder) else ""
        items.append(SeriesItem(path, scene, (key or path.as_posix()) + (scene and f"#{scene}")))
    return ImageList(tuple(items), folder)


def _common(folders: list[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # on several drives
        return folders[0]


def _same_drive(path: Path, folder: Path) -> bool:
    return path.drive == folder.drive
