"""Propagating where planes cannot be used: passed over, named, and gone on from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.session.session import LabelingSession
from napari_sam3.session.stacks import LazySequence, PlaneStack
from sam3 import Predictor
from sam3.errors import ImageError, PromptError, Sam3Error
from tests.napari_sam3.session.stack_table import (
    HERE,
    LEFT,
    PLANES,
    Table,
    make_table,
)


def with_planes(table: Table, change: Callable[[int, PlaneImage], PlaneImage]) -> PlaneStack:
    images = table.stack.images
    made = LazySequence(lambda z: change(z, images[z]), len(images))
    return PlaneStack(made, table.stack.labels)


def unreadable(z: int, plane: PlaneImage) -> PlaneImage:
    if z == 3:
        raise OSError("the file is damaged")
    return plane


def smaller(z: int, plane: PlaneImage) -> PlaneImage:
    return ArrayPlane(plane.region(slice(0, 20), slice(0, 20)).copy()) if z == 3 else plane


@pytest.mark.parametrize(
    ("change", "message"),
    [(unreadable, "the file is damaged"), (smaller, "plane 3 has a different size: 20 x 20 px")],
)
def test_planes_that_cannot_be_used_are_passed_over_and_named(
    change: Any, message: str, table: Table
) -> None:
    label = table.show(HERE, LEFT)
    table.propagate(label)
    before = table.labels[3].copy()
    result = table.propagate(label, stack=with_planes(table, change))
    assert result.problem is not None
    assert result.problem.planes == (3,)
    assert message in str(result.problem)
    assert table.planes(label) == list(range(PLANES)), "what was found there before stays"
    np.testing.assert_array_equal(table.labels[3], before)


def test_frames_of_different_dtypes_are_planes_like_any_other(table: Table) -> None:
    from napari_sam3.core.planes import plane_from_array

    def change(z: int, plane: PlaneImage) -> PlaneImage:
        dtype = (np.uint8, np.uint16, np.float32)[z % 3]
        grey = plane.region(slice(None), slice(None))[..., 0].astype(dtype)
        return ArrayPlane(plane_from_array(grey, contrast=(0, 255)))

    label = table.show(HERE, LEFT)
    assert table.propagate(label, stack=with_planes(table, change)).planes == PLANES - 1


def test_a_prompted_plane_that_cannot_be_read_is_an_error_and_changes_nothing(
    table: Table,
) -> None:
    label = table.show(3, LEFT)
    before, failures = table.labels.copy(), list[BaseException]()
    table.session.propagating.failed.connect(failures.append)
    with pytest.raises(ImageError, match="plane 3 cannot be read: the file is damaged"):
        table.propagate(label, stack=with_planes(table, unreadable))
    assert len(failures) == 1
    np.testing.assert_array_equal(table.labels, before)
    assert not table.session.propagating.running


def test_what_cannot_be_propagated_is_refused(table: Table, predictor: Predictor) -> None:
    session, stack = table.session, table.stack
    with pytest.raises(NothingThereError, match="no object to propagate"):
        session.propagate(stack=stack)
    with pytest.raises(NothingThereError, match="no object to propagate"):
        session.propagate([], stack=stack)
    with pytest.raises(LabelError, match="label 3 is not on this plane"):
        session.propagate([3], stack=stack)
    label = table.show(HERE, LEFT)
    with pytest.raises(PromptError, match="no stack: None given"):
        session.propagate([label])
    with pytest.raises(PromptError, match="unknown direction: 'up'"):
        session.propagate([label], stack=stack, direction="up")  # type: ignore[arg-type]
    with pytest.raises(PromptError, match="invalid gap: -1 planes"):
        session.propagate([label], stack=stack, gap=-1)
    with pytest.raises(LabelError, match="the labels do not fit the image"):
        PlaneStack.of(table.image, table.labels[1:])
    with pytest.raises(LabelError, match="differ in number: 6 and 5 planes"):
        PlaneStack(stack.images, stack.labels[1:])
    other = PlaneStack(stack.images[:2], stack.labels[:2])
    with pytest.raises(PromptError, match="not in the stack"):
        session.propagate([label], stack=other)
    session.set_predictor(None)
    with pytest.raises(Sam3Error, match="no model is set"):
        session.propagate([label], stack=stack)


def ended_on_a_bad_plane(embedded: Predictor) -> Table:
    """Return two discs that were propagated up to a plane of noise, and the plane behind it."""
    noise = np.random.default_rng(0).integers(25, 40, (PLANES, 80, 100)).astype(np.uint8)
    image = noise.copy()
    rows, columns = np.mgrid[:80, :100]
    for row, column in ((25, 25), (50, 70)):
        image[:, (rows - row) ** 2 + (columns - column) ** 2 < 100] = 200
    image[3] = noise[3]  # a bad plane
    table = make_table(LabelingSession(embedded), image)
    for label, box in ((1, (14.0, 14.0, 36.0, 36.0)), (2, (59.0, 39.0, 81.0, 61.0))):
        table.show(1, box)
        table.propagate(rules=None)
        assert table.planes(label) == [0, 1, 2]
    table.go_to(4)
    return table


def test_objects_that_ended_go_on_from_a_script_as_one_step(embedded: Predictor) -> None:
    table = ended_on_a_bad_plane(embedded)
    before = table.labels.copy()
    assert table.propagate(rules=None).labels == (1, 2)
    assert [table.planes(1), table.planes(2)] == [[0, 1, 2, 4, 5]] * 2
    table.session.undo()
    np.testing.assert_array_equal(table.labels, before)


def test_objects_that_cannot_go_on_leave_no_draft(embedded: Predictor) -> None:
    table = ended_on_a_bad_plane(embedded)
    table.labels[4] = 77
    for _ in range(2):
        with pytest.raises(LabelError):
            table.propagate(rules=None)
        assert not table.session.draft_set.drafts
    table.labels[4] = 0
    assert table.propagate(rules=None).labels == (1, 2)
