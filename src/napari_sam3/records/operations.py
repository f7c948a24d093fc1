"""The one schema of what is kept on disk: operations as JSON, both ways, strictly.

Each ``x_to_record`` gives what ``x_from_record`` reads, and refuses what that would refuse, so that
nothing is written that cannot be read again. Reading raises `RecordError` with the place in the
record. Files announce `SCHEMA_VERSION` once, at their start.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Kind, LabelWrite, Operation, Policy

from .checks import Node, RecordError
from .packed import PackedWrite
from .parts import (
    MAX_PX,
    MakeKey,
    as_it_is,
    draft_from_record,
    draft_to_record,
    field_from_record,
    field_to_record,
    key_from_record,
    key_to_record,
    level_from_record,
    optional,
    rendering_from_record,
    rendering_to_record,
    span_from_record,
    storing,
)
from .rle import labels_from_text, labels_text_bytes, labels_text_shape, labels_to_text

__all__ = [
    "SCHEMA_VERSION",
    "StoredWrite",
    "check_version",
    "object_from_record",
    "object_to_record",
    "operation_from_record",
    "operation_to_record",
    "unpacked_bytes",
    "write_from_record",
    "write_to_record",
]

SCHEMA_VERSION = 1

_KINDS, _POLICIES = get_args(Kind), get_args(Policy)
_MAX_LABELS_TEXT = 1 << 31


@dataclass(frozen=True, eq=False)
class StoredWrite:
    """A `LabelWrite` whose pixels are still packed, so that a whole history fits into memory.

    Parameters
    ----------
    plane : hashable
        Key of the plane.
    rows, columns : tuple of int
        Start and stop in px of the plane.
    text : str
        The labels, see `rle.labels_to_text`.
    """

    plane: Hashable
    rows: tuple[int, int]
    columns: tuple[int, int]
    text: str = field(repr=False)

    def unpack(self) -> LabelWrite:
        """Return it with its pixels; RecordError if they are damaged."""
        region = slice(*self.rows), slice(*self.columns)
        return LabelWrite(self.plane, region, labels_from_text(self.text))


def check_version(node: Node) -> None:
    """Refuse what another version of the schema wrote.

    Raises
    ------
    RecordError
        Naming both versions.
    """
    if type(node.value) is not int or node.value != SCHEMA_VERSION:
        raise RecordError(
            f"{node.place} is {node.value!r:.40}; this napari-sam3 reads version "
            f"{SCHEMA_VERSION} only. Use the napari-sam3 that wrote it, or a newer one"
        )


def write_to_record(write: LabelWrite) -> dict[str, Any]:
    """Return pixels of a plane for JSON."""
    with storing("the region of a write"):
        rows, columns = write.region
        if not {rows.step, columns.step} <= {None, 1}:
            raise ValueError(f"{write.region} leaves pixels out")
        record = {
            "plane": key_to_record(write.plane),
            "rows": [operator.index(rows.start), operator.index(rows.stop)],
            "columns": [operator.index(columns.start), operator.index(columns.stop)],
            "labels": write.text
            if isinstance(write, PackedWrite)
            else labels_to_text(write.values),
        }
    write_from_record(Node(record, "the write"))
    return record


def write_from_record(node: Node, make_key: MakeKey = as_it_is) -> StoredWrite:
    """Return pixels of a plane, still packed, but known to be announced in their region's shape."""
    parts = node.parts("plane", "rows", "columns", "labels")
    rows, columns = span_from_record(parts["rows"]), span_from_record(parts["columns"])
    text = parts["labels"].text(_MAX_LABELS_TEXT)
    try:
        shape = labels_text_shape(text)
    except RecordError as error:
        raise RecordError(f"{parts['labels'].place}: {error}") from error
    if shape != (rows[1] - rows[0], columns[1] - columns[0]):
        raise parts["labels"].error(f"labels of rows {rows} and columns {columns}")
    return StoredWrite(key_from_record(parts["plane"], make_key), rows, columns, text)


def object_to_record(accepted: AcceptedObject) -> dict[str, Any]:
    """Return an accepted object for JSON."""
    with storing("an accepted object"):
        record = {
            "id": operator.index(accepted.id),
            "plane": key_to_record(accepted.plane),
            "bbox": [operator.index(n) for n in accepted.bbox],
            "area": operator.index(accepted.area),
            "score": float(accepted.score),
            "draft": draft_to_record(accepted.draft),
            "field": field_to_record(accepted.field),
            "candidate": operator.index(accepted.candidate),
            "level": optional(accepted.level, operator.index),
            "typical_size": optional(accepted.typical_size, float),
            "model": accepted.model,
            "fingerprint": accepted.fingerprint,
            "precision": accepted.precision,
            "rendering": rendering_to_record(accepted.rendering),
            "category": accepted.category,
            "time": accepted.time,
        }
    _check_plain(_parts(Node(record, "the object")))
    return record


