"""Prompts are brought into one form, or refused in words that name the value and the way out."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sam3.errors import PromptError
from sam3.prompts import Prompts, check_prompts

SIZE, CELLS = (48, 70), 8
POINT = {"point_coords": [[10, 20]], "point_labels": [1]}
MASK = np.arange(CELLS**2, dtype=np.float64).reshape(1, CELLS, CELLS)


def check(**prompts: Any) -> Prompts:
    """Check prompts of an image 70 px wide and 48 px high."""
    given = dict.fromkeys(("point_coords", "point_labels", "box", "mask_input"), None)
    return check_prompts(**{**given, **prompts}, size=SIZE, mask_size=CELLS)


def refused(**prompts: Any) -> str:
    """What is said when they are refused."""
    with pytest.raises(PromptError) as caught:
        check(**prompts)
    return str(caught.value)


def assert_same(found: npt.NDArray[Any], expected: Any, dtype: type) -> None:
    """Values, shape and kind."""
    assert found.dtype == dtype
    assert np.array_equal(found, expected), found


def test_points_of_one_object_end_in_padding() -> None:
    found = check(point_coords=[[10, 20], [3, 4]], point_labels=[1, 0])
    assert_same(found.coords, [[[10, 20], [3, 4], [0, 0]]], np.float64)
    assert_same(found.labels, [[1, 0, -1]], np.int64)
    assert found.mask is None
    assert found.objects == 1


def test_boxes_come_before_points() -> None:
    boxes, points = [[1, 2, 30, 40], [5, 6, 7, 8]], [[[9, 9]], [[8, 7]]]
    found = check(box=boxes, point_coords=points, point_labels=[[1], [-1]])
    assert_same(
        found.coords,
        [[[1, 2], [30, 40], [9, 9], [0, 0]], [[5, 6], [7, 8], [8, 7], [0, 0]]],
        np.float64,
    )
    assert_same(found.labels, [[2, 3, 1, -1], [2, 3, -1, -1]], np.int64)
    assert found.objects == 2


def test_a_box_may_be_given_flat_or_as_a_row() -> None:
    for box in ([1, 2, 30, 40], [[1, 2, 30, 40]]):
        found = check(box=box)
        assert_same(found.coords, [[[1, 2], [30, 40], [0, 0]]], np.float64)
        assert_same(found.labels, [[2, 3, -1]], np.int64)


def test_a_mask_alone_has_no_sparse_prompt() -> None:
    found = check(mask_input=MASK)
    assert found.coords.shape == (1, 0, 2)
    assert_same(found.labels, np.zeros((1, 0)), np.int64)
    assert found.mask is not None
    assert_same(found.mask, MASK[None], np.float32)


def test_masks_of_many_objects_stay_in_order() -> None:
    masks = np.stack([MASK, MASK + 100, MASK - 7])
    found = check(mask_input=masks, box=[[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]])
    assert found.mask is not None
    assert_same(found.mask, masks, np.float32)
    part = found.part(slice(1, 3))
    assert part.objects == 2
    assert_same(part.coords, found.coords[1:], np.float64)
    assert_same(part.labels, found.labels[1:], np.int64)
    assert part.mask is not None
    assert_same(part.mask, masks[1:], np.float32)
    assert check(**POINT).part(slice(0, 1)).mask is None


def test_swapped_corners_are_put_in_order_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="sam3"):
        found = check(box=[[30, 2, 1, 40], [1, 2, 3, 4]])
    assert_same(found.coords[:, :2], [[[1, 2], [30, 40]], [[1, 2], [3, 4]]], np.float64)
    assert caplog.messages == [
        "reordered the corners of boxes: [[30.0, 2.0, 1.0, 40.0], [1.0, 2.0, 3.0, 4.0]]"
    ]
    caplog.clear()
    with caplog.at_level("INFO", logger="sam3"):
        check(box=[1, 2, 3, 4])
    assert not caplog.messages


@pytest.mark.parametrize("place", [(-1, -1), (70, 48), (0, 0), (69.5, 47.5)])
def test_points_may_touch_the_border(place: tuple[float, float]) -> None:
    assert check(point_coords=[place], point_labels=[0]).coords[0, 0].tolist() == list(place)


@pytest.mark.parametrize("place", [(-1.01, 5), (5, -1.01), (70.01, 5), (5, 48.01)])
def test_points_outside_are_named(place: tuple[float, float]) -> None:
    x, y = place
    message = refused(point_coords=[[1, 1], place, [500, 500]], point_labels=[1, 0, 1])
    assert message == (
        f"the point (x={x:g}, y={y:g}) lies outside the image of width 70 and height 48. "
        "Expected (x, y) in pixels, not (row, column). Correct the point."
    )


def test_padding_may_lie_anywhere() -> None:
    assert check(point_coords=[[1, 1], [-99, 999]], point_labels=[0, -1]).objects == 1


@pytest.mark.parametrize(
    "box", [[-5, -6, 0, 0], [70, 48, 90, 90], [-5, 5, 0, 9], [5, 48, 9, 60], [-9, -9, 99, 99]]
)
def test_boxes_may_touch_the_border(box: list[int]) -> None:
    assert check(box=box).coords[0, :2].ravel().tolist() == box


@pytest.mark.parametrize(
    "box", [[-5, 5, -0.1, 9], [5, -6, 9, -0.1], [70.1, 5, 80, 9], [5, 48.1, 9, 60]]
)
def test_boxes_outside_are_named(box: list[float]) -> None:
    values = [float(value) for value in box]
    assert refused(box=[[1, 2, 3, 4], box]) == (
        f"the box {values} lies outside the image of width 70 and height 48. Expected x0, y0, x1, "
        "y1 in pixels. Correct the box."
    )


@pytest.mark.parametrize("box", [[5, 5, 5, 20], [5, 20, 9, 20], [5, 5, 5, 5]])
def test_boxes_without_area_are_named(box: list[int]) -> None:
    values = [float(value) for value in box]
    assert (
        refused(box=[[1, 2, 3, 4], box])
        == f"the box {values} has no area. Expected x0 < x1 and y0 < y1. Correct its corners."
    )


TOGETHER = (
    "Expected both point_coords and point_labels, with one label (1 foreground, 0 background) per "
    "point."
)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "no prompt was given. Expected at least one. Pass point_coords, box"),
    "coords alone": ({"point_coords": [[1, 1]]}, f"only point_coords was given. {TOGETHER}"),
    "labels alone": ({"point_labels": [1]}, f"only point_labels was given. {TOGETHER}"),
    "one axis": (
        {"point_coords": [1, 2], "point_labels": [1]},
        "point_coords has the shape (2,). Expected (N, 2) for one object or (B, N, 2) for B "
        "objects, with (x, y) in each row.",
    ),
    "three coordinates": (
        {"point_coords": [[1, 2, 3]], "point_labels": [1]},
        "point_coords has the shape (1, 3). Expected (N, 2) for one object or (B, N, 2) for B "
        "objects, with (x, y) in each row.",
    ),
    "four axes": (
        {"point_coords": [[[[1, 2]]]], "point_labels": [[[1]]]},
        "point_coords has the shape (1, 1, 1, 2). Expected (N, 2) for one object or (B, N, 2) for "
        "B objects, with (x, y) in each row.",
    ),
    "no points": (
        {"point_coords": np.zeros((0, 2)), "point_labels": np.zeros(0)},
        "point_coords is empty: shape (0, 2). Expected at least one point. Pass None "
        "for no points.",
    ),
    "no objects": (
        {"point_coords": np.zeros((0, 3, 2)), "point_labels": np.zeros((0, 3))},
        "point_coords is empty: shape (0, 3, 2). Expected at least one point. Pass None "
        "for no points.",
    ),
    "objects without points": (
        {"point_coords": np.zeros((3, 0, 2)), "point_labels": np.zeros((3, 0))},
        "point_coords is empty: shape (3, 0, 2). Expected at least one point. Pass None "
        "for no points.",
    ),
    "labels shape": (
        {"point_coords": [[1, 2]], "point_labels": [1, 0]},
        "point_labels has the shape (2,) for point_coords of (1, 2). Expected one label per point: "
        "(1,).",
    ),
    "labels": (
        {"point_coords": [[1, 2], [3, 4], [5, 6]], "point_labels": [7, -2, 1]},
        "point_labels holds [-2.0, 7.0]. Expected 1 (foreground), 0 (background) or -1 (padding).",
    ),
    "NaN": (
        {"point_coords": [[np.inf, 1]], "point_labels": [1]},
        "point_coords holds NaN or infinity: [[inf, 1]]. Expected finite numbers.",
    ),
    "NaN label": (
        {"point_coords": [[1, 1]], "point_labels": [float("nan")]},
        "point_labels holds NaN or infinity: [nan]. Expected finite numbers.",
    ),
    "text": ({"box": list("abcd")}, "box is not an array of numbers: ['a', 'b', 'c', 'd']."),
    "ragged": (
        {"point_coords": [[1, 2], [3]], "point_labels": [1, 1]},
        "point_coords is not an array of numbers: [[1, 2], [3]].",
    ),
    "three corners": (
        {"box": [1, 2, 3]},
        "box has the shape (3,). Expected (4,) or (B, 4), with x0, y0, x1, y1 in each row.",
    ),
    "nested boxes": (
        {"box": [[[1, 2, 3, 4]]]},
        "box has the shape (1, 1, 4). Expected (4,) or (B, 4), with x0, y0, x1, y1 in each row.",
    ),
    "no boxes": (
        {"box": np.zeros((0, 4))},
        "box has the shape (0, 4). Expected (4,) or (B, 4), with x0, y0, x1, y1 in each row.",
    ),
    "mask of another size": (
        {"mask_input": np.zeros((1, 9, 9))},
        "mask_input has the shape (1, 9, 9). Expected (1, 8, 8) or B x (1, 8, 8): the "
        "low-resolution logits of an earlier prediction, one mask per object.",
    ),
    "three masks an object": (
        {"mask_input": np.zeros((2, 3, 8, 8))},
        "mask_input has the shape (2, 3, 8, 8). Expected (1, 8, 8) or B x (1, 8, 8): the "
        "low-resolution logits of an earlier prediction, one mask per object.",
    ),
    "no masks": (
        {"mask_input": np.zeros((0, 1, 8, 8))},
        "mask_input has the shape (0, 1, 8, 8). Expected (1, 8, 8) or B x (1, 8, 8): the "
        "low-resolution logits of an earlier prediction, one mask per object.",
    ),
    "masks of text": ({"mask_input": "a"}, "mask_input is not an array of numbers: 'a'."),
    "two counts": (
        {"box": [[1, 1, 9, 9]] * 2, **POINT},
        "the prompts are for different numbers of objects: point_coords 1, box 2. Expected the "
        "same leading axis B. Pad missing points with label -1.",
    ),
    "three counts": (
        {"box": [[1, 1, 9, 9]] * 2, "mask_input": MASK[None].repeat(3, 0), **POINT},
        "the prompts are for different numbers of objects: point_coords 1, box 2, mask_input 3. "
        "Expected the same leading axis B. Pad missing points with label -1.",
    ),
}


@pytest.mark.parametrize(("prompts", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_prompts_are_refused(prompts: dict[str, Any], message: str) -> None:
    assert refused(**prompts).startswith(message)


def test_what_was_no_array_keeps_its_cause() -> None:
    with pytest.raises(PromptError) as caught:
        check(box=object())
    assert isinstance(caught.value.__cause__, TypeError)
