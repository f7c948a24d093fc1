"""The schema of records on disk: operations and all their parts, as JSON.

Nothing is written that cannot be read back. Files name the version of the schema once, at their
start.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, ValidationInfo
from typing_extensions import TypedDict

from napari_sam3.core import fields as core_fields
from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Kind, LabelWrite, Operation, Policy
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.identity import ImageIdentity

from .packed import PACKED_KINDS, PackedWrite
from .rle import (
    MAX_MASK_PIXELS,
    labels_text_shape,
    labels_to_text,
    mask_to_runs,
    runs_to_mask,
)
from .strict import (
    LIST,
    Count,
    Int,
    Number,
    Parts,
    RecordError,
    Schema,
    Text,
    reading,
    record,
)

__all__ = [
    "DRAFT",
    "FIELD",
    "IDENTITY",
    "KEY",
    "MASK",
    "OBJECT",
    "OPERATION",
    "PROMPTS",
    "RENDERING",
    "SCHEMA_VERSION",
    "WRITE",
    "DraftPart",
    "IdentityPart",
    "KeyPart",
    "LevelPart",
    "MaskPart",
    "ObjectPart",
    "OperationPart",
    "PromptsPart",
    "Shape",
    "WritePart",
    "check_version",
    "plain",
]

SCHEMA_VERSION = 1

_MAX_PX, _MAX_AXES, _MAX_LEVEL, _MAX_POINTS, _MAX_LABELS_TEXT = 1 << 40, 64, 64, 1 << 16, 1 << 31

# ------------------------------------------------------------------ numbers


def _span(span: tuple[int, int]) -> tuple[int, int]:
    if span[0] > span[1]:
        raise ValueError("the first pixel and one past the last")
    return span


def _box(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    if box[0] > box[2] or box[1] > box[3]:
        raise ValueError("(row, column, row, column), first and one past the last")
    return box


def _labels_text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_LABELS_TEXT:
        raise ValueError("labels as text")
    return value


_Px = Annotated[int, Field(strict=True, ge=0, le=_MAX_PX)]
_Span = Annotated[tuple[_Px, _Px], AfterValidator(_span)]
_Pair = tuple[Number, Number]
_Points = Annotated[tuple[_Pair, ...], Field(max_length=_MAX_POINTS, fail_fast=True)]
_Ints = Annotated[tuple[Int, ...], LIST]
LevelPart = Annotated[int, Field(strict=True, ge=-_MAX_LEVEL, le=_MAX_LEVEL)]
Shape = Annotated[tuple[_Px, ...], Field(max_length=_MAX_AXES)]

# ------------------------------------------------------------------ planes


@record
class _PlaneRecord(TypedDict):
    axes: tuple[Count, Count]
    index: Annotated[tuple[Count, ...], Field(max_length=_MAX_AXES)]


def _plane(parts: _PlaneRecord, info: ValidationInfo) -> Hashable:
    (rows, columns), index = parts["axes"], parts["index"]
    if not rows < columns < len(index) + 2 <= _MAX_AXES:
        raise ValueError("two ascending axes and a position on each other one")
    key: Hashable = reading(info).make_key(PlaneIndex((rows, columns), index))
    return key


_PLANE: TypeAdapter[Hashable] = TypeAdapter(Annotated[Hashable, Parts(_PlaneRecord, _plane)])
_OTHER_KEYS = {
    kind: TypeAdapter[Hashable](declared)
    for kind, declared in ((list, _Ints), (str, Text), (int, Int))
}


def _key(value: Any, info: ValidationInfo) -> Hashable:
    adapter = _PLANE if isinstance(value, dict) else _OTHER_KEYS.get(type(value))
    if adapter is None:
        raise ValueError("a plane: axes and index, a list of integers, a text or an integer")
    return adapter.validate_python(value, context=info.context)


KeyPart = Annotated[Hashable, PlainValidator(_key)]

# ------------------------------------------------------------------ images


@record
class _IdentityRecord(TypedDict):
    name: Text
    shape: Shape
    dtype: Text
    digest: Text


@record
class _RenderingRecord(TypedDict):
    channels: Annotated[tuple[Text, ...], LIST]
    limits: Annotated[tuple[_Pair, ...], LIST]


@record
class _FieldRecord(TypedDict):
    level: LevelPart
    rows: _Span
    columns: _Span
    pad_rows: tuple[_Px, _Px]
    pad_columns: tuple[_Px, _Px]


IdentityPart = Annotated[ImageIdentity, Parts(_IdentityRecord)]
_RenderingPart = Annotated[Rendering, Parts(_RenderingRecord)]
_FieldPart = Annotated[core_fields.FieldOfView, Parts(_FieldRecord)]

# ------------------------------------------------------------------ prompts and objects


@record
class _PromptsRecord(TypedDict):
    """Points, box and outline in SAM's (x, y) order, in px of the plane."""

    points: _Points
    labels: _Ints
    box: tuple[Number, Number, Number, Number] | None
    outline: _Points


