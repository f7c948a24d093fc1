from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_sam3.planes import PlaneIndex
from napari_sam3.prompts import PromptSet, parse_polarity, read_points, read_shape
from sam3.errors import PromptError

PLANE = PlaneIndex((1, 2), (4,))


def rectangle(z: float, y0: float, x0: float, y1: float, x1: float) -> list[list[float]]:
    return [[z, y0, x0], [z, y0, x1], [z, y1, x1], [z, y1, x0]]


def test_rows_become_x_y_and_other_planes_never_leak() -> None:
    rows: list[list[float]] = [
        [4, 10, 20],
        [3, 11, 21],
        [4.4, 12, 22],
        [4.5, 13, 23],
        [3.5, 14, 24],
    ]
    found = read_points(rows, ["foreground"] * 4 + ["background"], PLANE)
    assert [(i, p.points, p.labels) for i, p in found.items()] == [
        (0, ((20, 10),), (1,)),
        (2, ((22, 12),), (1,)),
        (4, ((24, 14),), (0,)),
    ]
    assert read_shape(rectangle(5, 0, 0, 50, 50), "rectangle", PLANE) is None


def test_planes_along_other_axes() -> None:
    found = read_points([[7, 4, 9]], [True], PlaneIndex((0, 2), (4,)))
    assert found[0].points == ((9, 7),)


def test_rectangles_are_boxes_with_their_corners_put_right() -> None:
    found = read_shape(rectangle(4, 50, 60, 20, 25), "rectangle", PLANE)
    assert found == PromptSet(box=(25, 20, 60, 50))
    assert read_shape(rectangle(4, 9, 9, 11, 11), "rectangle", PLANE) is None  # a plain click


def test_other_shapes_are_outlines_with_their_box() -> None:
    triangle = [[4, 10, 10], [4, 10, 40], [4, 30, 25]]
    found = read_shape(triangle, "polygon", PLANE)
    assert found is not None
    assert found.box == (10, 10, 40, 30)
    assert found.outline == ((10, 10), (40, 10), (25, 30))
    turned = [[4, 20, 0], [4, 0, 20], [4, 20, 40], [4, 40, 20]]
    found = read_shape(turned, "rectangle", PLANE)
    assert found is not None
    assert len(found.outline) == 4
    found = read_shape(rectangle(4, 0, 0, 20, 40), "ellipse", PLANE)
    assert found is not None
    assert found.box == pytest.approx((0, 0, 40, 20))
    xy = np.array(found.outline)
    assert np.allclose(((xy[:, 0] - 20) / 20) ** 2 + ((xy[:, 1] - 10) / 10) ** 2, 1, atol=1e-3)
    assert read_shape(triangle, "path", PLANE) is None


def test_a_flat_box_is_an_error_that_quotes_it() -> None:
    with pytest.raises(PromptError, match=r"30.0 x 0.0 px has no usable area"):
        read_shape(rectangle(4, 10, 10, 10, 40), "rectangle", PLANE)
    with pytest.raises(PromptError, match="no usable area"):
        PromptSet.from_arrays(box=[5, 5, 5, 5])
    with pytest.raises(PromptError, match="outline of 2 corners"):
        PromptSet().with_outline([[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("value", "label"),
    [("foreground", 1), (" Background ", 0), (True, 1), (np.False_, 0), (np.int8(1), 1), (0.0, 0)],
)
def test_polarity_in_any_usual_spelling(value: Any, label: int) -> None:
    assert parse_polarity(value) == label


@pytest.mark.parametrize("value", ["maybe", 2, -1, None, float("nan")])
def test_any_other_polarity_is_an_error_that_quotes_it(value: Any) -> None:
    with pytest.raises(PromptError, match="no polarity"):
        parse_polarity(value)


def test_a_click_outside_names_the_place_and_the_image() -> None:
    with pytest.raises(PromptError, match=r"row 12.0, column 90.0 .*rows 0 to 49, columns"):
        PromptSet.from_arrays([[90, 12]]).check_inside((50, 60))
    PromptSet.from_arrays([[59.4, -0.4]]).check_inside((50, 60))


def test_boxes_are_cut_to_the_image_or_refused() -> None:
    assert PromptSet(box=(-9, 5, 99, 20)).clipped((50, 60)).box == (-0.5, 5, 59.5, 20)
    with pytest.raises(PromptError, match="outside the image"):
        PromptSet(box=(70, 5, 99, 20)).clipped((50, 60))


def test_arrays_are_checked() -> None:
    with pytest.raises(PromptError, match="N x 2"):
        PromptSet.from_arrays([[1, 2, 3]])
    with pytest.raises(PromptError, match="finite"):
        PromptSet.from_arrays([[1, np.nan]])
    with pytest.raises(PromptError, match="1 points came with 2"):
        PromptSet.from_arrays([[1, 2]], [1, 0])


def test_only_additions_extend() -> None:
    one = PromptSet.from_arrays([[1, 2]])
    two = one.with_point(3, 4, 0)
    assert two.extends(one)
    assert not one.extends(one)
    assert not one.extends(two)
    assert not PromptSet(((1, 2),), (0,)).with_point(5, 5).extends(one)
    assert PromptSet(one.points, one.labels, (0, 0, 9, 9)).extends(one)
