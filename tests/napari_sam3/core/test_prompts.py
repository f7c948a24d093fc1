"""Prompts of one object: read from layers and arrays, checked, joined and cut to the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompt_rows import on_plane, read_points, read_shape
from napari_sam3.core.prompts import Box, PromptSet, parse_polarity
from sam3.errors import PromptError

PLANE = PlaneIndex((1, 2), (4,))


def rectangle(z: float, y0: float, x0: float, y1: float, x1: float) -> list[list[float]]:
    return [[z, y0, x0], [z, y0, x1], [z, y1, x1], [z, y1, x0]]


def test_rows_become_x_y_and_other_planes_never_leak() -> None:
    rows: list[list[float]] = [
        [4, 10, 20],
        [3, 11, 21],
        [4.4, 12, 22],
        [5.5, 13, 23],  # halves go to the even plane, as in napari
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
    with pytest.raises(PromptError, match=r"30.0 x 0.0 px is too small"):
        read_shape(rectangle(4, 10, 10, 10, 40), "rectangle", PLANE)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *(("foreground", 1), (" Background ", 0), ("1", 1), ("0", 0), ("TRUE", 1), ("false", 0)),
        *((True, 1), (np.False_, 0), (np.int8(1), 1), (0.0, 0), (1.0, 1)),
    ],
)
def test_polarity_in_any_usual_spelling(value: Any, label: int) -> None:
    found = parse_polarity(value)
    assert found == label
    assert type(found) is int


@pytest.mark.parametrize("value", ["maybe", 2, -1, None, float("nan")])
def test_any_other_polarity_is_an_error_that_quotes_it(value: Any) -> None:
    with pytest.raises(PromptError) as caught:
        parse_polarity(value)
    assert str(caught.value) == (
        f"invalid polarity: {value!r}. Expected 'foreground' or 'background', True or False, 1 or "
        "0. Choose one."
    )


@pytest.mark.parametrize("place", [(-0.5, 5), (59.5, 5), (5, -0.5), (5, 49.5)])
def test_a_click_may_touch_the_border(place: tuple[float, float]) -> None:
    PromptSet.from_arrays([place]).check_inside((50, 60))


@pytest.mark.parametrize("place", [(-0.6, 5), (59.6, 5), (5, -0.6), (5, 49.6)])
def test_a_click_outside_names_the_place_and_the_image(place: tuple[float, float]) -> None:
    with pytest.raises(PromptError) as caught:
        PromptSet.from_arrays([(1, 1), place]).check_inside((50, 60))
    assert str(caught.value) == (
        f"the click at row {place[1]:.1f}, column {place[0]:.1f} lies outside the image (rows 0 to "
        "49, columns 0 to 59). Expected a click on the plane. Remove it, or click inside."
    )


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((-9, 5, 99, 20), (-0.5, 5, 59.5, 20)),
        ((5, -9, 20, 99), (5, -0.5, 20, 49.5)),
        ((1, 2, 30, 40), (1, 2, 30, 40)),
        ((-9, 5, -0.4, 20), (-0.5, 5, -0.4, 20)),
        ((59.4, 49.4, 99, 99), (59.4, 49.4, 59.5, 49.5)),
    ],
)
def test_boxes_are_cut_to_the_image(box: Box, cut: Box) -> None:
    prompts = PromptSet(((3, 4),), (1,), box)
    assert prompts.clipped((50, 60)) == PromptSet(((3, 4),), (1,), cut)
    assert PromptSet(((3, 4),), (1,)).clipped((50, 60)).box is None


@pytest.mark.parametrize(
    "box", [(-9, 5, -0.5, 20), (59.5, 5, 99, 20), (5, -9, 20, -0.5), (5, 49.5, 20, 99)]
)
def test_boxes_outside_the_image_are_named(box: Box) -> None:
    with pytest.raises(PromptError) as caught:
        PromptSet(box=box).clipped((50, 60))
    x0, y0, x1, y1 = box
    assert str(caught.value) == (
        f"the box from row {y0:.1f}, column {x0:.1f} to row {y1:.1f}, column {x1:.1f} lies outside "
        "the image (rows 0 to 49, columns 0 to 59). Expected a box that overlaps the plane. "
        "Draw it around an object."
    )


SMALL = "is too small. Expected sides of at least 2.5 px. Draw it around the object."
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "three columns": (
        lambda: PromptSet.from_arrays([[1, 2, 3]]),
        "invalid points: shape (1, 3). Expected N x 2.",
    ),
    "three axes": (
        lambda: PromptSet.from_arrays([[[1, 2]]]),
        "invalid points: shape (1, 1, 2). Expected N x 2.",
    ),
    "no numbers": (
        lambda: PromptSet.from_arrays("a"),
        "invalid points: 'a'. Expected N x 2 numbers.",
    ),
    "no box": (
        lambda: PromptSet.from_arrays(box=["a"] * 4),
        "invalid box: ['a', 'a', 'a', 'a']. Expected N x 4 numbers.",
    ),
    "box of three": (
        lambda: PromptSet.from_arrays(box=[1, 2, 3]),
        "invalid box: shape (1, 3). Expected N x 4.",
    ),
    "NaN": (
        lambda: PromptSet.from_arrays([[1, np.nan]]),
        "invalid points: [[1.0, nan]]. Expected finite numbers.",
    ),
    "infinite box": (
        lambda: PromptSet.from_arrays(box=[1, 2, 3, np.inf]),
        "invalid box: [[1.0, 2.0, 3.0, inf]]. Expected finite numbers.",
    ),
    "two boxes": (
        lambda: PromptSet.from_arrays(box=[[1, 2, 30, 40]] * 2),
        "2 boxes for one object. Expected (x0, y0, x1, y1).",
    ),
    "counts": (
        lambda: PromptSet.from_arrays([[1, 2]], [1, 0]),
        "1 points have 2 labels. Expected one label per point: 1 for foreground, 0 for background.",
    ),
    "labels": (
        lambda: PromptSet(((1, 2), (3, 4)), (1, 2)),
        "invalid labels of points: (1, 2). Expected 1 or 0.",
    ),
    "swapped": (
        lambda: PromptSet(box=(9, 1, 2, 5)),
        "the box (9, 1, 2, 5) has no area. Expected x0 < x1 and y0 < y1.",
    ),
    "no height": (
        lambda: PromptSet(box=(1, 5, 9, 5)),
        "the box (1, 5, 9, 5) has no area. Expected x0 < x1 and y0 < y1.",
    ),
    "no width": (
        lambda: PromptSet(box=(1, 5, 1, 9)),
        "the box (1, 5, 1, 9) has no area. Expected x0 < x1 and y0 < y1.",
    ),
    "narrow": (
        lambda: PromptSet.from_arrays(box=[7.4, 30, 5, 0]),
        f"the box of 2.4 x 30.0 px {SMALL}",
    ),
    "flat": (
        lambda: PromptSet.from_arrays(box=[0, 5, 30, 7.4]),
        f"the box of 30.0 x 2.4 px {SMALL}",
    ),
    "a point for a box": (
        lambda: PromptSet.from_arrays(box=[5, 5, 5, 5]),
        f"the box of 0.0 x 0.0 px {SMALL}",
    ),
    "outline of a line": (
        lambda: PromptSet().with_outline([[1, 2], [3, 4]]),
        "the outline has 2 corners. Expected at least 3.",
    ),
    "outline of text": (
        lambda: PromptSet().with_outline("a"),
        "invalid outline: 'a'. Expected N x 2 numbers.",
    ),
    "thin outline": (
        lambda: PromptSet().with_outline([[1, 2], [1, 30], [2, 15]]),
        f"the box of 1.0 x 28.0 px {SMALL}",
    ),
    "nothing": (
        lambda: PromptSet().bounds,
        "there is no prompt. Expected at least one click or box. Click on an object or draw a box "
        "around it.",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_a_prompt_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PromptError) as caught:
        make()
    assert str(caught.value).startswith(message)


def test_arrays_become_prompts() -> None:
    assert PromptSet.from_arrays() == PromptSet()
    assert PromptSet.from_arrays([], []) == PromptSet()
    assert PromptSet.from_arrays([1, 2]) == PromptSet(((1, 2),), (1,))
    found = PromptSet.from_arrays(
        np.array([[1, 2], [3, 4]]), np.array(["foreground", "background"]), [30, 5, 9, 2]
    )
    assert found == PromptSet(((1, 2), (3, 4)), (1, 0), (9, 2, 30, 5))
    assert PromptSet.from_arrays([[1, 2]], np.array(0)).labels == (0,)
    assert PromptSet.from_arrays([[1, 2]], ["0"]).labels == (0,)
    assert PromptSet.from_arrays(box=[0, 0, 2.5, 2.5]).box == (0, 0, 2.5, 2.5)
    outlined = PromptSet(((1, 2),), (0,)).with_outline([[0, 0], [9, 0], [0, 8]])
    assert outlined == PromptSet(((1, 2),), (0,), (0, 0, 9, 8), ((0, 0), (9, 0), (0, 8)))


def test_arrays_of_prompts() -> None:
    prompts = PromptSet(((1, 2), (3, 9)), (1, 0), (0, 4, 8, 7))
    xs, ys = prompts.corner_arrays()
    assert xs.tolist() == [1, 3, 0, 8]
    assert ys.tolist() == [2, 9, 4, 7]
    assert prompts.bounds == (0, 2, 8, 9)
    assert prompts.extent == 8
    assert PromptSet(box=(0, 0, 3, 7)).extent == 7
    assert PromptSet(((1, 2),), (1,)).extent is None
    assert prompts.point_coords().tolist() == [[1, 2], [3, 9]]
    assert prompts.point_labels().tolist() == [1, 0]
    assert prompts.point_labels().dtype == np.int64
    assert PromptSet().point_coords().shape == (0, 2)
    assert PromptSet().point_coords().dtype == np.float64


def test_the_newer_box_takes_over() -> None:
    old = PromptSet(((1, 2),), (1,)).with_outline([[0, 0], [9, 0], [0, 8]])
    click = PromptSet(((3, 4),), (0,))
    assert old.joined(click) == PromptSet(((1, 2), (3, 4)), (1, 0), old.box, old.outline)
    boxed = PromptSet(((3, 4),), (0,), (1, 1, 5, 5))
    assert old.joined(boxed) == PromptSet(((1, 2), (3, 4)), (1, 0), (1, 1, 5, 5))
    assert PromptSet().with_point(3, 4) == PromptSet(((3, 4),), (1,))


def test_positions_are_rounded_to_what_layers_keep() -> None:
    found = read_points([[4, 10.00004, 20.00006]], ["foreground"], PLANE)
    assert found[0].points == ((20.0001, 10),)
    box = read_shape(rectangle(4, 0.00004, 0.00006, 9, 9), "rectangle", PLANE)
    assert box == PromptSet(box=(0.0001, 0, 9, 9))


def test_the_only_plane_has_all_rows() -> None:
    flat = PlaneIndex((0, 1), ())
    assert list(read_points([[1, 2], [3, 4]], [1, 0], flat)) == [0, 1]
    assert on_plane(np.zeros((3, 2)), flat).tolist() == [True] * 3
    assert on_plane(np.array([[4, 0, 0], [5, 0, 0]]), PLANE).tolist() == [True, False]


def test_what_a_plain_click_leaves_is_smaller_than_a_box() -> None:
    assert read_shape(rectangle(4, 9, 9, 11.4, 11.4), "rectangle", PLANE) is None
    least = read_shape(rectangle(4, 9, 9, 11.5, 11.5), "rectangle", PLANE)
    assert least == PromptSet(box=(9, 9, 11.5, 11.5))
    assert read_shape(rectangle(4, 0, 0, 9, 9), "line", PLANE) is None
    elsewhere = rectangle(4, 0, 0, 9, 9)
    elsewhere[0][0] = 5  # one corner lies on another plane
    assert read_shape(elsewhere, "rectangle", PLANE) is None


def test_only_additions_extend() -> None:
    one = PromptSet.from_arrays([[1, 2]])
    two = one.with_point(3, 4, 0)
    assert two.extends(one)
    assert not one.extends(one)
    assert not one.extends(two)
    assert not PromptSet(((1, 2),), (0,)).with_point(5, 5).extends(one)
    boxed = PromptSet(one.points, one.labels, (0, 0, 9, 9))
    assert boxed.extends(one)
    assert not one.extends(boxed)
    assert boxed.with_point(3, 4).extends(boxed)
    outlined = one.with_outline([[0, 0], [9, 0], [0, 9]])
    assert outlined.extends(one)
    assert not outlined.extends(one.with_outline([[0, 0], [9, 0], [9, 9]]))
