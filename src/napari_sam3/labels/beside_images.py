"""Label files in the folder of their images, never overwriting those of other programs."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

from .formats.label_files import open_label_file
from .formats.object_table import ObjectTable
from .output_files import ExportError

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes

__all__ = ["ENDINGS", "LabelFiles", "read_table", "table_path"]

#: Endings of label files, by format.
ENDINGS = {
    "ome-tiff": ".labels.ome.tif",
    "tiff": ".labels.tif",
    "ome-zarr": ".labels.ome.zarr",
}
_NAME = re.compile(r"(?P<stem>.*\.labels)(?:-(?P<number>\d+))?(?P<end>\.[^/\\]*)")
#: Modification time, size and inode of a file, which identify its state.
Stamp = tuple[int, int, int]


def table_path(labels: Path) -> Path:
    """Return the path of the object table of a label file, such as ``cells.labels.csv``."""
    found = _NAME.fullmatch(labels.name)
    if found is None:
        return labels.with_suffix(".csv")
    number = found["number"]
    return labels.with_name(found["stem"] + (f"-{number}" if number else "") + ".csv")


def read_table(labels: Path) -> ObjectTable | None:
    """Return the object table of a label file, None if it has none.

    An OME-Zarr stores the table as properties of its labels. Other files have a CSV file of the
    same name.
    """
    if labels.is_dir():
        from .ome_zarr import open_labels

        try:
            found = ObjectTable.from_properties(open_labels(labels, read_only=True).properties)
        except ImageError:  # not OME-Zarr labels
            return None
        return found if found.rows else None
    path = table_path(labels)
    if not path.is_file():
        return None
    try:
        return ObjectTable.read(path)
    except ExportError:  # not an object table
        return None


@dataclass(eq=False)
class LabelFiles:
    """Reads and writes label files, and detects changes by other programs.

    Parameters
    ----------
    format : {"ome-tiff", "tiff", "ome-zarr"}
        Format in which labels are written.
    """

    format: str = "ome-tiff"
    _seen: dict[Path, Stamp] = field(default_factory=dict, repr=False)

    def read(self, path: Path, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
        """Return the labels in a file for an image of this shape, None without a file.

        `write` may replace a file that was read, unless another program has changed it since.

        Raises
        ------
        sam3.errors.ImageError
            If the file cannot be read, does not hold labels, or has another shape.
        """
        if not path.exists():
            return None
        stamp = _stamp(path)
        image = open_label_file(path)
        try:
            found = image.data[0] if image.multiscale else image.data
            if tuple(found.shape) != shape and np.prod(found.shape) == np.prod(shape):
                found = np.asarray(found[...]).reshape(shape)  # formats drop axes of length 1
            if tuple(found.shape) != shape:
                raise ImageError(
                    f"the labels {path.name!r} do not fit the image: they have shape "
                    f"{tuple(found.shape)}. Expected {shape}. Move the file away to label this "
                    "image from scratch."
                )
            if np.dtype(found.dtype).kind not in "iub":
                raise ImageError(
                    f"{path.name!r} holds values of type {found.dtype}. Expected integer labels. "
                    "Move the file away to label this image from scratch."
                )
            labels = np.array(found[...])
        finally:
            image.close()
        self._seen[path] = stamp
        return labels

    def is_changed(self, path: Path) -> bool:
        """Whether a file exists in a state that this object has neither read nor written."""
        return path.exists() and _stamp(path) != self._seen.get(path)

    def write(
        self,
        path: Path,
        labels: Any,
        *,
        axes: ImageAxes | None = None,
        table: ObjectTable | None = None,
    ) -> Path:
        """Write labels atomically, with an object table if one is given.

        Returns
        -------
        Path
            The file written. It has another name if another program has changed the file.

        Raises
        ------
        ExportError
            If the labels cannot be written. An existing file is then unchanged.
        """
        from .formats.choice import export_labels

        if self.is_changed(path):
            path = _free_name(path)
        export_labels(labels, path, self.format, axes=axes, table=table, overwrite=True)
        self._seen[path] = _stamp(path)
        if table is not None and self.format != "ome-zarr":
            export_labels(labels, table_path(path), "csv", axes=axes, table=table, overwrite=True)
        return path

    def remove(self, path: Path) -> None:
        """Delete a label file unless another program wrote or changed it."""
        if path.exists() and not self.is_changed(path):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _free_name(path: Path) -> Path:
    """Return the next free name: cells.labels-2.ome.tif after cells.labels.ome.tif."""
    found = _NAME.fullmatch(path.name)
    stem, end = (found["stem"], found["end"]) if found else (path.stem, path.suffix)
    number = int(found["number"] or 1) if found else 1
    while True:
        number += 1
        free = path.with_name(f"{stem}-{number}{end}")
        if not free.exists():
            return free


def _stamp(path: Path) -> Stamp:
    """Return the state of a file, or the newest time, total size and count of a folder's files."""
    if not path.is_dir():
        about = path.stat()
        return about.st_mtime_ns, about.st_size, about.st_ino
    files = [os.stat(os.path.join(top, name)) for top, _, names in os.walk(path) for name in names]
    return (
        max((one.st_mtime_ns for one in files), default=0),
        sum(one.st_size for one in files),
        len(files),
    )
