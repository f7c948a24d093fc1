"""Plane keys, prompts, drafts, fields and images as JSON, both ways, strictly; see `records`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import Field
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import Box, PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.identity import ImageIdentity
from sam3.errors import PromptError

from .checks import Node, RecordError
from .rle import mask_from_record, mask_to_record

__all__ = [
    "MAX_PX",
    "MakeKey",
    "as_it_is",
    "draft_from_record",
    "draft_to_record",
    "field_from_record",
    "field_to_record",
    "identity_from_record",
    "identity_to_record",
    "key_from_record",
    "key_to_record",
    "level_from_record",
    "optional",
    "prompts_from_record",
    "prompts_to_record",
    "rendering_from_record",
    "rendering_to_record",
    "shape_from_record",
    "span_from_record",
    "storing",
]

MakeKey = Callable[[PlaneIndex], Hashable]

MAX_PX = 1 << 40
_MAX_AXES = 64
_MAX_LEVEL = 64
_MAX_POINTS = 1 << 16


def as_it_is(plane: PlaneIndex) -> PlaneIndex:
    """Let a plane be its own key."""
    return plane


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn values of a wrong kind, met while a record is put together, into `RecordError`."""
    try:
        yield
    except RecordError:
        raise
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise RecordError(f"{what} cannot be stored: {error}") from error


