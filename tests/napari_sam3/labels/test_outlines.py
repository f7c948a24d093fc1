"""Polygons along the edges of pixels: valid, and filled they give the mask again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sam3.core.masks import PlaneMask
from napari_sam3.labels.formats.outlines import outlines

PICTURES = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def polygons(mask: PlaneMask) -> Any:
    return shapely.MultiPolygon(
        [shapely.Polygon(part.outside, part.holes) for part in outlines(mask)]
    )


@given(PICTURES, st.integers(0, 9), st.integers(0, 9))
def test_any_mask(picture: npt.NDArray[np.bool_], row: int, column: int) -> None:
    mask = PlaneMask.from_array(picture, row, column)
    shape = polygons(mask)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert shape.area == mask.area
    rows, columns = np.mgrid[:24, :24] + 0.5
    inside = shapely.contains_xy(shape, columns, rows)
    np.testing.assert_array_equal(inside, mask.to_array((24, 24)))
    for part in outlines(mask):
        assert shapely.LinearRing(part.outside).is_ccw
        for ring in (part.outside, *part.holes):
            assert len(np.unique(ring, axis=0)) == len(ring), "no corner is passed twice"
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all(), "along rows and columns in turn"
        assert not any(shapely.LinearRing(hole).is_ccw for hole in part.holes)


@pytest.mark.parametrize(
    ("picture", "parts", "holes"),
    [
        (["#"], 1, 0),
        (["#.", ".#"], 2, 0),  # a corner joins nothing
        (["###", "#.#", "###"], 1, 1),
        (["####", "#.##", "##.#", "####"], 1, 2),  # holes that touch at a corner
        ([".##", "#.#", "###"], 1, 1),  # a hole that touches the outside at a corner
        (["#####", "#...#", "#.#.#", "#...#", "#####"], 2, 1),  # an island in a hole
    ],
)
def test_known_masks(picture: list[str], parts: int, holes: int) -> None:
    mask = PlaneMask.from_array(np.array([list(line) for line in picture]) == "#")
    found = outlines(mask)
    assert len(found) == parts
    assert sum(len(part.holes) for part in found) == holes
    assert polygons(mask).area == mask.area


def test_nothing_has_no_outline() -> None:
    assert outlines(PlaneMask.from_array(np.zeros((3, 3), bool))) == []
