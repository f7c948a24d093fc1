"""Outlines of objects as ultralytics trains YOLO segmentation on them.

A data set is a folder: ``data.yaml`` with the names of the classes, and for each image in
``images`` a text file of the same name in ``labels``, one line per object: the number of its class,
and its corners as fractions of the width and the height. ultralytics cuts these off to whole
pixels and fills inclusively, so they run through the centres of pixels.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.plain_values import label_of, plane_of
from napari_sam3.labels.output_files import ExportError, check_output
from sam3.errors import ImageError

from .drawn import Drawing, DrawnObject
from .label_planes import check_labels, objects, plane_positions
from .object_table import ObjectTable, class_name, no_class_name, plane_text
from .polygons import Points, centre_rings, check_ring, fill_inclusive, warn_of_holes
from .stated import NAME, bad_file, check_size, read_stated, stated

__all__ = ["check_free_dataset", "read_yolo", "write_yolo"]

#: Thousandths of a px that keep corners in their pixel in 32-bit numbers.
_INSIDE = 1e-3
_DATA, _LABELS = "data.yaml", "labels"


def write_yolo(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    image_name: str = "",
    overwrite: bool = False,
) -> Path:
    """Write a data set without its images: classes, and a text file for each plane.

    Holes are filled, with a warning, and each part of an object is a line of its own. Lines of one
    or two points are written, but ultralytics drops them.

    Parameters
    ----------
    path : str or path-like
        Folder to make.
    labels : array-like of integers, ... x H x W
        Label image.
    axes : ImageAxes, optional
        Kept for this reader; YOLO knows pixels only.
    table : ObjectTable, optional
        Its column "class" becomes the class.
    image_name : str
        File name of the image. A plane of a stack has its place added, as in ``cells_0003.txt``.
    overwrite : bool
        Replace a data set that is there, but for its images.

    Raises
    ------
    ExportError
        If something else is there, or it cannot be written.
    sam3.errors.ImageError
        If it is not a label image.
    """
    check_labels(labels)
    path = Path(path)
    axes = ImageAxes.default(labels.ndim) if axes is None else axes
    table = (table or ObjectTable()).fitted(labels.shape, axes.names)
    check_free_dataset(path, overwrite)
    partial_path = path.with_name(f".{path.name}.partial")
    check_output(partial_path, overwrite=True)
    shutil.rmtree(partial_path, ignore_errors=True)
    stem = Path(image_name).stem or path.name.removesuffix(".yolo")
    try:
        (partial_path / _LABELS).mkdir(parents=True)
        about = _write_planes(partial_path / _LABELS, labels, table, stem)
        about |= stated(labels.shape, axes)
        names, holes = about.pop("classes"), about.pop("holes")
        _write_data(partial_path / _DATA, names, about)
        _put(partial_path, path)
    except OSError as error:
        raise ExportError(
            f"{str(path)!r} could not be written ({error.strerror or error}); free some space or "
            "choose another folder"
        ) from error
    finally:
        shutil.rmtree(partial_path, ignore_errors=True)
    warn_of_holes(holes, "YOLO")
    return path


def read_yolo(path: Path, image_name: str | None = None) -> Drawing:
    """Read a text file of outlines, or the folder of a data set.

    Parameters
    ----------
    path : Path
        Text file, whose classes are named by a ``data.yaml`` or ``classes.txt`` in its folder or
        one above; or the folder with ``data.yaml``.
    image_name : str, optional
        Which image of a data set.

    Raises
    ------
    sam3.errors.ImageError
        If a line is not an outline, or the folder has several images and none is named.
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
    # As ultralytics does: cut off to whole pixels.
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
    """Write data.yaml; JSON is YAML."""
    lines = {
        "train": "images",
        "val": "images",
        "names": {str(number): name for number, name in enumerate(names)},
        NAME: about,
    }
    text = [f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in lines.items()]
    path.write_text("".join(text), encoding="utf-8")


def _put(made: Path, path: Path) -> None:
    """Put a data set in its place, in which images may be."""
    if not path.exists():
        os.replace(made, path)
        return
    for name in (_LABELS, _DATA):
        old = path / name
        if old.is_dir():
            shutil.rmtree(old)
        os.replace(made / name, old)


def check_free_dataset(path: Path, overwrite: bool) -> None:
    """Refuse a path that a data set cannot be written to; raises ExportError."""
    if not path.exists():
        return
    if not overwrite:
        raise ExportError(f"{str(path)!r} exists already; choose another name or --overwrite it")
    if not path.is_dir() or (any(path.iterdir()) and not (path / _DATA).is_file()):
        raise ExportError(
            f"{str(path)!r} is not a data set of YOLO, so it is not overwritten; choose another "
            "name"
        )


def _read_data(folder: Path) -> tuple[dict[int, str], Mapping[str, Any]]:
    """Return the names of classes, and what was kept for this reader."""
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
                raise bad_file(place / _DATA, "data.yaml of YOLO", error) from error
        if (place / "classes.txt").is_file():
            lines = (place / "classes.txt").read_text(encoding="utf-8-sig").splitlines()
            return {number: line.strip() for number, line in enumerate(lines)}, {}
    return {}, {}


def _files(path: Path, image_name: str | None, about: Mapping[str, Any]) -> list[Path]:
    """Return the text files of an image, or of its planes."""
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
            f"{str(path)!r} has {len(files)} files of labels{': ' * bool(files)}{shown}. Expected "
            "one image. Give the path of its text file, or the name of the image (--image-name)"
        )
    return files


def _lines(file: Path) -> Iterator[tuple[int, Points, float | None]]:
    """Yield class, corners as fractions, and score if there is one."""
    check_size(file.stat().st_size, file)
    try:
        texts = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise bad_file(file, "text file of YOLO", error) from error
    for number, text in enumerate(texts, 1):
        words = text.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
            kind = label_of(values[0])
            if kind is None or not all(map(math.isfinite, values)):
                raise ValueError("its class or a coordinate is no number")
            if len(values) < 7:
                raise ValueError("it is a box, not an outline of three or more corners")
            score = values.pop() if len(values) % 2 == 0 else None  # of predictions
            ring = check_ring(np.reshape(values[1:], (-1, 2)))
            if (np.abs(ring - 0.5) > 1).any():
                raise ValueError("its coordinates are no fractions of the image")
        except ValueError as error:
            raise bad_file(file, "text file of YOLO", f"line {number}: {error}") from error
        yield kind, ring, score
