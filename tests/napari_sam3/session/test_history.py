"""Steps forwards and back: what they change, what they tell, and to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.operations import LabelChange, LabelWrite
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_batch_steps import Run, box, plane
from tests.napari_sam3.session.test_session import BOX, CLICK, OTHER, Later, click, make

Image = npt.NDArray[np.uint8]


def changes_of(session: LabelingSession) -> list[LabelChange]:
    heard: list[LabelChange] = []
    session.labels_changed.connect(heard.append)
    return heard


# ------------------------------------------------------------------ batches


@pytest.fixture
def run(predictor: Predictor, blobs: Image) -> Run:
    """Return a session with an accepted object, then a stroke between planes of one batch."""
    labels = np.zeros((5, *blobs.shape), np.uint16)
    run = Run(predictor, labels)
    run.session.set_plane(plane_from_array(blobs), plane(4), labels)
    click(run.session, CLICK)
    run.session.accept()
    run.write(0, box(1, 2, 2))
    run.session.paint(LabelWrite(plane(4), (slice(0, 1), slice(0, 1)), np.full((1, 1), 9)))
    run.write(1, box(2, 2, 2))
    run.write(2, box(3, 2, 2))
    run.write(3, box(4, 2, 2))
    return run


def test_planes_of_a_batch_in_a_row_are_one_step_and_tell_whether_more_follow(run: Run) -> None:
    run.changes.clear()
    assert run.session.undo() == plane(1), "the plane that changed last"
    assert [(c.operation.plane, c.more) for c in run.changes] == [
        (plane(3), True), (plane(2), True), (plane(1), False),
    ]  # fmt: skip
    assert run.labels[0].any(), "a stroke lies between"
    run.changes.clear()
    assert run.session.redo() == plane(3)
    assert [(c.operation.plane, c.more) for c in run.changes] == [
        (plane(1), True), (plane(2), True), (plane(3), False),
    ]  # fmt: skip
    assert run.labels[3].any()
    for _ in range(2):
        run.session.undo()
    run.changes.clear()
    run.session.undo()
    assert [(c.operation.plane, c.more) for c in run.changes] == [(plane(0), False)]
    for count in (1, 1, 3):
        run.changes.clear()
        run.session.redo()
        assert len(run.changes) == count
    assert not run.session.can_redo


def test_whoever_looks_at_a_plane_that_changed_stays_there(run: Run, blobs: Image) -> None:
    run.session.set_plane(plane_from_array(blobs), plane(2), run.labels)
    assert run.session.undo() == plane(2)
    assert run.session.redo() == plane(2)
    assert run.session.undo() == plane(2)
    assert run.session.undo() == plane(4), "the stroke, on a plane out of sight"


def test_only_what_was_accepted_by_hand_is_told_again(run: Run) -> None:
    told: list[Any] = []
    run.session.accepted.connect(told.append)
    while run.session.can_undo:
        run.session.undo()
    while run.session.can_redo:
        run.session.redo()
    assert [one.id for one in told] == [run.session.objects[0].id]
    assert told[0] is run.session.objects[0]


# ------------------------------------------------------------------- planes


def test_planes_are_told_by_their_keys(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    told: list[Any] = []
    session.plane_changed.connect(told.append)
    session.set_plane(plane_from_array(blobs), "next", labels)
    click(session, CLICK)
    session.clear_plane()
    session.clear_plane()
    assert told == ["next", None]
    assert session.prompts_on("next") == CLICK
    assert session.prediction is None


def test_masks_are_kept_for_the_same_pixels_only(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    image, other = ArrayPlane(plane_from_array(blobs)), ArrayPlane(plane_from_array(blobs[::-1]))
    session.set_plane(image, "plane", labels)
    prediction = click(session, CLICK)
    session.set_plane(image, "plane", labels)
    assert session.prediction is prediction
    session.set_plane(other, "other", labels)
    click(session, OTHER)
    session.set_plane(image, "plane", labels)
    assert session.prediction is prediction, "seen before, and unchanged"
    session.set_plane(other, "plane", labels)
    assert session.prediction is None
    assert session.prompts == CLICK
    session.set_plane(image, "plane", labels)  # its object has no mask now
    assert session.prompts == CLICK
    session.set_plane(other, "other", labels)
    assert session.prediction is not None


def test_a_plane_left_while_it_is_encoded_is_encoded_no_further(
    predictor: Predictor, blobs: Image
) -> None:
    def leave(work: Any, done: Any, report: Any) -> None:
        def tell(stage: str, share: float | None) -> None:
            report(stage, share)
            if stage == "encoding" and session.plane_key == "plane":
                session.set_plane(plane_from_array(blobs), "next", labels)

        done(work(tell))

    session, labels, _ = make(predictor, blobs, submit=leave)
    click(session, CLICK)
    assert session.plane_key == "next"
    assert len(session.cache) == 0
    assert not session.busy


# ------------------------------------------------------------ what was asked


def test_prompts_that_nobody_asked_about_are_asked_about_on_accepting(
    predictor: Predictor, blobs: Image
) -> None:
    later = Later()
    session, _, _ = make(predictor, blobs, submit=later, mode="many")
    click(session, CLICK)
    more = CLICK.with_point(25, 22)
    session.set_prompts(more)
    number = session.draft_set.current
    assert number is not None
    session.set_objects({number: more, session.new_number(): BOX})
    session.accept()
    while later.waiting:
        later.run()
    assert [one.prompts for one in session.objects] == [more, BOX]


def test_undo_gives_masks_back_without_asking_again(predictor: Predictor, blobs: Image) -> None:
    later = Later()
    session, _, _ = make(predictor, blobs, submit=later, mode="many")
    session.set_objects([CLICK, OTHER])
    session.predict()
    later.run()
    masks = session.predictions
    assert len(masks) == 2
    session.accept()
    assert not session.predictions
    session.undo()
    assert session.predictions == masks
    assert not later.waiting
    session.redo()
    assert not session.predictions
    session.undo()
    session.undo()  # before there were any prompts
    assert not session.draft_set.drafts
    session.redo()
    later.run()
    assert len(session.predictions) == 2, "asked about again"


def test_undo_without_a_model_brings_prompts_back(predictor: Predictor, blobs: Image) -> None:
    session, _, events = make(None, blobs)
    session.set_prompts(CLICK)
    session.reject()
    events.clear()
    assert session.undo() == "plane"
    assert session.prompts == CLICK
    assert events == [("prompts_changed", "plane")]


# ------------------------------------------------------------------ writing


def test_policy_and_class_of_the_moment_are_part_of_the_step(
    predictor: Predictor, blobs: Image
) -> None:
    session, _, _ = make(predictor, blobs, policy="overwrite")
    session.category = "nucleus"
    click(session, CLICK)
    accepted = session.accept()
    session.policy, session.category = "keep", ""
    assert accepted is not None
    assert accepted.category == "nucleus"
    assert [one.policy for one in session.operations] == ["overwrite"]


def test_a_label_taken_up_and_left_as_it_is_holds_up_no_other(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, events = make(predictor, blobs, mode="many")
    labels[0, :3] = 5
    session.reopen(5)
    seeded = session.draft_set.drafts[0].number
    session.set_objects({seeded: PromptSet(), session.new_number(): CLICK})
    session.predict()
    accepted = session.accept()
    assert accepted is not None
    assert accepted.id == 6
    assert not session.draft_set.drafts
    assert (labels[0, :3] == 5).all()

    session.undo()
    assert len(session.draft_set.drafts) == 2
    labels[labels == 0] = 7
    events.clear()
    assert session.accept() is None
    assert [str(e[1])[:3] for e in events if e[0] == "failed"] == ["all"]
    assert [draft.prompts for draft in session.draft_set.drafts] == [CLICK]


def test_deleting_a_label_drops_the_object_in_hand_that_was_made_of_it(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, events = make(predictor, blobs, mode="many")
    heard = changes_of(session)
    labels[0, :3], labels[5, :3] = 5, 8
    session.reopen(5)
    session.reopen(8)
    events.clear()
    session.delete(5)
    assert [draft.label for draft in session.draft_set.drafts] == [8]
    assert ("prompts_changed", "plane") in events
    assert "prediction_changed" in [event[0] for event in events]
    assert [change.more for change in heard] == [False]
    assert session.undo() == "plane"
    assert [draft.label for draft in session.draft_set.drafts] == [5, 8]
    assert (labels[0, :3] == 5).all()
    session.delete(8)
    assert [draft.label for draft in session.draft_set.drafts] == [5]


def test_a_change_on_another_plane_says_nothing_about_the_masks_in_hand(
    predictor: Predictor, blobs: Image
) -> None:
    session, _, events = make(predictor, blobs)
    click(session, CLICK)
    session._parts.drafts._emitted = ()  # whatever was told, it would be told again
    events.clear()
    elsewhere = np.zeros(blobs.shape, np.uint16)
    target = ArrayTarget(elsewhere, "elsewhere")
    region = slice(2, 4), slice(3, 5)
    edit = LabelEdit.between(target, region, np.full((2, 2), 3))
    assert edit is not None
    edit.apply()
    session.note_edit(edit, "elsewhere")
    assert [event[0] for event in events] == ["labels_changed"]
    assert session.undo() == "elsewhere"
    assert [event[0] for event in events] == ["labels_changed"] * 2
    assert not elsewhere.any()


def test_what_a_stroke_leaves_is_told_as_given_and_later_as_it_is(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    heard = changes_of(session)
    target = ArrayTarget(labels, "plane")
    region = slice(2, 4), slice(3, 5)
    edit = LabelEdit.between(target, region, np.full((2, 2), 3))
    assert edit is not None
    # The labels are written a moment later, as napari does it.
    given = (LabelWrite("plane", region, np.full((2, 2), 3)),)
    session.note_edit(edit, "plane", given)
    edit.apply()
    session.undo()
    session.redo()
    assert [change.direction for change in heard] == ["do", "undo", "redo"]
    assert heard[0].writes == given
    assert [int(c.writes[0].values.max()) for c in heard[1:]] == [0, 3]
    assert [change.more for change in heard] == [False] * 3
