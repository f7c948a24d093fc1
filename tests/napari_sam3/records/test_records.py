"""The schema of what is kept on disk: exact both ways, and strict."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.layers.plane_source import PlaneKey
from napari_sam3.records.packed import PackedWrite
from napari_sam3.records.schema import (
    DRAFT,
    FIELD,
    IDENTITY,
    KEY,
    OBJECT,
    OPERATION,
    PROMPTS,
    RENDERING,
    WRITE,
    check_version,
)
from napari_sam3.records.strict import RecordError, dump, parse
from tests.napari_sam3.record_samples import (
    drafts,
    keys,
    model_fields,
    objects,
    operations,
    prompt_sets,
    renderings,
    same,
    writes,
)

PLANE = PlaneIndex((1, 2), (7,))
ACCEPTED = AcceptedObject(
    id=3,
    plane=PLANE,
    bbox=(2, 3, 10, 12),
    area=40,
    score=0.875,
    draft=Draft(
        1,
        (Turn(PromptSet(((4.5, 5.0),), (1,), (1.0, 2.0, 8.0, 9.0)), 2),),
        PlaneMask(2, 3, np.eye(4, dtype=bool)),
        3,
    ),
    field=FieldOfView(0, (0, 100), (0, 90), (0, 0), (5, 5)),
    candidate=2,
    level=None,
    typical_size=9.5,
    model="tiny",
    fingerprint="abc",
    precision="float32",
    rendering=Rendering(("nuclei", "actin"), ((1.0, 99.5),)),
    category="nucleus",
    time="2025-02-03T04:05:06+00:00",
)
WRITTEN = LabelWrite(
    PLANE, (slice(2, 5), slice(3, 7)), np.arange(12, dtype=np.uint16).reshape(3, 4)
)
ACCEPT = Operation("accept", PLANE, (ACCEPTED,), policy="inside")
PAINT = Operation("paint", PLANE, writes=(WRITTEN,))


WRONG: list[Any] = [{"a": 1}, float("nan"), float("inf"), 1 << 2000, True, "x" * 5000, [[[]]]]


def through_json(record: Any) -> Any:
    return parse(dump(record, "record"), "record")


@given(operations())
@settings(deadline=None)
def test_every_operation_comes_back(operation: Operation) -> None:
    assert same(OPERATION.read(through_json(OPERATION.write(operation))), operation)


@given(objects())
@settings(deadline=None)
def test_every_object_comes_back(accepted: AcceptedObject) -> None:
    assert same(OBJECT.read(through_json(OBJECT.write(accepted))), accepted)


@given(writes())
@settings(deadline=None)
def test_every_write_comes_back(write: LabelWrite) -> None:
    packed = WRITE.read(through_json(WRITE.write(write)))
    assert isinstance(packed, PackedWrite)
    assert same(packed.unpack(), write)


@given(drafts, prompt_sets(), model_fields, renderings, keys)
@settings(deadline=None)
def test_every_part_comes_back(
    draft: Draft, prompts: PromptSet, field: FieldOfView, rendering: Rendering, key: Hashable
) -> None:
    assert same(DRAFT.read(through_json(DRAFT.write(draft))), draft)
    assert same(PROMPTS.read(through_json(PROMPTS.write(prompts))), prompts)
    assert same(FIELD.read(through_json(FIELD.write(field))), field)
    assert same(RENDERING.read(through_json(RENDERING.write(rendering))), rendering)
    assert same(KEY.read(through_json(KEY.write(key))), key)


def test_values_of_numpy_are_stored_as_what_they_are_equal_to() -> None:
    values: dict[str, Any] = {
        "id": np.uint32(3),
        "score": np.float32(0.3),
        "bbox": tuple(np.array(ACCEPTED.bbox)),
        "area": np.int64(40),
        "plane": tuple(np.arange(2)),
    }
    odd = replace(ACCEPTED, **values)
    back = OBJECT.read(through_json(OBJECT.write(odd)))
    assert (back.id, back.bbox, back.area, back.plane) == (3, ACCEPTED.bbox, 40, (0, 1))
    assert back.score == float(np.float32(0.3))
    assert type(back.score) is float


def test_a_key_of_a_layer_is_stored_as_its_plane_and_made_anew_by_the_reader() -> None:
    record = KEY.write(PlaneKey("the layer of that day", PLANE))
    assert record == {"axes": [1, 2], "index": [7]}
    key = KEY.read(record, lambda plane: PlaneKey("today's layer", plane), place="key")
    assert key == PlaneKey("today's layer", PLANE)


def test_the_reader_makes_all_keys_of_an_operation() -> None:
    @dataclass(frozen=True)
    class Mine:
        plane: PlaneIndex

    for operation in (ACCEPT, PAINT):
        back = OPERATION.read(through_json(OPERATION.write(operation)), Mine)
        planes = [back.plane, *(o.plane for o in back.objects), *(w.plane for w in back.writes)]
        assert planes == [Mine(PLANE)] * 2


def test_an_identity_comes_back_with_its_name() -> None:
    identity = ImageIdentity("Zellen 細胞 \udcff", (3, 40, 50), "uint16", "ab")
    back = IDENTITY.read(through_json(IDENTITY.write(identity)))
    assert same(back, identity)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in nested lists and dicts."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [path, *(place for key, part in inner for place in paths(part, (*path, key)))]


def changed(record: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    record = copy.deepcopy(record)
    owner = record
    for step in path[:-1]:
        owner = owner[step]
    change(owner, path[-1])
    return record


@pytest.mark.parametrize("operation", [ACCEPT, PAINT], ids=["accept", "paint"])
def test_a_value_of_the_wrong_type_is_refused_wherever_it_stands(operation: Operation) -> None:
    record = OPERATION.write(operation)
    refused = 0
    for path in paths(record)[1:]:
        for wrong in WRONG:

            def put(owner: Any, key: Any, value: Any = wrong) -> None:
                owner[key] = value

            with pytest.raises(RecordError, match="operation"):
                OPERATION.read(changed(record, path, put), place="operation")
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("operation", [ACCEPT, PAINT], ids=["accept", "paint"])
def test_a_missing_or_an_unknown_name_is_refused_wherever_it_stands(operation: Operation) -> None:
    record = OPERATION.write(operation)
    for path in paths(record):
        if path and isinstance(path[-1], str):
            lacking = changed(record, path, lambda owner, key: owner.pop(key))
            with pytest.raises(RecordError, match=f"lacks '{path[-1]}'"):
                OPERATION.read(lacking, place="operation")
            more = changed(record, path, lambda owner, key: owner.update(surprise=1))
            with pytest.raises(RecordError, match="unknown 'surprise'"):
                OPERATION.read(more, place="operation")


def test_a_complaint_names_the_place_and_what_was_expected() -> None:
    record = OPERATION.write(ACCEPT)
    record["objects"][0]["draft"]["turns"][0]["prompts"]["points"][0][1] = "low"
    with pytest.raises(
        RecordError,
        match=r"op\.objects\[0\]\.draft\.turns\[0\]\.prompts\.points\[0\]\[1\] is invalid: 'low'",
    ):
        OPERATION.read(record, place="op")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda r: r["objects"][0].update(bbox=[5, 5, 4, 9]), "bbox"),
        (lambda r: r["objects"][0].update(area=73), "area"),
        (lambda r: r["objects"][0]["field"].update(rows=[9, 3]), "rows"),
        (lambda r: r["objects"][0]["field"].update(level=1000), "level"),
        (lambda r: r["objects"][0]["draft"]["seed"].update(runs=[16, 1]), "seed"),
        (lambda r: r["objects"][0]["draft"]["turns"][0]["prompts"].update(labels=[2]), "prompts"),
        (lambda r: r["objects"][0]["draft"]["turns"][0]["prompts"].update(labels=[]), "prompts"),
        (lambda r: r["objects"][0]["draft"]["turns"][0]["prompts"].update(box=[1] * 4), "prompts"),
        (lambda r: r["objects"][0].update(bbox=[1] * 5), "bbox is invalid.* Expected at most 4"),
        (lambda r: r.update(kind="explode"), "kind"),
        (lambda r: r.update(policy="hope"), "policy"),
        (lambda r: r.update(plane={"axes": [2, 1], "index": [7]}), "plane"),
        (lambda r: r.update(plane={"axes": [1, 3], "index": [7]}), "plane"),
        (lambda r: r.update(plane={"axes": [1, 2], "index": [-7]}), "plane"),
        (lambda r: r.update(plane={"axes": [0, 1], "index": [0] * 100}), "plane"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    change: Callable[[Any], None], match: str
) -> None:
    record = OPERATION.write(ACCEPT)
    change(record)
    with pytest.raises(RecordError, match=match) as raised:
        OPERATION.read(record, place="operation")
    assert re.fullmatch(r"operation.*: [^;]+\. Expected [^;]+\. [A-Z][^;]+\.", str(raised.value))


def test_labels_must_have_the_shape_of_their_region() -> None:
    record = OPERATION.write(PAINT)
    record["writes"][0]["rows"] = [2, 6]
    with pytest.raises(RecordError, match=r"writes\[0\]: the labels"):
        OPERATION.read(record, place="operation")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score", float("nan")),
        ("typical_size", float("inf")),
        ("id", 1 << 70),
        ("id", 1.5),
        ("area", -1),
        ("plane", None),
        ("plane", object()),
        ("plane", True),
        ("plane", ("a", 1)),
        ("plane", PlaneIndex((1, 0))),
        ("category", 7),
        ("category", "x" * 5000),
        ("rendering", Rendering((), ((0.0, float("nan")),))),
        ("draft", Draft(1, (Turn(PromptSet(((float("nan"), 1.0),), (1,))),))),
        ("draft", None),
    ],
)
def test_what_could_not_be_read_again_is_not_stored(name: str, value: Any) -> None:
    with pytest.raises(RecordError):
        OBJECT.write(replace(ACCEPTED, **{name: value}))


@pytest.mark.parametrize(
    "bad",
    [
        replace(WRITTEN, region=(slice(None), slice(0, 4))),
        replace(WRITTEN, region=(slice(0, 6, 2), slice(0, 4))),
        replace(WRITTEN, region=(slice(0, 3), slice(0, 5))),
        replace(WRITTEN, region=(slice(-3, 0), slice(0, 4))),
        replace(WRITTEN, values=np.zeros((3, 4))),
    ],
)
def test_a_write_without_place_or_labels_is_not_stored(bad: LabelWrite) -> None:
    with pytest.raises(RecordError):
        WRITE.write(bad)


def test_operations_of_no_kind_are_not_stored() -> None:
    for bad in (
        replace(ACCEPT, kind="explode"),  # type: ignore[arg-type]
        replace(ACCEPT, policy="hope"),  # type: ignore[arg-type]
        replace(ACCEPT, labels=("a",)),  # type: ignore[arg-type]
        replace(ACCEPT, labels=(1 << 70,)),
    ):
        with pytest.raises(RecordError, match=r"Expected [^;]+\. Change the value\.$"):
            OPERATION.write(bad)


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.0, True])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(RecordError, match="version 1 only"):
        check_version(version, "the version")
    check_version(1, "the version")


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n", b"{", b"[" * 100_000, b"9" * 10_000, b'"\xff"', b"nul"]
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(RecordError, match="not valid JSON"):
        parse(content, "the file")


def test_nan_is_never_written() -> None:
    with pytest.raises(RecordError, match="cannot be stored"):
        dump({"score": float("nan")}, "the score")
    assert json.loads(dump({"name": "細胞"}, "the name")) == {"name": "細胞"}
