"""One mask of each object is left, whatever the order, the tiles and the number of masks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.masks import PlaneMask, overlap
from napari_sam3.inference.automatic.seeds import Seed
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import (
    Found,
    merge_found,
    paint_order,
    suppress,
)

SIDE = 300  # several cells of the index
always = settings(deadline=None, max_examples=100)


def found(mask: npt.NDArray[np.bool_], row: int, column: int, quality: float = 1.0) -> Found:
    return Found(PlaneMask.from_array(mask, row, column), quality, 1.0, Seed(row, column))


def block(row: int, column: int, height: int, width: int, quality: float = 1.0) -> Found:
    return found(np.ones((height, width), bool), row, column, quality)


@st.composite
def objects(draw: st.DrawFn) -> Found:
    """Return a mask with holes and several parts, some as wide as a cell of the index."""
    height, width = draw(st.tuples(*[st.integers(1, 150)] * 2))
    row, column = draw(st.integers(0, SIDE - height)), draw(st.integers(0, SIDE - width))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    mask = rng.random((height, width)) < draw(st.sampled_from([1.0, 0.7, 0.05]))
    mask[0, 0] = True
    return found(mask, row, column, draw(st.sampled_from([0.5, 0.7, 0.9])))


many = st.lists(objects(), max_size=14)
thresholds = st.builds(
    AutomaticSettings,
    duplicate_iou=st.sampled_from([0.0, 0.3, 0.6]),
    containment=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    min_area=st.integers(1, 40),
)


def same(a: Found, b: Found, limits: AutomaticSettings) -> bool:
    """Tell by whole planes what the module tells by boxes."""
    one, two = (x.mask.to_array((SIDE, SIDE)) for x in (a, b))
    shared, union = int((one & two).sum()), int((one | two).sum())
    smaller = min(int(one.sum()), int(two.sum()))
    return shared > limits.duplicate_iou * union or shared > limits.containment * smaller


def ids(some: Sequence[Found]) -> list[int]:
    return [id(one) for one in some]


@always
@given(many, thresholds, st.randoms(use_true_random=False))
def test_each_object_is_left_once_whatever_the_order(
    some: list[Found], limits: AutomaticSettings, random: object
) -> None:
    kept = suppress(some, limits)
    assert not any(same(a, b, limits) for a, b in combinations(kept, 2))
    shuffled = sorted(some, key=lambda one: random.random())  # type: ignore[attr-defined]
    again = suppress(shuffled, limits)
    assert [one.rank for one in again] == [one.rank for one in kept]
    assert ids(suppress(kept, limits)) == ids(kept), "what is left stays"
    for one in some:
        better = [other for other in kept if other.rank <= one.rank]
        assert any(other is one or same(one, other, limits) for other in better)


@always
@given(many, thresholds, st.integers(1, 5))
def test_tiles_come_together_whatever_their_number_and_order(
    some: list[Found], limits: AutomaticSettings, count: int
) -> None:
    parts = [some[start::count] for start in range(count)]
    whole = [one.rank for one in suppress(some, limits)]
    assert [one.rank for one in merge_found(parts, limits)] == whole
    assert [one.rank for one in merge_found(reversed(parts), limits)] == whole


@always
@given(many, thresholds)
def test_labels_do_not_overlap_and_the_better_mask_keeps_its_pixels(
    some: list[Found], limits: AutomaticSettings
) -> None:
    painted = paint_order(some, limits)
    plane = np.zeros((SIDE, SIDE), np.int64)
    for one in painted:
        plane[one.mask.region] += one.mask.crop
        assert one.mask.area >= limits.min_area
    assert plane.max(initial=0) <= 1
    again = paint_order(some[::-1], limits)
    assert [one.rank for one in again] == [one.rank for one in painted]
    twice = paint_order(painted, limits)
    assert [one.rank for one in twice] == [one.rank for one in painted]
    best = min(some, key=lambda one: one.rank, default=None)
    if best is not None:
        whole = best.mask.without_islands(())
        written = [one.mask for one in painted if one.score == best.score]
        assert whole.area < limits.min_area or any(
            mask.bbox == whole.bbox and np.array_equal(mask.crop, whole.crop) for mask in written
        )


def test_parts_and_clumps_of_better_masks_are_given_up() -> None:
    left, right = block(10, 10, 20, 20, 0.9), block(10, 32, 20, 20, 0.8)
    clump, part = block(8, 8, 24, 48, 0.7), block(12, 12, 5, 5, 0.6)
    assert suppress([part, clump, right, left], AutomaticSettings()) == (left, right)
    best = block(8, 8, 24, 48, 0.95)
    assert suppress([part, best, right, left], AutomaticSettings()) == (best,)
    touching = block(25, 10, 20, 20, 0.5)
    assert suppress([left, touching], AutomaticSettings()) == (left, touching)
    assert suppress([left, touching], AutomaticSettings(duplicate_iou=0.1)) == (left,)
    assert suppress([], AutomaticSettings()) == merge_found([]) == paint_order([]) == ()


def test_ids_go_row_by_row_and_leavings_get_none() -> None:
    best = block(20, 20, 30, 30, 0.9)
    cut = block(10, 25, 30, 10, 0.8)  # 10 of its 30 rows lie outside
    leaving = block(48, 20, 4, 10, 0.7)  # 2 of its rows do: less than an object
    bar = found(np.ones((4, 60), bool), 30, 5, 0.6)  # 15 px of it left, and 15 px right
    painted = paint_order([best, cut, leaving, bar], AutomaticSettings(min_area=25))
    boxes = [one.mask.bbox for one in painted]
    assert boxes == [(10, 25, 20, 35), (20, 20, 50, 50), (30, 5, 34, 65)]
    assert painted[2].mask.area == 4 * 30
    assert overlap(painted[2].mask, best.mask) == 0
    assert (painted[0].score, painted[0].seed) == (0.8, cut.seed)


def test_the_first_pixel_decides_where_boxes_begin_alike() -> None:
    hook = np.zeros((20, 20), bool)
    hook[0, 1:] = hook[:, -1] = hook[-1] = True  # its box has the corner that it has not
    corner = np.zeros((19, 19), bool)
    corner[:, 0] = corner[18] = True
    corner[0, 0] = corner[1, 1:] = True
    corner[1, 18] = corner[18, 18] = False
    found_hook, found_corner = found(hook, 5, 5, 0.9), found(corner, 5, 5, 0.8)
    painted = paint_order([found_hook, found_corner])
    assert painted[0].mask.bbox[:2] == painted[1].mask.bbox[:2] == (5, 5)
    assert [one.score for one in painted] == [0.8, 0.9]


def test_far_apart_masks_are_never_compared() -> None:
    size, step = 12, 20
    places = [(row, column) for row in range(0, 2000, step) for column in range(0, 2000, step)]
    some = [block(row, column, size, size) for row, column in places]
    assert len(suppress(some, AutomaticSettings())) == len(places), "and it takes no time"
    assert [one.mask.bbox[:2] for one in paint_order(some)] == places
