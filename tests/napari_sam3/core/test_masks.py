"""Masks as bounding boxes, and the islands that are dropped from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.masks import PlaneMask

SHAPE = (40, 60)


def mask_of(*squares: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    for row, column, side in squares:
        mask[row : row + side, column : column + side] = True
    return mask


def test_a_mask_is_its_bounding_box() -> None:
    full = mask_of((5, 7, 4))
    mask = PlaneMask.from_array(full)
    assert mask.bbox == (5, 7, 9, 11)
    assert mask.area == 16
    assert (mask.to_array(SHAPE) == full).all()
    assert PlaneMask.from_array(np.zeros(SHAPE, bool)).is_empty


@pytest.mark.parametrize(
    ("clicks", "expected"),
    [
        ([], [(5, 5, 10)]),  # a box alone: the largest part
        ([(8, 8)], [(5, 5, 10)]),
        ([(31.4, 21.6)], [(5, 5, 10), (20, 30, 4)]),  # the small part under the click, and larger
        ([(8, 8), (31, 21)], [(5, 5, 10), (20, 30, 4)]),
        ([(55, 35)], [(5, 5, 10)]),  # a click beside the mask
        ([(-90, 3)], [(5, 5, 10)]),
    ],
)
def test_islands_are_dropped(
    clicks: list[tuple[float, float]], expected: list[tuple[int, int, int]]
) -> None:
    mask = PlaneMask.from_array(mask_of((5, 5, 10), (20, 30, 4)))
    kept = mask.without_islands(clicks).to_array(SHAPE)
    assert (kept == mask_of(*expected)).all()


def test_parts_of_like_size_stay() -> None:
    mask = PlaneMask.from_array(mask_of((5, 5, 10), (20, 30, 9)))
    assert mask.without_islands([(8, 8)]).area == mask.area


def test_corners_join() -> None:
    mask = PlaneMask.from_array(mask_of((5, 5, 10), (15, 15, 2)))
    assert mask.without_islands([(8, 8)]) is mask


@pytest.mark.parametrize("far", [1e4, 1e9, 1e100, 1e308])
def test_outlines_may_reach_far_beyond_the_plane(far: float) -> None:
    whole = PlaneMask.from_outline([(-far, -far), (far, -far), (far, far), (-far, far)], SHAPE)
    assert whole.area == SHAPE[0] * SHAPE[1]
    corner = PlaneMask.from_outline([(4.5, 4.5), (far, 4.5), (4.5, far)], SHAPE)
    assert corner.bbox == (5, 5, *SHAPE)
    assert PlaneMask.from_outline([(-far, -far), (-far, -9), (-9, -9)], SHAPE).is_empty
