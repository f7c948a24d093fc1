"""Operations of every kind for tests, drawn by Hypothesis, and what makes two of them equal."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import FieldOfView
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Kind, LabelWrite, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.records.packed import PackedWrite


def same(one: Any, other: Any) -> bool:
    """Compare everything inside dataclasses, including arrays and those without equality."""
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, part.name), getattr(other, part.name)) for part in fields(one)
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
PIXEL = st.integers(0, 5000)
LABEL = st.integers(1, 1 << 31)
INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12))
plane_masks = st.builds(PlaneMask, PIXEL, PIXEL, masks)
crops = st.sampled_from(INTEGERS).flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9)
    )
)


@st.composite
def plane_indices(draw: st.DrawFn) -> PlaneIndex:
    index = draw(st.lists(PIXEL, max_size=3))
    first, second = sorted(draw(st.permutations(range(len(index) + 2)))[:2])
    return PlaneIndex((first, second), tuple(index))


keys = st.one_of(
    plane_indices(),
    st.text(max_size=5),
    st.integers(-5, 1 << 40),
    st.lists(st.integers(-3, 1 << 20), max_size=3).map(tuple),
)


@st.composite
def prompt_sets(draw: st.DrawFn) -> PromptSet:
    points = draw(st.lists(st.tuples(FINITE, FINITE), max_size=3))
    labels = draw(st.lists(st.integers(0, 1), min_size=len(points), max_size=len(points)))
    box = None
    if draw(st.booleans()):
        x0, y0 = draw(st.integers(0, 99)) / 8, draw(st.integers(0, 99)) / 8
        box = (x0, y0, x0 + draw(st.integers(1, 99)) / 8, y0 + draw(st.integers(1, 99)) / 8)
    outline = draw(st.lists(st.tuples(FINITE, FINITE), max_size=4)) if box is not None else []
    return PromptSet(tuple(points), tuple(labels), box, tuple(outline))


drafts = st.builds(
    Draft,
    st.integers(0, 999),
    st.lists(st.builds(Turn, prompt_sets(), st.none() | st.integers(0, 3)), max_size=3).map(tuple),
    st.none() | plane_masks,
    st.none() | LABEL,
)
spans = st.tuples(PIXEL, PIXEL).map(lambda span: (min(span), max(span)))
model_fields = st.builds(
    FieldOfView, st.integers(-2, 12), spans, spans, st.tuples(PIXEL, PIXEL), st.tuples(PIXEL, PIXEL)
)
renderings = st.builds(
    Rendering,
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
    st.lists(st.tuples(FINITE, FINITE), max_size=3).map(tuple),
)


@st.composite
def objects(draw: st.DrawFn, key: Any = None) -> AcceptedObject:
    rows, columns = draw(spans), draw(spans)
    return AcceptedObject(
        id=draw(LABEL),
        plane=draw(keys) if key is None else key,
        bbox=(rows[0], columns[0], rows[1], columns[1]),
        area=draw(st.integers(0, (rows[1] - rows[0]) * (columns[1] - columns[0]))),
        score=draw(FINITE),
        draft=draw(drafts),
        field=draw(model_fields),
        candidate=draw(st.integers(0, 3)),
        level=draw(st.none() | st.integers(-2, 12)),
        typical_size=draw(st.none() | FINITE),
        model=draw(st.text(max_size=5)),
        fingerprint="0f" * 16,
        precision=draw(st.sampled_from(["float32", "bfloat16"])),
        rendering=draw(renderings),
        category=draw(st.text(max_size=5)),
        time="2025-02-03T04:05:06+00:00",
    )


@st.composite
def writes(draw: st.DrawFn, key: Any = None) -> LabelWrite:
    values, row, column = draw(crops), draw(PIXEL), draw(PIXEL)
    region = slice(row, row + values.shape[0]), slice(column, column + values.shape[1])
    return LabelWrite(draw(keys) if key is None else key, region, values)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    key = draw(keys)
    kind: Kind = draw(st.sampled_from(get_args(Kind)))
    labels = st.lists(LABEL, min_size=2, max_size=4, unique=True).map(tuple)
    return Operation(
        kind=kind,
        plane=key,
        objects=tuple(draw(st.lists(objects(key), min_size=1, max_size=2)))
        if kind in ("accept", "batch")
        else (),
        labels=draw(labels)[: {"link": 2, "unlink": 1}.get(kind)]
        if kind in ("delete", "merge", "split", "link", "unlink")
        else (),
        policy=draw(st.sampled_from(["keep", "overwrite", "inside"])),
        writes=tuple(
            PackedWrite.of(write) if kind in ("batch", "link") else write
            for write in draw(st.lists(writes(key), min_size=int(kind != "link"), max_size=2))
        )
        if kind in ("paint", "batch", "link")
        else (),
    )
