from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import (
    FINEST_LEVEL,
    FieldOfView,
    choose_field,
    field_holds,
    field_side,
    resample_logits,
    top_level,
    touches_inner_border,
)
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane

extents = st.integers(1, 3000)
shapes = st.one_of(
    st.tuples(extents, extents), st.just((1, 1)), st.just((3000, 7)), st.just((7, 3000))
)


@dataclass(frozen=True)
class Sizes:
    resolution: int = 112
    default_level: int = 0


@settings(deadline=None)
@given(shapes, st.sampled_from([112, 448, 1008]), st.integers(-2, 3))
def test_fields_cover_the_plane_and_stay_inside(
    shape: tuple[int, int], resolution: int, level: int
) -> None:
    covered = [np.zeros(n, bool) for n in shape]
    for field in fields_over(shape, resolution, level):
        for axis, (start, stop) in enumerate((field.rows, field.columns)):
            assert 0 <= start < stop <= shape[axis]
            assert stop - start == min(shape[axis], field_side(resolution, level))
            covered[axis][start:stop] = True
        height, width = field.encoded_shape
        assert max(height, width) <= 4 / 3 * min(height, width) + 1
    assert all(axis.all() for axis in covered)


@settings(deadline=None)
@given(st.data(), shapes, st.integers(-2, 3))
def test_every_object_of_half_a_field_lies_whole_in_one(
    data: st.DataObject, shape: tuple[int, int], level: int
) -> None:
    side = field_side(112, level)
    box = []
    for length in shape:
        size = data.draw(st.integers(1, max(1, min(side // 2, length))))
        start = data.draw(st.integers(0, length - size))
        box.append((start, start + size))
    assert any(
        field.rows[0] <= box[0][0]
        and box[0][1] <= field.rows[1]
        and field.columns[0] <= box[1][0]
        and box[1][1] <= field.columns[1]
        for field in fields_over(shape, 112, level)
    )


@settings(max_examples=200, deadline=None)  # padding thin planes is slow on a busy machine
@given(
    st.data(),
    shapes,
    st.one_of(st.none(), st.integers(-5, 9)),
    st.one_of(st.none(), st.floats(1, 900)),
)
def test_no_prompt_is_dropped(
    data: st.DataObject, shape: tuple[int, int], level: int | None, size: float | None
) -> None:
    x = st.floats(-0.5, shape[1] - 0.5)
    y = st.floats(-0.5, shape[0] - 0.5)
    points = data.draw(st.lists(st.tuples(x, y), min_size=1, max_size=4))
    prompts = PromptSet.from_arrays(points)
    field = choose_field(shape, prompts, Sizes(), level, size)
    (y0, y1), (x0, x1) = field.rows, field.columns
    assert all(x0 - 0.5 <= x <= x1 - 0.5 and y0 - 0.5 <= y <= y1 - 0.5 for x, y in points)
    assert (
        field.extract(ArrayPlane(np.zeros((*shape, 3), np.uint8))).shape[:2] == field.encoded_shape
    )


@settings(deadline=None)
@given(st.integers(4, 700), st.integers(4, 700), st.integers(0, 900), st.integers(0, 900))
def test_a_box_gets_the_finest_field_it_fills_to_less_than_half(
    height: int, width: int, y: int, x: int
) -> None:
    prompts = PromptSet(box=(x, y, x + width, y + height))
    shape = (1800, 1800)
    field = choose_field(shape, prompts, Sizes())
    assert max(height, width) <= 0.45 * field.shape[0]
    finer = field.level - 1
    if finer >= FINEST_LEVEL:
        fills = max(height, width) > 0.45 * field_side(Sizes().resolution, finer)
        fields = tuple(fields_over(shape, Sizes().resolution, finer))
        assert fills or not any(field_holds(one, prompts, shape) for one in fields)
    assert field.rows[0] <= y
    assert x + width <= field.columns[1]


def test_clicks_start_at_the_models_level_or_follow_the_objects_seen() -> None:
    click = PromptSet.from_arrays([[500, 500]])
    shape = (1000, 1000)
    assert choose_field(shape, click, Sizes()).level == 0
    assert choose_field(shape, click, Sizes(default_level=-1)).level == -1
    for size in (5, 9, 20, 60, 200):
        field = choose_field(shape, click, Sizes(), typical_size=size)
        assert 1 / 8 <= size / field.shape[0] <= 1 / 3 or field.level == -2


def test_a_click_lies_central_in_its_field() -> None:
    for x in range(200, 800, 7):
        field = choose_field((1000, 1000), PromptSet.from_arrays([[x, 500]]), Sizes())
        assert abs(x - sum(field.columns) / 2) <= 112 / 4 + 1


def test_prompts_far_apart_share_a_coarser_field() -> None:
    field = choose_field((1000, 1000), PromptSet.from_arrays([[10, 10], [150, 10]]), Sizes())
    assert field.level == 1
    field = choose_field((1000, 1000), PromptSet.from_arrays([[0, 0], [999, 999]]), Sizes())
    assert field.shape == (1000, 1000)
    assert field.level == top_level((1000, 1000), 112)


def test_a_border_counts_only_inside_the_plane() -> None:
    field = FieldOfView(0, (0, 112), (56, 168))
    mask = np.zeros((112, 112), bool)
    mask[0:20, 30:40] = True
    assert not touches_inner_border(mask, field, (300, 300))
    mask[111, 50] = True
    assert touches_inner_border(mask, field, (300, 300))
    assert not touches_inner_border(mask, field, (112, 300))
    assert not touches_inner_border(np.zeros((112, 112), bool), field, (300, 300))


def test_pasting_is_the_inverse_of_extracting_padding_left_out() -> None:
    rng = np.random.default_rng(0)
    plane = rng.integers(0, 255, (300, 9, 3), dtype=np.uint8)
    field = choose_field(plane.shape[:2], PromptSet.from_arrays([[4, 150]]), Sizes())
    assert field.pad_columns != (0, 0)
    bright = plane[..., 0] > 128
    bright[: field.rows[0]] = bright[field.rows[1] :] = False
    pasted = field.paste(field.extract(ArrayPlane(plane))[..., 0] > 128)
    assert (pasted.to_array((300, 9)) == bright).all()
    shifted = field.to_field(np.array([4.0, 150.0]))
    row, column = int(shifted[1]), int(shifted[0])
    assert (field.extract(ArrayPlane(plane))[row, column] == plane[150, 4]).all()


def test_logits_keep_their_place_in_the_plane_in_another_field() -> None:
    old, new = FieldOfView(0, (56, 168), (56, 168)), FieldOfView(1, (0, 224), (0, 224))
    logits = np.full((1, 32, 32), -5, np.float32)
    logits[0, 8:16, 16:24] = 5  # rows 84 to 112, columns 112 to 140 of the plane
    moved = resample_logits(logits, old, new)
    assert moved.shape == (1, 32, 32)
    assert moved[0, 14, 18] == pytest.approx(5)  # around row 101, column 129
    assert moved[0, 10, 18] == pytest.approx(-5)
    assert moved[0, 2, 2] == moved[0, 30, 30] == 0
    same = resample_logits(logits, old, old)
    assert np.allclose(same, logits)


def test_an_object_that_fills_its_field_is_seen_from_further_away() -> None:
    """With the embedded model: fields of 224 px, and a disc that is wider."""
    from napari_sam3.core.planes import plane_from_array
    from napari_sam3.session.session import LabelingSession
    from sam3 import load_predictor

    rows, columns = np.mgrid[:1600, :1600]
    disc = (rows - 800) ** 2 + (columns - 800) ** 2 < 220**2
    noise = np.random.default_rng(0).normal(0, 6, disc.shape)
    image = np.clip(np.where(disc, 190, 40) + noise, 0, 255).astype(np.uint8)
    predictor = load_predictor(device="cpu")
    found = {}
    for level in (None, -1):
        session = LabelingSession(predictor, level=level)
        session.set_plane(plane_from_array(image), "plane", np.zeros(image.shape, np.uint16))
        session.set_prompts(PromptSet(((800.0, 800.0),), (1,)))
        session.predict()
        assert session.prediction is not None
        found[level] = session.prediction
        session.close()
    mask = np.zeros(disc.shape, bool)
    mask[found[None].mask.region] = found[None].mask.crop
    assert (mask & disc).sum() / (mask | disc).sum() > 0.9
    assert found[None].field.level > -1
    assert found[-1].field.level == -1, "where a level was pinned, it stays"