def optional(value: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert a value unless it is None."""
    return None if value is None else convert(value)


def key_to_record(key: Hashable) -> Any:
    """Return the key of a plane for JSON.

    Of a key with a `PlaneIndex` as its ``plane``, such as `PlaneKey`, only that is kept: layers
    have other names in the next process.
    """
    plane = getattr(key, "plane", key)
    record: Any = key
    with storing("the plane"):
        if isinstance(plane, PlaneIndex):
            record = {"axes": _integers(plane.axes), "index": _integers(plane.index)}
        elif isinstance(key, tuple):
            record = _integers(key)
    key_from_record(Node(record, "the plane"))
    return record


def key_from_record(node: Node, make_key: MakeKey = as_it_is) -> Hashable:
    """Return the key of a plane; a `PlaneIndex` is made into one by `make_key`."""
    if isinstance(node.value, dict):
        parts = node.parts("axes", "index")
        index = parts["index"].integers(low=0)
        rows, columns = parts["axes"].integers(2, low=0)
        if not rows < columns < len(index) + 2 <= _MAX_AXES:
            raise node.error("two ascending axes and a position on each other one")
        return make_key(PlaneIndex((rows, columns), index))
    if isinstance(node.value, list):
        return node.integers()
    return node.text() if isinstance(node.value, str) else node.integer()


def identity_to_record(identity: ImageIdentity) -> dict[str, Any]:
    """Return an image's identity for JSON."""
    with storing("the image"):
        record = {
            "name": identity.name,
            "shape": _integers(identity.shape),
            "dtype": identity.dtype,
            "digest": identity.digest,
        }
    identity_from_record(Node(record, "the image"))
    return record


def identity_from_record(node: Node) -> ImageIdentity:
    """Return an image's identity."""
    parts = node.parts("name", "shape", "dtype", "digest")
    name, dtype, digest = (parts[part].text() for part in ("name", "dtype", "digest"))
    return ImageIdentity(name, shape_from_record(parts["shape"]), dtype, digest)


def shape_from_record(node: Node) -> tuple[int, ...]:
    """Return the shape of an array."""
    shape = node.integers(low=0)
    if len(shape) > _MAX_AXES or any(length > MAX_PX for length in shape):
        raise node.error(f"at most {_MAX_AXES} lengths of at most {MAX_PX}")
    return shape


def span_from_record(node: Node) -> tuple[int, int]:
    """Return (start, stop) along an axis, in px."""
    start, stop = node.integers(2, low=0)
    if not start <= stop <= MAX_PX:
        raise node.error("the first pixel and one past the last")
    return start, stop


def level_from_record(node: Node) -> int:
    """Return a pyramid level."""
    return node.integer(-_MAX_LEVEL, _MAX_LEVEL)


def prompts_to_record(prompts: PromptSet) -> dict[str, Any]:
    """Return prompts for JSON: points and box in SAM's (x, y) order."""
    with storing("the prompts"):
        record = _prompts(prompts)
    prompts_from_record(Node(record, "the prompts"))
    return record


def prompts_from_record(node: Node) -> PromptSet:
    """Return prompts."""
    parts = node.parts("points", "labels", "box", "outline")
    points = tuple(_pair(item) for item in parts["points"].items(most=_MAX_POINTS))
    box = None if parts["box"].value is None else cast(Box, parts["box"].numbers(4))
    outline = tuple(_pair(item) for item in parts["outline"].items(most=_MAX_POINTS))
    try:
        return PromptSet(points, parts["labels"].integers(), box, outline)
    except PromptError as error:
        raise RecordError(f"{node.place}: {error}") from error


def draft_to_record(draft: Draft) -> dict[str, Any]:
    """Return the history of an object's prompts for JSON; its seed as run lengths."""
    with storing("the prompts of an object"):
        record = {
            "number": operator.index(draft.number),
            "turns": [
                {
                    "prompts": _prompts(turn.prompts),
                    "choice": optional(turn.choice, operator.index),
                }
                for turn in draft.turns
            ],
            "seed": optional(draft.seed, mask_to_record),
            "label": optional(draft.label, operator.index),
        }
    draft_from_record(Node(record, "the draft"))
    return record


def draft_from_record(node: Node) -> Draft:
    """Return the history of an object's prompts."""
    parts = node.parts("number", "turns", "seed", "label")
    turns = tuple(_turn(item) for item in parts["turns"].items(most=_MAX_POINTS))
    seed = None if parts["seed"].value is None else mask_from_record(parts["seed"])
    label = None if parts["label"].value is None else parts["label"].integer()
    return Draft(parts["number"].integer(), turns, seed, label)


def field_to_record(field: Field) -> dict[str, Any]:
    """Return a field for JSON."""
    with storing("the field"):
        record = {
            "level": operator.index(field.level),
            "rows": _integers(field.rows),
            "columns": _integers(field.columns),
            "pad_rows": _integers(field.pad_rows),
            "pad_columns": _integers(field.pad_columns),
        }
    field_from_record(Node(record, "the field"))
    return record


def field_from_record(node: Node) -> Field:
    """Return a field."""
    parts = node.parts("level", "rows", "columns", "pad_rows", "pad_columns")
    rows, columns = span_from_record(parts["rows"]), span_from_record(parts["columns"])
    pads = [_padding(parts["pad_rows"]), _padding(parts["pad_columns"])]
    return Field(level_from_record(parts["level"]), rows, columns, *pads)


def rendering_to_record(rendering: Rendering) -> dict[str, Any]:
    """Return how an image was shown, for JSON."""
    with storing("the rendering"):
        record = {
            "channels": list(rendering.channels),
            "limits": [_floats(pair) for pair in rendering.limits],
        }
    rendering_from_record(Node(record, "the rendering"))
    return record


def rendering_from_record(node: Node) -> Rendering:
    """Return how an image was shown."""
    parts = node.parts("channels", "limits")
    limits = tuple(_pair(item) for item in parts["limits"].items())
    return Rendering(tuple(item.text() for item in parts["channels"].items()), limits)


def _prompts(prompts: PromptSet) -> dict[str, Any]:
    return {
        "points": [_floats(point) for point in prompts.points],
        "labels": _integers(prompts.labels),
        "box": optional(prompts.box, _floats),
        "outline": [_floats(corner) for corner in prompts.outline],
    }


def _turn(node: Node) -> Turn:
    parts = node.parts("prompts", "choice")
    choice = None if parts["choice"].value is None else parts["choice"].integer(0)
    return Turn(prompts_from_record(parts["prompts"]), choice)


def _pair(node: Node) -> tuple[float, float]:
    first, second = node.numbers(2)
    return first, second


def _padding(node: Node) -> tuple[int, int]:
    before, after = node.integers(2, low=0)
    if max(before, after) > MAX_PX:
        raise node.error(f"at most {MAX_PX} px")
    return before, after


def _integers(values: tuple[Any, ...]) -> list[int]:
    return [operator.index(value) for value in values]


def _floats(values: tuple[Any, ...]) -> list[float]:
    return [float(value) for value in values]
