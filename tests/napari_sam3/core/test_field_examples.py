"""Fields in numbers: each case worked out by hand, beside the properties in test_fields.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import (
    FieldOfView,
    central_span,
    choose_field,
    field_holds,
    field_of_spans,
    field_side,
    field_spans,
    mask_logits,
    resample_logits,
    top_level,
    touches_inner_border,
)
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane


@dataclass(frozen=True)
class Sizes:
    resolution: int = 100
    default_level: int = 0


def test_sides_and_levels() -> None:
    assert [field_side(100, level) for level in (-2, -1, 0, 1, 3)] == [25, 50, 100, 200, 800]
    assert field_side(1, -2) == 1
    assert [top_level((size, 10), 100) for size in (25, 26, 50, 100, 101, 801)] == [
        *(-2, -1, -1, 0, 1, 4)
    ]
    assert top_level((10, 801), 100) == 4


def test_spans_overlap_by_half_and_the_last_ends_at_the_edge() -> None:
    assert field_spans(100, 100) == [(0, 100)]
    assert field_spans(40, 100) == [(0, 40)]
    assert field_spans(101, 100) == [(0, 100), (1, 101)]
    assert field_spans(150, 100) == [(0, 100), (50, 150)]
    assert field_spans(151, 100) == [(0, 100), (50, 150), (51, 151)]
    assert field_spans(3, 1) == [(0, 1), (1, 2), (2, 3)]
    assert field_spans(9, 5) == [(0, 5), (2, 7), (4, 9)]


def test_fields_of_a_level_go_row_by_row() -> None:
    spans = [((0, 100), (0, 100)), ((0, 100), (50, 150)), ((50, 150), (0, 100))]
    found = tuple(fields_over((150, 150), 100, 0))
    assert [(field.rows, field.columns) for field in found][:3] == spans
    assert {field.level for field in found} == {0}
    assert len(found) == 4


def test_the_most_central_span_is_the_first_of_equals() -> None:
    spans = [(0, 100), (50, 150), (100, 200)]
    assert central_span(spans, 40) == (0, 100)
    assert central_span(spans, 74.5) == (0, 100)
    assert central_span(spans, 74.6) == (50, 150)
    assert central_span(spans, 199) == (100, 200)


def test_thin_fields_are_padded_to_four_thirds() -> None:
    field = field_of_spans(1, (10, 130), (5, 25))  # 120 x 20 px, to 120 x 90
    assert field == FieldOfView(1, (10, 130), (5, 25), (0, 0), (35, 35))
    assert field.encoded_shape == (120, 90)
    assert field.origin == (10, -30)
    field = field_of_spans(0, (0, 21), (0, 100))  # 54 px are missing, or 27 and 27
    assert (field.pad_rows, field.pad_columns) == ((27, 27), (0, 0))
    field = field_of_spans(0, (0, 20), (0, 100))
    assert field.pad_rows == (27, 28)
    assert field_of_spans(0, (0, 75), (0, 100)).pad_rows == (0, 0)
    # No more than 2**26 px altogether.
    long = field_of_spans(20, (0, 1_000_000), (0, 10))
    assert sum(long.pad_columns) == (1 << 26) // 1_000_000 - 10
    assert sum(field_of_spans(30, (0, 1 << 27), (0, 1)).pad_columns) == 0


@pytest.mark.parametrize(
    ("place", "holds"),
    [
        *(((106.25, 150), True), ((106.2, 150), False), ((192.75, 150), True)),
        *(((192.8, 150), False), ((150, 106.25), True), ((150, 106.2), False)),
        *(((150, 192.75), True), ((150, 192.8), False)),
    ],
)
def test_prompts_keep_off_borders_within_the_plane(place: tuple[float, float], holds: bool) -> None:
    field = FieldOfView(0, (100, 200), (100, 200))
    assert field_holds(field, PromptSet((place,), (1,)), (300, 300)) is holds


def test_prompts_may_touch_the_borders_of_the_plane() -> None:
    field = FieldOfView(0, (0, 100), (0, 100))
    for place in ((-0.5, -0.5), (99.5, 99.5), (0, 99)):
        assert field_holds(field, PromptSet((place,), (1,)), (100, 100))
    assert not field_holds(field, PromptSet(((99, 0),), (1,)), (100, 101))
    assert not field_holds(field, PromptSet(((0, 99),), (1,)), (101, 100))


@pytest.mark.parametrize(
    ("box", "level"), [(11, -2), (12, -1), (22, -1), (23, 0), (45, 0), (46, 1), (90, 1), (91, 2)]
)
def test_boxes_fill_less_than_half_a_field(box: float, level: int) -> None:
    prompts = PromptSet(box=(1000 - box / 2, 998, 1000 + box / 2, 1001))
    assert choose_field((4000, 4000), prompts, Sizes()).level == level


@pytest.mark.parametrize(
    ("size", "level"),
    [(None, 0), (0, 0), (13, 0), (12, -1), (6.2, -2), (1, -2), (33, 0), (34, 1), (66, 1), (67, 2)],
)
def test_clicks_follow_the_size_of_what_was_seen(size: float | None, level: int) -> None:
    click = PromptSet(((1010, 1010),), (1,))
    assert choose_field((4000, 4000), click, Sizes(), typical_size=size).level == level


def test_a_level_that_is_asked_for_is_kept_within_those_there_are() -> None:
    click = PromptSet(((1010, 1010),), (1,))
    levels = [choose_field((4000, 4000), click, Sizes(), level).level for level in (-9, 1, 5, 99)]
    assert levels == [-2, 1, 5, 6]
    assert choose_field((4000, 4000), click, Sizes(default_level=2)).level == 2
    found = choose_field((4000, 4000), click, Sizes(), 0)
    assert (found.rows, found.columns) == ((950, 1050), (950, 1050))
    apart = PromptSet(((1010, 2010), (1040, 2050)), (1, 0))
    found = choose_field((4000, 4000), apart, Sizes(), 0)
    assert (found.rows, found.columns) == ((2000, 2100), (1000, 1100))


def test_masks_of_a_field_come_back_without_their_padding() -> None:
    field = FieldOfView(0, (100, 104), (50, 53), (2, 1), (3, 1))
    mask = np.ones((7, 7), bool)
    assert field.paste(mask).bbox == (100, 50, 104, 53)
    assert field.paste(mask[:1, :1], 2, 3).bbox == (100, 50, 101, 51)
    assert field.paste(mask[:1, :1], 5, 5).bbox == (103, 52, 104, 53)
    assert field.paste(mask[:1, :1], 1, 3).is_empty
    assert field.paste(mask[:1, :1], 2, 2).is_empty
    assert field.paste(mask[:1, :1], 6, 5).is_empty
    assert field.paste(mask[:1, :1], 5, 6).is_empty
    assert field.paste(mask[:3, :2], 1, 4).bbox == (100, 51, 102, 53)
    assert field.to_field(np.array([[50.0, 100.0], [52.5, 101.0]])).tolist() == [[3, 2], [5.5, 3]]


class Pyramid(ArrayPlane):
    """Remembers what it was asked for, and gives every second pixel of coarse regions."""

    asked: tuple[Any, ...] = ()

    def region(self, rows: slice, columns: slice, step: int = 1) -> npt.NDArray[np.uint8]:
        self.asked = rows, columns, step
        region = super().region(rows, columns, step)
        return region[::2, ::2] if step >= 2 else region


def test_coarse_fields_are_read_as_coarse_as_they_are_shown() -> None:
    values = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    plane = Pyramid(values)
    found = FieldOfView(1, (100, 300), (20, 60), (0, 0), (55, 55)).extract(plane)
    assert plane.asked == (slice(100, 300), slice(20, 60), 2)
    assert found.shape == (100, 20 + 2 * 28, 3)  # 55 px are 27.5 of the coarse ones
    assert found.flags.c_contiguous
    assert (found[:, 28:48] == values[100:300:2, 20:60:2]).all()
    assert (found[:, 27] == found[:, 28]).all(), "padding mirrors the border"
    for level, shrink in ((3, 8), (0, 1), (-2, 1)):
        FieldOfView(level, (0, 100), (0, 100)).extract(plane)
        assert plane.asked == (slice(0, 100), slice(0, 100), shrink)


@pytest.mark.parametrize(
    ("mask", "cut"),
    [
        *(((10, 20, 15, 25), True), ((11, 21, 15, 25), False), ((40, 50, 60, 55), True)),
        *(((40, 50, 59, 55), False), ((40, 60, 45, 70), True), ((40, 60, 45, 69), False)),
        *(((10, 30, 12, 33), True), ((30, 20, 33, 22), True)),
    ],
)
def test_objects_cut_off_by_their_field(mask: tuple[int, int, int, int], cut: bool) -> None:
    top, left, bottom, right = mask
    pasted = PlaneMask.from_array(np.ones((bottom - top, right - left), bool), top, left)
    field = FieldOfView(0, (10, 60), (20, 70))
    assert touches_inner_border(pasted, field, (100, 100)) is cut
    whole = FieldOfView(0, (0, 60), (0, 70))
    assert not touches_inner_border(pasted, whole, (60, 70))


def test_mask_prompts_say_how_much_of_a_cell_is_covered() -> None:
    field = FieldOfView(0, (100, 108), (200, 208))
    mask = PlaneMask.from_array(np.ones((3, 4), bool), 101, 202)
    found = mask_logits(mask, field, 4)  # cells of 2 x 2 px
    assert found.shape == (1, 4, 4)
    assert found.dtype == np.float32
    assert found[0].tolist() == [
        [-2.5, 0, 0, -2.5],
        [-2.5, 2.5, 2.5, -2.5],
        [-2.5, -2.5, -2.5, -2.5],
        [-2.5, -2.5, -2.5, -2.5],
    ]
    empty = mask_logits(PlaneMask(0, 0, np.zeros((0, 0), bool)), field, 4)
    assert (empty == -2.5).all()
    padded = FieldOfView(0, (100, 104), (200, 208), (2, 2), (0, 0))
    assert (mask_logits(mask, padded, 4)[0, 1] == [-2.5, 0, 0, -2.5]).all()


def test_logits_move_by_whole_cells_and_are_zero_where_nothing_is_known() -> None:
    logits = np.arange(16, dtype=np.float32).reshape(1, 4, 4) - 8
    old = FieldOfView(0, (0, 8), (0, 8))
    moved = resample_logits(logits, old, FieldOfView(0, (2, 10), (4, 12)))
    assert moved.dtype == np.float32
    expected = np.zeros((4, 4), np.float32)
    expected[:3, :2] = logits[0, 1:, 2:]
    assert moved[0].tolist() == expected.tolist()
    coarse = resample_logits(logits, old, FieldOfView(1, (0, 16), (0, 16)))
    assert coarse[0, :2, :2].tolist() == [[-5.5, -3.5], [2.5, 4.5]]
    assert not coarse[0, 2:].any()
    assert not coarse[0, :, 2:].any()
    fine = resample_logits(logits, old, FieldOfView(-1, (2, 6), (2, 6)))
    assert fine[0, 0].tolist() == [-4.25, -3.75, -3.25, -2.75]
    assert fine[0, :, 0].tolist() == [-4.25, -2.25, -0.25, 1.75]
