"""What holds for fields of planes of any size, from one pixel to a million by a million."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import (
    FINEST_LEVEL,
    FieldOfView,
    choose_field,
    field_side,
    field_spans,
    top_level,
)
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import PromptSet
from sam3.config import PRESETS, ModelConfig

MILLION = 1_000_000
lengths = st.one_of(
    st.integers(1, MILLION), st.integers(1, 5_000), st.sampled_from([1, 2, MILLION])
)
shapes = st.tuples(lengths, lengths)
models = st.sampled_from(list(PRESETS.values()))
levels = st.integers(FINEST_LEVEL, 12)
always = settings(deadline=None, max_examples=150)


@st.composite
def clicked_fields(
    draw: st.DrawFn,
) -> tuple[tuple[int, int], ModelConfig, FieldOfView, tuple[int, int]]:
    """Return a plane, a model, a pixel (x, y), and the field in which a click on it is answered."""
    shape, config = draw(shapes), draw(models)
    x, y = draw(st.integers(0, shape[1] - 1)), draw(st.integers(0, shape[0] - 1))
    click = PromptSet(((float(x), float(y)),), (1,))
    return shape, config, choose_field(shape, click, config, draw(levels)), (x, y)


@always
@given(lengths, models, levels)
def test_spans_cover_an_axis_without_a_gap_and_overlap_by_half(
    length: int, config: ModelConfig, level: int
) -> None:
    side = field_side(config.resolution, level)
    assume(length / side < 20_000)
    spans = np.array(field_spans(length, side))
    assert (spans[0, 0], spans[-1, 1]) == (0, length)
    assert np.all(spans[:, 1] - spans[:, 0] == min(side, length))
    steps = np.diff(spans[:, 0])
    assert np.all((steps > 0) & (steps <= max(1, side // 2))), "no gap, and each one is needed"


@always
@given(st.data(), shapes, models, levels)
def test_every_box_up_to_half_a_field_lies_whole_in_a_field(
    data: st.DataObject, shape: tuple[int, int], config: ModelConfig, level: int
) -> None:
    side = field_side(config.resolution, level)
    assume(max(shape) / side < 20_000)
    for length in shape:
        size = data.draw(st.integers(1, max(1, min(side // 2, length))))
        start = data.draw(st.integers(0, length - size))
        spans = np.array(field_spans(length, side))
        assert np.any((spans[:, 0] <= start) & (start + size <= spans[:, 1]))


@always
@given(clicked_fields())
def test_every_pixel_lies_in_the_field_that_answers_a_click_on_it(
    drawn: tuple[tuple[int, int], ModelConfig, FieldOfView, tuple[int, int]],
) -> None:
    shape, config, field, (x, y) = drawn
    for place, (start, stop), length in zip(
        (y, x), (field.rows, field.columns), shape, strict=True
    ):
        assert 0 <= start <= place < stop <= length
    assert field.level <= top_level(shape, config.resolution)
    assert max(field.shape) <= field_side(config.resolution, field.level)


@always
@given(clicked_fields(), st.data())
def test_coordinates_go_into_a_field_and_back_exactly(
    drawn: tuple[tuple[int, int], ModelConfig, FieldOfView, tuple[int, int]], data: st.DataObject
) -> None:
    _, _, field, (x, y) = drawn
    inside = field.to_field(np.array([x, y], np.float64))
    height, width = field.encoded_shape
    assert 0 <= inside[0] < width
    assert 0 <= inside[1] < height
    row, column = field.origin
    assert (inside[0] + column, inside[1] + row) == (x, y)
    pasted = field.paste(np.ones((1, 1), np.bool_), int(inside[1]), int(inside[0]))
    assert pasted.bbox == (y, x, y + 1, x + 1)
    assert isinstance(pasted, PlaneMask)
    # A mask that reaches into the padding, or out of the picture, is cut off where the plane ends.
    span = data.draw(st.integers(1, 40))
    pasted = field.paste(np.ones((span, span), np.bool_), int(inside[1]), int(inside[0]))
    y0, x0, y1, x1 = pasted.bbox
    assert (y0, x0) == (y, x)
    assert (y1, x1) == (min(y + span, field.rows[1]), min(x + span, field.columns[1]))


@always
@given(clicked_fields())
def test_the_grid_over_a_pixel_is_the_field_of_a_click_on_it(
    drawn: tuple[tuple[int, int], ModelConfig, FieldOfView, tuple[int, int]],
) -> None:
    shape, config, field, (x, y) = drawn
    assume(max(shape) / field_side(config.resolution, field.level) < 20_000)
    grid = fields_over(shape, config.resolution, field.level, (y, y + 1), (x, x + 1))
    assert list(grid) == [field]