def object_from_record(node: Node, make_key: MakeKey = as_it_is) -> AcceptedObject:
    """Return an accepted object."""
    parts = _parts(node)
    return AcceptedObject(
        plane=key_from_record(parts["plane"], make_key),
        draft=draft_from_record(parts["draft"]),
        field=field_from_record(parts["field"]),
        rendering=rendering_from_record(parts["rendering"]),
        **_check_plain(parts),
    )


def operation_to_record(operation: Operation) -> dict[str, Any]:
    """Return an operation for JSON."""
    with storing("an operation"):
        labels = [operator.index(label) for label in operation.labels]
    return {
        "kind": Node(operation.kind, "the operation's kind").one_of(_KINDS),
        "plane": key_to_record(operation.plane),
        "objects": [object_to_record(accepted) for accepted in operation.objects],
        "labels": list(Node(labels, "the operation's labels").integers()),
        "policy": Node(operation.policy, "the operation's policy").one_of(_POLICIES),
        "writes": [write_to_record(write) for write in operation.writes],
    }


def operation_from_record(node: Node, make_key: MakeKey = as_it_is) -> Operation:
    """Return an operation."""
    parts = node.parts("kind", "plane", "objects", "labels", "policy", "writes")
    kind = cast(Kind, parts["kind"].one_of(_KINDS))
    packed = kind == "batch"
    return Operation(
        kind=kind,
        plane=key_from_record(parts["plane"], make_key),
        objects=tuple(object_from_record(item, make_key) for item in parts["objects"].items()),
        labels=parts["labels"].integers(),
        policy=cast(Policy, parts["policy"].one_of(_POLICIES)),
        writes=tuple(_write(item, make_key, packed=packed) for item in parts["writes"].items()),
    )


#: Most that the masks and labels of a journal or a session file may take in memory once read; what
#: holds more was never in memory to be written.
MAX_UNPACKED_BYTES = 1 << 33


def unpacked_bytes(operation: Any) -> int:
    """Tell how much memory the masks and labels of an operation's record take once read.

    Each is bounded, but a short file can announce very many. Labels that stay packed (those of a
    batch) count as they are. Whatever is no record counts nothing: reading it complains.

    Parameters
    ----------
    operation : object
        From `operation_to_record`, or from anybody.
    """
    total = 0
    for accepted in _list_of_dicts(operation, "objects"):
        draft = accepted.get("draft")
        seed = draft.get("seed") if isinstance(draft, dict) else None
        sides: list[Any] = []
        if isinstance(seed, dict):
            sides = [seed.get("height"), seed.get("width")]
        if sides and all(type(side) is int and side >= 0 for side in sides):
            total += sides[0] * sides[1]
    packed = isinstance(operation, dict) and operation.get("kind") == "batch"
    for write in _list_of_dicts(operation, "writes"):
        with suppress(RecordError, KeyError, TypeError):
            text = write["labels"]
            total += len(text) if packed else labels_text_bytes(text)
    return total


def _list_of_dicts(record: Any, name: str) -> list[dict[str, Any]]:
    found = record.get(name) if isinstance(record, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _parts(node: Node) -> dict[str, Node]:
    names = ["id", "plane", "bbox", "area", "score", "draft", "field", "candidate", "level"]
    names += ["typical_size", "model", "fingerprint", "precision", "rendering", "category", "time"]
    return node.parts(*names)


def _check_plain(parts: dict[str, Node]) -> dict[str, Any]:
    """Return those values of an object that JSON has a form for."""
    y0, x0, y1, x1 = parts["bbox"].integers(4, low=0)
    if not (y0 <= y1 <= MAX_PX and x0 <= x1 <= MAX_PX):
        raise parts["bbox"].error("(row, column, row, column), first and one past the last")
    level, size = parts["level"], parts["typical_size"]
    texts = ("model", "fingerprint", "precision", "category", "time")
    return {
        "id": parts["id"].integer(),
        "bbox": (y0, x0, y1, x1),
        "area": parts["area"].integer(0, (y1 - y0) * (x1 - x0)),
        "score": parts["score"].number(),
        "candidate": parts["candidate"].integer(0),
        "level": None if level.value is None else level_from_record(level),
        "typical_size": None if size.value is None else size.number(),
        **{name: parts[name].text() for name in texts},
    }


def _write(node: Node, make_key: MakeKey, *, packed: bool) -> LabelWrite:
    """Return pixels of a plane, known to be readable; those of a batch stay packed."""
    stored = write_from_record(node, make_key)
    try:
        write = stored.unpack()
        return PackedWrite(write.plane, write.region, stored.text) if packed else write
    except RecordError as error:
        raise RecordError(f"{node.place}: {error}") from error
