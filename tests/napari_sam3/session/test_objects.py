"""What is known of accepted objects, which ids are used up, and what a step holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.drafts import DraftSet
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.targets import ArrayTarget, largest_id
from napari_sam3.session.history import KEPT_PREDICTIONS, History, Step
from napari_sam3.session.jobs import Job
from napari_sam3.session.objects import RECENT_OBJECTS, ObjectRegistry
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_session import BOX, CLICK, OTHER, click, make

Image = npt.NDArray[np.uint8]


@pytest.fixture
def accepted(predictor: Predictor, blobs: Image) -> AcceptedObject:
    session, _, _ = make(predictor, blobs)
    click(session, CLICK)
    one = session.accept()
    assert one is not None
    return one


def sized(one: AcceptedObject, number: int, height: int, width: int) -> AcceptedObject:
    """Return the object with another id and bounding box, away from the origin."""
    return replace(one, id=number, bbox=(30, 50, 30 + height, 50 + width))


def hold(registry: ObjectRegistry, objects: list[AcceptedObject], source: str) -> None:
    """Have a registry know objects of a label image."""
    for one in objects:
        registry.add(source, one, None)


# ------------------------------------------------------------------ objects


def test_an_accepted_object_says_how_it_was_made(predictor: Predictor, blobs: Image) -> None:
    session = LabelingSession(predictor, level=0)
    labels = np.zeros(blobs.shape, np.uint16)
    rendering = Rendering(("DAPI",), ((5.0, 90.0),))
    session.set_plane(ArrayPlane(plane_from_array(blobs), rendering), "plane", labels)
    earliest = datetime.now(UTC) - timedelta(milliseconds=1)
    click(session, BOX)
    first = session.accept()
    assert first is not None
    prediction = click(session, OTHER)
    one = session.accept()
    assert one is not None
    assert (one.score, one.field, one.level) == (prediction.score, prediction.field, 0)
    y0, x0, y1, x1 = first.bbox
    assert (first.typical_size, one.typical_size) == (None, max(y1 - y0, x1 - x0))
    assert (one.model, one.fingerprint) == (predictor.config.name, predictor.fingerprint)
    assert (one.precision, one.rendering, one.category) == ("float32", rendering, "")
    time = datetime.fromisoformat(one.time)
    assert time.utcoffset() == timedelta(0)
    assert earliest <= time <= datetime.now(UTC)


def test_what_an_object_no_longer_covers_becomes_background(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    session.category = "nucleus"
    click(session, CLICK)
    session.accept()
    before = labels == 1
    session.category = ""
    session.reopen(1)
    other = click(session, CLICK.with_point(60, 70, 0))
    mask = other.mask.to_array(blobs.shape)
    assert (before & ~mask).any()
    one = session.accept()
    assert one is not None
    np.testing.assert_array_equal(labels == 1, mask)
    assert one.category == "nucleus", "taken up and improved, it stays what it was"
    session.undo()
    np.testing.assert_array_equal(labels == 1, before)


def test_an_object_that_was_moved_is_no_longer_the_one_that_was_written(
    accepted: AcceptedObject,
) -> None:
    target = ArrayTarget(np.zeros((20, 20), np.uint8), "plane")
    crop = np.ones((4, 5), bool)
    registry, mask = ObjectRegistry(), PlaneMask.from_array(crop, 3, 6)
    registry.add(target.source, accepted, mask)
    assert registry.is_as_written(target, accepted.id, PlaneMask.from_array(crop, 3, 6))
    assert not registry.is_as_written(target, accepted.id, PlaneMask.from_array(crop, 4, 6))
    assert not registry.is_as_written(target, accepted.id, PlaneMask.from_array(crop[1:], 3, 6))
    assert not registry.is_as_written(target, accepted.id + 1, mask)


def test_objects_are_told_apart_by_label_image_and_plane(accepted: AcceptedObject) -> None:
    registry = ObjectRegistry()
    first, second = accepted, replace(accepted, id=2)
    elsewhere = replace(accepted, plane="other")
    hold(registry, [first, elsewhere], "labels")
    hold(registry, [second], "others")
    assert registry.all() == (first, elsewhere, second)
    assert registry.within("labels") == (first, elsewhere)
    assert registry.within("others") == (second,)


def test_an_object_that_is_gone_already_can_go_once_more(accepted: AcceptedObject) -> None:
    target = ArrayTarget(np.zeros((5, 5), np.uint8), "plane")
    history = History(ObjectRegistry())
    step = Step("plane", DraftSet(), DraftSet(), source=target.source)
    history.exchange(step, [accepted], [])
    assert step.removed == [accepted]
    assert not history.objects.all()


def test_objects_taken_away_are_away_again_after_undo_and_redo(
    predictor: Predictor, blobs: Image
) -> None:
    session, _, _ = make(predictor, blobs)
    click(session, CLICK)
    one = session.accept()
    assert one is not None
    session.delete(1)
    assert not session.objects
    session.undo()
    assert session.objects == (one,)
    session.redo()
    assert not session.objects


def test_the_typical_size_is_the_median_of_the_newest_objects(accepted: AcceptedObject) -> None:
    registry = ObjectRegistry()
    assert registry.typical_size() is None
    old = [sized(accepted, 100 + i, 900, 900) for i in range(RECENT_OBJECTS)]
    hold(registry, old, "labels")
    high = [sized(accepted, 1 + i, 40, 7) for i in range(RECENT_OBJECTS // 2)]
    wide = [sized(accepted, 50 + i, 6, 20) for i in range(RECENT_OBJECTS // 2)]
    hold(registry, [*high, *wide], "labels")
    assert registry.typical_size() == 30.0


# ---------------------------------------------------------------------- ids


def test_labels_that_hold_no_ids_are_named() -> None:
    with pytest.raises(LabelError, match=r"float32\. Expected an integer dtype\. Convert"):
        largest_id(np.dtype(np.float32))


def test_ids_are_used_up_in_each_label_image_by_itself() -> None:
    registry = ObjectRegistry()
    one, other = (ArrayTarget(np.zeros((5, 5), np.uint16)) for _ in range(2))
    registry.use_up(one, 9)
    registry.use_up(one, 3)
    registry.use_up(other, 4)
    registry.use_up(other, 5)
    assert (registry.highest(one), registry.highest(other)) == (9, 5)
    assert [registry.free_id(one), registry.free_id(one), registry.free_id(other)] == [10, 10, 6]
    other.array[2, 2] = 70
    assert registry.free_id(other) == 71


# -------------------------------------------------------------------- steps


def test_only_the_newest_steps_keep_masks(predictor: Predictor, blobs: Image) -> None:
    session, _, _ = make(predictor, blobs)
    prediction = click(session, CLICK)
    history = History(ObjectRegistry())
    for _ in range(KEPT_PREDICTIONS + 5):
        history.push(Step("plane", DraftSet(), DraftSet(), predictions=(prediction,)))
    kept = [bool(step.predictions) for step in history.done]
    assert kept == [False] * 5 + [True] * KEPT_PREDICTIONS


def test_a_step_that_came_to_nothing_is_dropped_once(predictor: Predictor, blobs: Image) -> None:
    history = History(ObjectRegistry())
    first, second = (Step("plane", DraftSet(), DraftSet(), job=Job(1)) for _ in range(2))
    history.push(first)
    history.push(second)
    history.drop(first)
    history.drop(first)
    assert history.done == [second]
    assert first.job is None


def test_the_policy_inside_keeps_to_a_drawn_outline(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs, policy="inside")
    outline = [(20.0, 10.0), (60.0, 15.0), (40.0, 70.0)]
    click(session, PromptSet().with_outline(outline))
    session.accept()
    drawn = PlaneMask.from_outline(outline, blobs.shape).to_array(blobs.shape)
    assert labels.any()
    assert not labels[~drawn].any()


def test_ids_are_known_by_label_image_and_plane(accepted: AcceptedObject) -> None:
    registry = ObjectRegistry()
    there = [replace(accepted, plane=plane, id=n) for n in (1, 2, 3) for plane in ("a", "b")]
    hold(registry, there, "ours")
    hold(registry, [replace(accepted, plane="a", id=7)], "theirs")
    assert registry.ids_in("ours") == {"a": {1, 2, 3}, "b": {1, 2, 3}}
    registry.remove("ours", there[0])
    registry.remove("ours", there[0])
    registry.swap("ours", [there[1], there[3]], [there[0]])
    left = [there[2], there[4], there[5], there[0]]
    assert registry.within("ours") == tuple(left)
    assert registry.ids_in("ours") == {"a": {1, 2, 3}, "b": {3}}
    assert registry.all() == (*left[:3], registry.within("theirs")[0], left[3])
    registry.clear()
    assert registry.ids_in("ours") == {}
    assert registry.within("ours") == ()
