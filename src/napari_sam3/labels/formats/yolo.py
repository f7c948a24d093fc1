"""Reader and writer of YOLO segmentation datasets, as ultralytics trains on them.

    cells.yolo/
      data.yaml             names of the classes
      images/cells.png      not written
      labels/cells.txt      one line per object: class number, x y x y ...

Corners are fractions of width and height. ultralytics truncates them to whole pixels and fills
inclusively, so outlines run through the centres of pixels.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.core.plain_values import label_of, plane_of
from napari_sam3.labels.output_files import (
    ExportError,
    already_exists,
    cannot_write,
    check_output,
)
from sam3.errors import ImageError

from .drawn import Drawing, DrawnObject
from .label_planes import objects, plane_positions
from .object_table import ObjectTable, class_name, no_class_name, plane_text
from .polygons import Points, centre_rings, check_ring, fill_inclusive, warn_of_holes
from .stated import NAME, bad_file, check_size, read_stated, stated

if TYPE_CHECKING:
    from .output import LabelOutput

__all__ = ["check_free_dataset", "read_yolo", "write_yolo"]

#: Offset in px that keeps corners in their pixel after rounding to 32 bits.
_INSIDE = 1e-3
_DATA, _LABELS = "data.yaml", "labels"


def write_yolo(output: LabelOutput, *, image_name: str = "") -> Path:
    """Write a dataset without its images: the classes, and a text file per plane.

    Holes are filled, with a warning, and each part of an object is a line of its own. ultralytics
    drops lines of one or two points.

    Parameters
    ----------
    output : LabelOutput
        A folder; the images in an existing dataset are kept. The column "class" of the table
        becomes the class. Only `read_yolo` reads the axes: YOLO knows pixels.
    image_name : str
        File name of the image. The index of a plane is added to it, as in ``cells_0003.txt``.

    Raises
    ------
    ExportError
        If the path is not a YOLO dataset, or cannot be written.
    """
    path, labels = output.path, output.labels
    check_free_dataset(path, output.overwrite)
    partial_path = path.with_name(f".{path.name}.partial")
    check_output(partial_path, overwrite=True)
    shutil.rmtree(partial_path, ignore_errors=True)
    stem = Path(image_name).stem or path.name.removesuffix(".yolo")
    try:
        (partial_path / _LABELS).mkdir(parents=True)
        about = _write_planes(partial_path / _LABELS, labels, output.table, stem)
        about |= stated(output.shape, output.axes)
        names, holes = about.pop("classes"), about.pop("holes")
        _write_data(partial_path / _DATA, names, about)
        _put(partial_path, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(partial_path, ignore_errors=True)
    warn_of_holes(holes, "YOLO")
    return path


def read_yolo(path: Path, image_name: str | None = None) -> Drawing:
    """Read a text file of outlines, or a dataset.

    Parameters
    ----------
    path : Path
        Text file, with a ``data.yaml`` or ``classes.txt`` in its folder or up to two levels above
        it; or the folder with ``data.yaml``.
    image_name : str, optional
        The image in a dataset.

    Raises
    ------
    sam3.errors.ImageError
        If a line is not an outline, or the dataset has several images and none is named.
    """
    folder = path if path.is_dir() else path.parent
    names, about = _read_data(folder)
    files = _files(path, image_name, about)
    found = []
    for file in files:
        place = tuple(int(at) for at in plane_of(about.get("planes", {}).get(file.name)).split())
        lines = list(_lines(file))
        ids = about.get("ids", {}).get(file.name, ())
        ids = ids if len(ids) == len(lines) else [None] * len(lines)
        for (kind, ring, score), label in zip(lines, ids, strict=True):
            name = names.get(kind, str(kind))
            known: dict[str, Any] = {} if name == about.get("no class") else {"class": name}
            known |= {} if score is None else {"score": score}
            found.append(DrawnObject(partial(_fill, ring), place, label_of(label), known))
    return Drawing(found, *read_stated(about), in_parts=True)


def _fill(ring: Points, shape: tuple[int, int]) -> Any:
    # ultralytics truncates to whole pixels.
    return fill_inclusive(np.floor(ring * (shape[1], shape[0])), shape)


def _write_planes(folder: Path, labels: Any, table: ObjectTable, stem: str) -> dict[str, Any]:
    no_class = no_class_name(table)
    size = np.array([labels.shape[-1], labels.shape[-2]], np.float64)
    classes: dict[str, int] = {}
    ids: dict[str, list[int]] = {}
    planes, holes = {}, 0
    for position in plane_positions(labels):
        name = "_".join([stem, *(f"{at:04d}" for at in position)]) + ".txt"
        ids[name], planes[name] = [], plane_text(position)
        with open(folder / name, "w", encoding="utf-8") as file:
            for label, mask in objects(labels, position):
                kind = class_name(table.known(label, position)) or no_class
                number = classes.setdefault(kind, len(classes))
                rings, filled = centre_rings(mask)
                holes += filled
                for ring in rings:
                    corners = (ring + _INSIDE) / size
                    values = " ".join(f"{value:.9g}" for value in corners.ravel())
                    file.write(f"{number} {values}\n")
                    ids[name].append(label)
    return {
        "holes": holes,
        "classes": list(classes) or [no_class],
        "no class": no_class,
        "planes": planes,
        "ids": ids,
    }


def _write_data(path: Path, names: Sequence[str], about: Mapping[str, Any]) -> None:
    """Write data.yaml (JSON values are valid YAML)."""
    lines = {
        "train": "images",
        "val": "images",
        "names": {str(number): name for number, name in enumerate(names)},
        NAME: about,
    }
    text = [f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in lines.items()]
    path.write_text("".join(text), encoding="utf-8")


def _put(made: Path, path: Path) -> None:
    """Move a dataset to its path, keeping the images there."""
    if not path.exists():
        os.replace(made, path)
        return
    for name in (_LABELS, _DATA):
        old = path / name
        if old.is_dir():
            shutil.rmtree(old)
        os.replace(made / name, old)


def check_free_dataset(path: Path, overwrite: bool) -> None:
    """Raise ExportError for a path at which a dataset cannot be written."""
    if not path.exists():
        return
    if not overwrite:
        raise already_exists(path)
    if not path.is_dir() or (any(path.iterdir()) and not (path / _DATA).is_file()):
        raise ExportError(
            f"{str(path)!r} exists already. Expected a YOLO dataset, which may be overwritten, or "
            "a new name. Choose another name."
        )


def _read_data(folder: Path) -> tuple[dict[int, str], Mapping[str, Any]]:
    """Return the names of the classes, and our own metadata."""
    import yaml

    for place in (folder, folder.parent, folder.parent.parent):
        if (place / _DATA).is_file():
            try:
                content = yaml.safe_load((place / _DATA).read_text(encoding="utf-8-sig"))
                names = content.get("names") or {}
                if isinstance(names, list):
                    names = dict(enumerate(names))
                about = content.get(NAME)
                return (
                    {int(number): str(name) for number, name in names.items()},
                    about if isinstance(about, Mapping) else {},
                )
            except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
                raise bad_file(place / _DATA, "YOLO data.yaml", error) from error
        if (place / "classes.txt").is_file():
            lines = (place / "classes.txt").read_text(encoding="utf-8-sig").splitlines()
            return {number: line.strip() for number, line in enumerate(lines)}, {}
    return {}, {}


def _files(path: Path, image_name: str | None, about: Mapping[str, Any]) -> list[Path]:
    """Return the text files of the chosen image or its planes."""
    if path.is_file():
        return [path]
    files = sorted(path.glob(f"{_LABELS}/**/*.txt")) or sorted(path.glob("*.txt"))
    files = [file for file in files if file.name != "classes.txt"]
    planes = about.get("planes", {})
    if files and all(file.name in planes for file in files):
        return files
    if image_name is not None and len(files) != 1:
        files = [file for file in files if file.stem == Path(image_name).stem]
    if len(files) != 1:
        shown = ", ".join(repr(file.name) for file in files[:5])
        raise ImageError(
            f"{str(path)!r} has {len(files)} label files{': ' * bool(files)}{shown}. Expected "
            "one image. Give the path of its text file, or the name of the image (--image-name)."
        )
    return files


def _lines(file: Path) -> Iterator[tuple[int, Points, float | None]]:
    """Yield class number, corners as fractions, and the score if present."""
    check_size(file.stat().st_size, file)
    try:
        texts = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise bad_file(file, "YOLO text file", error) from error
    for number, text in enumerate(texts, 1):
        words = text.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
            kind = label_of(values[0])
            if kind is None or not all(map(math.isfinite, values)):
                raise ValueError("its class or a coordinate is not a number")
            if len(values) < 7:
                raise ValueError("it is a box. Expected an outline of at least three corners")
            score = values.pop() if len(values) % 2 == 0 else None  # predictions have one
            ring = check_ring(np.reshape(values[1:], (-1, 2)))
            if (np.abs(ring - 0.5) > 1).any():
                raise ValueError("its coordinates are not fractions of the image")
        except ValueError as error:
            raise bad_file(file, "YOLO text file", f"line {number}: {error}") from error
        yield kind, ring, score
