"""Shape and axes of a label image, stored in formats that have no field for them.

They are stored as JSON under the key "napari-sam3", which other programs ignore.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.plain_values import json_value
from sam3.errors import ImageError

__all__ = [
    "NAME",
    "bad_file",
    "check_size",
    "known_values",
    "load_json",
    "number_or_text",
    "read_stated",
    "stated",
]

#: The key in a file.
NAME = "napari-sam3"
_MOST_AXES = 10
#: Limit for the unpacked objects of one file.
MOST_BYTES = 1 << 30


def stated(shape: Sequence[int], axes: ImageAxes) -> dict[str, Any]:
    """Return the shape and the axes of a label image for JSON."""
    return {
        "shape": [int(length) for length in shape],
        "axes": list(axes.names),
        "units": list(axes.units),
        "scale": list(axes.scale),
        "translate": list(axes.translate),
    }


def read_stated(value: Any) -> tuple[tuple[int, ...] | None, ImageAxes | None]:
    """Return shape and axes as written by `stated`; None for one that is missing or damaged."""
    about = value if isinstance(value, Mapping) else {}
    shape = about.get("shape")
    if not (isinstance(shape, list) and 2 <= len(shape) <= _MOST_AXES and all(map(_size, shape))):
        return None, None
    try:
        axes = ImageAxes.of(
            [str(name) for name in about["axes"]],
            units=[None if unit is None else str(unit) for unit in about["units"]],
            scale=about["scale"],
            translate=about["translate"],
        )
    except (KeyError, TypeError, ValueError):
        return tuple(shape), None
    return tuple(shape), axes if axes.ndim == len(shape) else None


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    sam3.errors.ImageError
        If the file is not valid JSON.
    """
    check_size(path.stat().st_size, path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise bad_file(path, "JSON file", error) from error


def check_size(size: int, path: Path) -> None:
    """Raise ImageError for files above the size limit."""
    if size > MOST_BYTES:
        raise ImageError(
            f"{str(path)!r} holds {size} bytes of objects. Expected up to {MOST_BYTES}. Split it, "
            "or save the labels as an image."
        )


def bad_file(path: Path, expected: str, reason: object) -> ImageError:
    """Return the error for a file that cannot be parsed."""
    text = (str(reason) or type(reason).__name__).splitlines()[0]
    return ImageError(
        f"{str(path)!r} cannot be read as a {expected}: {text}. Expected a file as the program "
        "writes it. Check the file."
    )


def known_values(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an object as JSON stores them; those it has no type for as text."""
    values = {str(name): json_value(value) for name, value in known.items()}
    return {name: value for name, value in values.items() if value is not None}


def number_or_text(value: Any) -> Any:
    """Parse a string as a number if possible."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _size(length: Any) -> bool:
    return isinstance(length, int) and not isinstance(length, bool) and length > 0
