"""Images of a series, from a folder, pattern, list, table or file of several scenes."""

from __future__ import annotations

import csv
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
# Label files that this package and Cellpose write into the folder of the images.
_NOT_IMAGES = re.compile(r"\.labels(-\d+)?\.|_seg\.npy$|_cp_masks\.", re.IGNORECASE)


class ListingError(Sam3Error, ValueError):
    """The source lists no images: an empty folder, a pattern without matches, an invalid table."""


@dataclass(frozen=True)
class SeriesItem:
    """Image of a series.

    Parameters
    ----------
    path : Path
        File or folder of the image.
    scene : str
        Name of the image in its file; empty for the only image.
    key : str
        Identifier in the record of the series: the path below the folder of the series, with "/",
        followed by "#" and the scene.
    """

    path: Path
    scene: str
    key: str

    @property
    def stem(self) -> str:
        """Name of the image without suffixes, for the names of its label files."""
        name = self.path.name
        for end in (*sorted(IMAGE_SUFFIXES), ".zarr"):
            if name.lower().endswith(end):
                name = name[: -len(end)]
                break
        name = name[:-4] if name.lower().endswith(".ome") else name
        return "_".join([name, *self.scene.split("/")]) if self.scene else name


@dataclass(frozen=True)
class ImageList:
    """Images of a series, in order.

    Parameters
    ----------
    items : tuple of SeriesItem
        Images, at least one, without duplicates.
    folder : Path
        Common parent folder of the images.
    """

    items: tuple[SeriesItem, ...]
    folder: Path

    def labels_path(
        self, item: SeriesItem, ending: str, folder: str | os.PathLike[str] | None = None
    ) -> Path:
        """Return the path of the labels of an image, another one for each image.

        Parameters
        ----------
        item : SeriesItem
            The image.
        ending : str
            Ending of the name, such as ``".labels.ome.tif"``.
        folder : path-like, optional
            Folder for the labels, with the same subfolders as the images; by default that of the
            image.
        """
        place = item.path.parent
        if folder is not None:
            place = Path(os.path.normpath(folder / Path(os.path.relpath(place, self.folder))))
        # Images that differ only in their suffix have labels named after the full file name.
        shared = self._stems[item.path.parent, item.stem.lower()] > 1
        stem = "_".join([item.path.name, *item.scene.split("/")]) if shared else item.stem
        return place / f"{stem.rstrip('_')}{ending}"

    @cached_property
    def _stems(self) -> Counter[tuple[Path, str]]:
        # With full file names, since the stem of "a.tif.png" is the name of "a.tif".
        return Counter(
            (item.path.parent, name)
            for item in self.items
            for name in {item.stem.lower(), item.path.name.lower()}
        )


def list_images(source: Source) -> ImageList:
    """List the images of a source without opening them.

    Parameters
    ----------
    source : path, str or sequence of paths
        A folder, whose images are sorted in the natural order of their names, without those of its
        subfolders; a pattern such as ``"day*/*.tif"`` or ``"images/**/*.tif"``; a CSV or TSV file
        with a column "image", "path" or "file" and optionally a column "scene"; a text file with
        one path per line; one file of several images; or a sequence of paths.

    Raises
    ------
    ListingError
        If the source lists no images.
    sam3.errors.ImageError
        If a file of several images cannot be read.
    """
    if not isinstance(source, str | os.PathLike):
        return _gather([(Path(path), "") for path in source], "the list")
    path = Path(source)
    if path.is_dir() and not is_zarr(path):
        images = [(image, "") for image in _in_folder(path)]
        return _gather(images, f"the folder {str(path)!r}", path)
    if path.suffix.lower() in _TABLES and path.is_file():
        return _gather(_read_table(path), f"the table {str(path)!r}")
    if path.exists():
        images = [(path, scene) for scene in scenes_of(path)]
        return _gather(images, f"the file {str(path)!r}", path.parent)
    if glob.has_magic(str(source)):
        names = sorted(glob.glob(str(source), recursive=True), key=natural_order)
        paths = (Path(name) for name in names)
        images = [(path, "") for path in paths if _may_be_image(path.name, path.is_dir() and path)]
        return _gather(images, f"the pattern {str(source)!r}")
    raise ListingError(
        f"no such folder, file or pattern: {str(source)!r}. Expected a folder of images, a "
        "pattern such as images/*.tif, or a table of paths. Check the path."
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
            "folder of images. Check its permissions."
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
            "again as CSV."
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = _TABLES[path.suffix.lower()]
    if not delimiter:
        return [(path.parent / line.strip(), "") for line in lines]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    column = next((header.index(name) for name in _PATH_COLUMNS if name in header), None)
    if column is None and len(header) > 1:
        raise ListingError(
            f"the table {str(path)!r} has no column of paths: {', '.join(header)}. Expected one "
            f"named {', '.join(_PATH_COLUMNS[:3])}. Rename it."
        )
    scene = next((header.index(name) for name in _SCENE_COLUMNS if name in header), None)
    body = rows[1:] if column is not None else rows
    at = column or 0
    return [
        (path.parent / row[at], row[scene] if scene is not None and scene < len(row) else "")
        for row in body
        if at < len(row) and row[at]
    ]


def _gather(found: Iterable[tuple[Path, str]], what: str, folder: Path | None = None) -> ImageList:
    """Return the images with their keys, without duplicates."""
    images = list(dict.fromkeys((Path(os.path.abspath(path)), scene) for path, scene in found))
    if not images:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ListingError(
            f"no images in {what}. Expected files ending with {known}, or OME-Zarr folders. Choose "
            "another source."
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
    except ValueError:  # folders on several drives
        return folders[0]


def _same_drive(path: Path, folder: Path) -> bool:
    return path.drive == folder.drive
