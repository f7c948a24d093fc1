"""What is recorded of labels that were changed, and objects that are made again from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_session import BOX, CLICK, OTHER, Image, click, make

Labels = npt.NDArray[Any]
THIRD = PromptSet.from_arrays([[68, 78]])


@pytest.fixture
def labelled(predictor: Predictor, blobs: Image) -> tuple[LabelingSession, Labels]:
    """Return a session with labels 1 (two turns), 2 (a box) and 3 (level 0), each of a class."""
    session, labels, _ = make(predictor, blobs, policy="overwrite")
    for name, turns in (("a", (CLICK, CLICK.with_point(60, 70, 0))), ("b", (BOX,))):
        session.category = name
        for prompts in turns:
            click(session, prompts)
        session.accept()
    session.category, session.level = "c", 0
    click(session, THIRD)
    session.accept()
    return session, labels


def described(one: AcceptedObject) -> dict[str, Any]:
    """Return what is the same each time an object is made."""
    new = ("time", "draft")
    return {name: value for name, value in vars(one).items() if name not in new}


def ids(session: LabelingSession) -> list[int]:
    return [one.id for one in session.objects]


def last(session: LabelingSession) -> Operation:
    return session.operations[-1]


def test_what_was_done_is_recorded(labelled: tuple[LabelingSession, Labels]) -> None:
    session, labels = labelled
    session.merge([1, 2, 1])
    done = last(session)
    assert (done.kind, done.plane, done.labels) == ("merge", "plane", (1, 2))
    labels[:] = 0
    labels[2:10, 2:10] = labels[2:10, 30:44] = 3
    assert session.split(3, [9]) == (3, 9)
    done = last(session)
    assert (done.kind, done.plane, done.labels) == ("split", "plane", (3, 9))
    session.delete(9)
    done = last(session)
    assert (done.kind, done.plane, done.labels) == ("delete", "plane", (9,))
    session.paint(LabelWrite("plane", (slice(0, 2), slice(0, 2)), np.full((2, 2), 5)))
    done = last(session)
    assert (done.kind, done.plane, done.labels) == ("paint", "plane", ())
    assert (labels[:2, :2] == 5).all()
    session.undo()
    assert not labels[:2, :2].any()


def test_an_object_follows_its_label(labelled: tuple[LabelingSession, Labels]) -> None:
    session, labels = labelled
    first, second, third = session.objects
    session.merge([2, 1])
    merged = session.objects[-1]
    assert (merged.id, merged.category, merged.score) == (2, "b", second.score)
    assert merged.area == (labels == 2).sum()
    assert list(session.objects[:-1]) == [third]
    session.undo()
    assert sorted(ids(session)) == [1, 2, 3]
    labels[:] = 0
    labels[2:10, 2:10] = labels[2:10, 30:44] = 1
    session.split(1)
    parts = session.objects[-2:]
    assert [(one.id, one.bbox, one.category) for one in parts] == [
        (1, (2, 30, 10, 44), "a"),
        (4, (2, 2, 10, 10), "a"),
    ]
    assert len({one.draft.number for one in parts}) == 2
    assert first not in session.objects


def test_labels_of_unknown_origin_stay_unknown(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    labels[5:20, 5:20], labels[5:20, 40:50] = 3, 4
    session.merge([3, 4])
    assert ids(session) == []
    session.split(3)
    assert ids(session) == []
    session.delete(3)
    assert ids(session) == []
    labels[5:20, 5:20], labels[5:20, 40:50] = 3, 4
    click(session, OTHER)
    accepted = session.accept()
    assert accepted is not None
    session.merge([3, accepted.id])
    assert [(one.id, one.prompts.is_empty) for one in session.objects] == [(3, True)]


@pytest.mark.parametrize("command", ["delete", "merge", "split"])
def test_what_was_taken_up_is_dropped_with_its_label(
    predictor: Predictor, blobs: Image, command: str
) -> None:
    session, labels, _ = make(predictor, blobs, mode="many")
    labels[5:20, 5:20] = labels[5:20, 40:50] = 3
    labels[40:50, 5:20], labels[60:70, 5:20] = 4, 5
    for label in (3, 4, 5):
        session.reopen(label)
    if command == "merge":
        session.merge([4, 3])
    else:
        getattr(session, command)(3)
    assert [draft.label for draft in session.draft_set.drafts] == [4, 5]
    session.undo()
    assert [draft.label for draft in session.draft_set.drafts] == [3, 4, 5]


def test_taking_up_accepts_the_one_in_hand_if_there_is_one_at_a_time(
    predictor: Predictor, blobs: Image
) -> None:
    for mode, written, held in (("one", 1, [8]), ("many", 0, [None, 8])):
        session, labels, _ = make(predictor, blobs, mode=mode)
        labels[80:95, 70:85] = 8
        click(session, CLICK)
        session.reopen(8)
        assert len(session.objects) == written
        session.reopen(8)
        assert [draft.label for draft in session.draft_set.drafts] == held


def test_what_is_taken_up_is_shown_as_it_was_known(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    click(session, CLICK)
    first = session.accept()
    assert first is not None
    session.reopen(1)
    assert session.prediction is not None
    assert session.prediction.score == first.score
    draft = session.draft_set.draft
    assert draft is not None
    assert (draft.turns, draft.seed, draft.label) == (first.draft.turns, None, 1)
    assert draft.number != first.draft.number
    session.reject()
    labels[first.bbox[0] : first.bbox[0] + 3] = 0
    session.reopen(1)
    assert session.draft_set.draft is not None
    assert session.draft_set.draft.turns == ()
    assert session.draft_set.draft.seed is not None
    session.reject()
    labels[2:5, 2:5] = 30
    session.reopen(30)
    assert session.prediction.score == 1.0


def test_an_improved_label_is_taken_up_with_what_it_was_started_from(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    labels[10:30, 10:30] = 4
    session.reopen(4)
    click(session, CLICK)
    accepted = session.accept()
    assert accepted is not None
    assert accepted.draft.seed is not None
    session.reopen(4)
    draft = session.draft_set.draft
    assert draft is not None
    assert draft.seed is accepted.draft.seed
    assert draft.turns == accepted.draft.turns


def test_objects_are_made_again(
    labelled: tuple[LabelingSession, Labels], predictor: Predictor, blobs: Image
) -> None:
    session, labels = labelled
    again, copy, events = make(predictor, blobs)
    again.make_again(session.objects, "overwrite")
    assert (copy == labels).all()
    assert [described(one) for one in again.objects] == [described(one) for one in session.objects]
    for new, old in zip(again.objects, session.objects, strict=True):
        assert (new.draft.turns, new.draft.label) == (old.draft.turns, old.draft.label)
    done = last(again)
    assert (done.kind, done.plane, done.policy) == ("accept", "plane", "overwrite")
    assert done.objects == again.objects
    assert [event[1] for event in events if event[0] == "accepted"] == list(again.objects)
    click(again, OTHER)
    accepted = again.accept()
    assert accepted is not None
    assert accepted.id == 4
    again.undo()
    again.reject()
    for _ in range(3):
        again.undo()
    assert not copy.any()
    assert ids(again) == []


def test_nothing_is_made_again_if_one_cannot_be(
    labelled: tuple[LabelingSession, Labels], predictor: Predictor, blobs: Image
) -> None:
    session, labels = labelled
    again, copy, events = make(predictor, blobs)
    copy[labels == 3] = 50
    before = copy.copy()
    with pytest.raises(LabelError, match="already belong"):
        again.make_again(session.objects, "keep")
    assert (copy == before).all()
    assert ids(again) == []
    assert not again.can_undo
    assert not events


def test_what_is_in_hand_stays_while_others_are_made_again(
    labelled: tuple[LabelingSession, Labels], predictor: Predictor, blobs: Image
) -> None:
    again, _, _ = make(predictor, blobs)
    click(again, OTHER)
    hand = again.draft_set
    again.make_again(labelled[0].objects, "overwrite")
    assert again.draft_set.same_as(hand)
    again.undo()
    assert again.draft_set.same_as(hand)
    assert again.plane_key == "plane"
    again.set_plane(plane_from_array(blobs), "next", np.zeros(blobs.shape, int))
    assert again.redo() == "plane"