PromptsPart = Annotated[PromptSet, Parts(_PromptsRecord)]


@record
class _MaskRecord(TypedDict):
    """Position of the crop, its shape, and its run lengths (`rle.mask_to_runs`)."""

    row: Annotated[int, Field(strict=True, ge=-_MAX_PX, le=_MAX_PX)]
    column: Annotated[int, Field(strict=True, ge=-_MAX_PX, le=_MAX_PX)]
    height: Annotated[int, Field(strict=True, ge=0, le=MAX_MASK_PIXELS)]
    width: Annotated[int, Field(strict=True, ge=0, le=MAX_MASK_PIXELS)]
    runs: list[Any]  # validated as a whole, which is faster


def _mask(parts: _MaskRecord, _: ValidationInfo) -> PlaneMask:
    crop = runs_to_mask(parts["runs"], (parts["height"], parts["width"]))
    return PlaneMask(parts["row"], parts["column"], crop)


MaskPart = Annotated[PlaneMask, Parts(_MaskRecord, _mask)]


@record
class _TurnRecord(TypedDict):
    prompts: PromptsPart
    choice: Count | None


@record
class _DraftRecord(TypedDict):
    number: Int
    turns: Annotated[
        tuple[Annotated[Turn, Parts(_TurnRecord)], ...],
        Field(max_length=_MAX_POINTS, fail_fast=True),
    ]
    seed: MaskPart | None
    label: Int | None


DraftPart = Annotated[Draft, Parts(_DraftRecord)]


@record
class _ObjectRecord(TypedDict):
    id: Int
    plane: KeyPart
    bbox: Annotated[tuple[_Px, _Px, _Px, _Px], AfterValidator(_box)]
    area: Count
    score: Number
    draft: DraftPart
    field: _FieldPart
    candidate: Count
    level: LevelPart | None
    typical_size: Number | None
    model: Text
    fingerprint: Text
    precision: Text
    rendering: _RenderingPart
    category: Text
    time: Text


def _object(parts: _ObjectRecord, _: ValidationInfo) -> AcceptedObject:
    y0, x0, y1, x1 = parts["bbox"]
    if parts["area"] > (y1 - y0) * (x1 - x0):
        raise RecordError.unreadable(
            f"the area is {parts['area']} px",
            f"at most the {(y1 - y0) * (x1 - x0)} px of the bounding box",
        )
    return AcceptedObject(**parts)


ObjectPart = Annotated[AcceptedObject, Parts(_ObjectRecord, _object)]

# ------------------------------------------------------------------ pixels and operations


@record
class _WriteRecord(TypedDict):
    plane: KeyPart
    rows: _Span
    columns: _Span
    labels: Annotated[str, PlainValidator(_labels_text)]


def _write(parts: _WriteRecord, _: ValidationInfo) -> PackedWrite:
    rows, columns = parts["rows"], parts["columns"]
    shape = labels_text_shape(parts["labels"])
    if shape != (rows[1] - rows[0], columns[1] - columns[0]):
        raise RecordError.unreadable(
            f"the labels are {shape[0]} x {shape[1]} px",
            f"those of rows {rows} and columns {columns}",
        )
    return PackedWrite(parts["plane"], (slice(*rows), slice(*columns)), parts["labels"])


WritePart = Annotated[PackedWrite, Parts(_WriteRecord, _write)]


