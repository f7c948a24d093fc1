"""Commands of a session at their edges: what they refuse, and what they leave in hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.session.session import LabelingSession
from sam3.errors import ImageError, PromptError, Sam3Error
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_session import BOX, CLICK, OTHER, Image, Later, click, make

BACKGROUND = PromptSet.from_arrays([[5, 5]], [0])


def test_without_an_image_every_command_says_so(predictor: Predictor) -> None:
    empty = LabelingSession(predictor)
    for command in (empty.predict, empty.accept, empty.reject):
        with pytest.raises(ImageError, match="Open an image"):
            command()


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (
            CLICK,
            "no model is set: None. Expected a model to predict with. Choose one, or call "
            "set_predictor first.",
        ),
        (
            BACKGROUND,
            "the draft has background clicks only: 1. Expected a foreground click or a box as "
            "well. Add one (left button).",
        ),
    ],
)
def test_what_cannot_be_predicted(blobs: Image, prompts: PromptSet, message: str) -> None:
    session, _, _ = make(None, blobs)
    session.set_prompts(prompts)
    with pytest.raises(Sam3Error, match=f"^{re.escape(message)}$"):
        session.predict()
    assert session.prompts == prompts


def test_prompts_outside_change_nothing(predictor: Predictor, blobs: Image) -> None:
    session, _, events = make(predictor, blobs)
    outside = PromptSet.from_arrays([[500, 5]])
    with pytest.raises(PromptError, match=r"column 500\.0 lies outside"):
        session.set_prompts(outside)
    with pytest.raises(PromptError, match=r"column 500\.0 lies outside"):
        session.set_objects([CLICK, outside])
    assert session.draft_set.drafts == ()
    assert not events


def test_labels_must_have_the_shape_of_the_plane(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    plane = plane_from_array(blobs)
    stack = np.zeros((3, *blobs.shape), int)
    message = (
        "the labels do not fit the image plane: shape (5, 5). Expected (100, 90). "
        "Choose labels made for this image."
    )
    with pytest.raises(LabelError, match=f"^{re.escape(message)}$"):
        session.set_plane(plane, "x", np.zeros((5, 5), int))
    with pytest.raises(LabelError, match=r"int64 of shape \(3, 100, 90\). Expected 2-D integers"):
        session.set_plane(plane, "x", stack)
    assert session.plane_key == "plane"
    session.set_plane(plane, PlaneIndex((0, 1)), labels)
    session.set_plane(plane, PlaneIndex((1, 2), (2,)), stack)
    click(session, CLICK)
    session.accept()
    assert [bool(one.any()) for one in stack] == [False, False, True]
    assert not labels.any()


def test_another_candidate_can_be_taken(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    prediction = click(session, CLICK)
    for other in {0, 1, 2} - {prediction.index}:
        session.choose(other)
        assert session.prediction is not None
        assert session.prediction.index == other
        assert session.prediction.draft is session.draft_set.draft
    accepted = session.accept()
    assert accepted is not None
    assert accepted.candidate == other
    assert (labels == prediction.candidates[other].mask.to_array(blobs.shape)).all()


def test_a_correction_starts_from_the_candidate_taken(predictor: Predictor, blobs: Image) -> None:
    corrected = CLICK.with_point(60, 70, 0)
    masks = []
    for taken in range(3):
        session, _, _ = make(predictor, blobs)
        click(session, CLICK)
        session.choose(taken)
        prediction = click(session, corrected)
        masks.append(prediction.candidates[0].logits)
    assert not any(np.array_equal(masks[one], masks[one - 1]) for one in range(3))


def test_only_masks_on_offer_can_be_taken(predictor: Predictor, blobs: Image) -> None:
    session, _, events = make(predictor, blobs)
    with pytest.raises(
        PromptError,
        match=r"candidate mask: 0\. Expected an index from 0 of 0",
    ):
        session.choose(0)
    prediction = click(session, CLICK)
    events.clear()
    for index in (-1, 3):
        message = f"candidate mask: {index}. Expected an index from 0 of 3 masks"
        with pytest.raises(PromptError, match=message):
            session.choose(index)
    session.choose(prediction.index)
    assert session.prediction is prediction
    assert not events
    later = Later()
    session, _, _ = make(predictor, blobs, submit=later)
    click(session, BOX)
    with pytest.raises(
        PromptError,
        match=r"candidate mask: 0\. Expected an index from 0 of 0",
    ):
        session.choose(0)


def test_objects_that_are_not_named_lose_their_prompts(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    session.set_objects([CLICK, OTHER])
    first, second = (draft.number for draft in session.draft_set.drafts)
    assert session.draft_set.current == second
    session.set_objects({first: CLICK})
    assert [draft.number for draft in session.draft_set.drafts] == [first]
    assert session.draft_set.current == first
    session.set_objects({})
    assert session.draft_set.drafts == ()
    assert session.draft_set.current is None
    labels[10:30, 10:30] = 7
    session.reopen(7)
    taken = session.draft_set.current
    session.set_objects({})
    assert [(draft.number, draft.label) for draft in session.draft_set.drafts] == [(taken, 7)]
    assert session.prompts.is_empty


def test_nothing_can_be_accepted_before_a_click(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    message = "^no mask to accept. Expected a draft with a mask. Click on an object first.$"
    with pytest.raises(LabelError, match=message):
        session.accept()
    session.set_prompts(BACKGROUND)
    with pytest.raises(LabelError, match=message):
        session.accept()
    assert session.prompts == BACKGROUND
    assert not labels.any()


def test_work_for_a_replaced_model_is_given_up(predictor: Predictor, blobs: Image) -> None:
    later = Later()
    session, _, _ = make(predictor, blobs, submit=later)
    click(session, CLICK)
    running = session._parts.predictions.queue.running
    assert running is not None
    session.set_predictor(predictor)
    assert running.abandoned
    assert session.prediction is None