@record
class _OperationRecord(TypedDict):
    kind: Kind
    plane: KeyPart
    objects: Annotated[tuple[ObjectPart, ...], LIST]
    labels: _Ints
    policy: Policy
    writes: Annotated[tuple[WritePart, ...], LIST]


def _operation(parts: _OperationRecord, info: ValidationInfo) -> Operation:
    """Build an operation and check that its pixels are readable; links and batches stay packed."""
    operation = Operation(**parts)
    if not reading(info).unpack:
        return operation
    writes = tuple(write.unpack() for write in parts["writes"])
    packed = operation.kind in PACKED_KINDS
    return operation if packed else replace(operation, writes=writes)


OperationPart = Annotated[Operation, Parts(_OperationRecord, _operation)]

# ------------------------------------------------------------------ conversion


def plain(value: Any) -> Any:
    """Convert a value to the dicts, lists, texts and numbers of its record.

    A key of a plane with a `PlaneIndex` as its ``plane``, such as `PlaneKey`, is reduced to that
    index, since layers have other names in the next process. numpy numbers become Python's own.
    """
    if value is None or isinstance(value, str | float | bool):
        return value
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, tuple | list):
        return [int(item) if isinstance(item, bool) else plain(item) for item in value]
    if isinstance(value, PlaneMask):
        return _mask_record(value)
    if isinstance(value, LabelWrite):
        return _write_record(value)
    if not isinstance(value, AcceptedObject | Operation):
        plane = getattr(value, "plane", None)
        if isinstance(plane, PlaneIndex):
            return plain(plane)
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    return operator.index(value)


KEY: Schema[Hashable] = Schema(KeyPart, "the plane", plain)
IDENTITY: Schema[ImageIdentity] = Schema(IdentityPart, "the image", plain)
PROMPTS: Schema[PromptSet] = Schema(PromptsPart, "the prompts", plain)
MASK: Schema[PlaneMask] = Schema(MaskPart, "the mask", plain)
DRAFT: Schema[Draft] = Schema(DraftPart, "the draft", plain)
FIELD: Schema[core_fields.FieldOfView] = Schema(_FieldPart, "the field", plain)
RENDERING: Schema[Rendering] = Schema(_RenderingPart, "the rendering", plain)
OBJECT: Schema[AcceptedObject] = Schema(ObjectPart, "the object", plain)
WRITE: Schema[LabelWrite] = Schema(WritePart, "the labels written", plain)
OPERATION: Schema[Operation] = Schema(OperationPart, "the operation", plain)


def check_version(
    version: Any, place: str, *, oldest: int = SCHEMA_VERSION, newest: int = SCHEMA_VERSION
) -> None:
    """Raise an error for a version of the schema that cannot be read.

    Raises
    ------
    RecordError
        With the versions that can be read.
    """
    if type(version) is not int or not oldest <= version <= newest:
        read = f"version {newest} only" if oldest == newest else f"versions {oldest} to {newest}"
        raise RecordError(
            f"{place} cannot be read: {version!r:.40}. Expected {read}. Use the napari-sam3 that "
            "wrote it, or a newer one."
        )


def _mask_record(mask: PlaneMask) -> dict[str, Any]:
    height, width = mask.crop.shape
    if mask.crop.size > MAX_MASK_PIXELS:
        raise RecordError.unstorable(
            f"a mask is too large to be stored: {height} x {width} px",
            f"at most {MAX_MASK_PIXELS} px",
        )
    return {
        "row": int(mask.row),
        "column": int(mask.column),
        "height": height,
        "width": width,
        "runs": mask_to_runs(mask.crop),
    }


def _write_record(write: LabelWrite) -> dict[str, Any]:
    rows, columns = write.region
    if not {rows.step, columns.step} <= {None, 1}:
        raise ValueError(f"{write.region} leaves pixels out")
    return {
        "plane": plain(write.plane),
        "rows": [operator.index(rows.start), operator.index(rows.stop)],
        "columns": [operator.index(columns.start), operator.index(columns.stop)],
        "labels": write.text if isinstance(write, PackedWrite) else labels_to_text(write.values),
    }
