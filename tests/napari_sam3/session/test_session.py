from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.session.jobs import Outcome
from napari_sam3.session.session import LabelingSession
from sam3.errors import CheckpointError
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]
CLICK = PromptSet.from_arrays([[20, 20]])
OTHER = PromptSet.from_arrays([[65, 20]])
BOX = PromptSet(box=(30, 35, 60, 65))


class Later:
    """Runs work when told, so that a test decides what happens in between."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Callable[[Outcome], None], Any]] = []

    def __call__(self, work: Any, done: Callable[[Outcome], None], report: Any) -> None:
        self.waiting.append((work, done, report))

    def run(self) -> None:
        assert len(self.waiting) == 1, "one prediction in flight"
        work, done, report = self.waiting.pop()
        done(work(report))


def make(
    predictor: Any, image: Image, dtype: Any = np.uint16, **options: Any
) -> tuple[LabelingSession, npt.NDArray[Any], list[Any]]:
    session = LabelingSession(predictor, **options)
    labels = np.zeros(image.shape, dtype)
    session.set_plane(plane_from_array(image), "plane", labels)
    events: list[Any] = []
    for name in ("prompts_changed", "prediction_changed", "accepted", "labels_changed", "failed"):
        getattr(session, name).connect(lambda *args, name=name: events.append((name, *args)))
    return session, labels, events


def click(session: LabelingSession, prompts: PromptSet) -> Any:
    session.set_prompts(prompts)
    return session.predict()


def test_a_click_becomes_a_label(predictor: Predictor, blobs: Image) -> None:
    session, labels, events = make(predictor, blobs)
    prediction = click(session, CLICK)
    assert session.prediction is not None
    assert session.prediction is prediction
    assert len(prediction.candidates) == 3
    assert prediction.score == max(c.score for c in prediction.candidates)
    mask = prediction.mask.to_array(blobs.shape)
    accepted = session.accept()
    assert accepted is not None
    assert (labels == mask).all()
    assert (accepted.id, accepted.area, accepted.prompts) == (1, mask.sum(), CLICK)
    assert accepted.fingerprint == predictor.fingerprint
    assert (session.objects, session.prediction) == ((accepted,), None)
    assert session.prompts.is_empty
    names = [event[0] for event in events]
    assert names == [
        "prompts_changed", "prediction_changed", "prompts_changed", "prediction_changed",
        "labels_changed", "accepted",
    ]  # fmt: skip


@pytest.mark.parametrize("three", [False, True])
def test_boxes_and_more_prompts_get_one_mask_and_corrections_what_suits_the_model(
    predictor: Predictor, blobs: Image, three: bool
) -> None:
    model = replace(predictor.config, three_after_correction=three)
    session, _, _ = make(Predictor(build_click_model(model).eval(), device="cpu"), blobs)
    assert len(click(session, BOX).candidates) == 1
    assert len(click(session, BOX.with_point(45, 50)).candidates) == (3 if three else 1)
    assert len(click(session, CLICK.with_point(25, 25)).candidates) == 1
    session.reject()
    assert len(click(session, CLICK).candidates) == 3
    corrected = click(session, CLICK.with_point(25, 25))
    assert len(corrected.candidates) == (3 if three else 1)
    assert corrected.score == max(one.score for one in corrected.candidates)


@pytest.mark.parametrize("level", [None, 0])
def test_a_box_that_reaches_far_beyond_the_plane_is_cut_off_there(
    predictor: Predictor, blobs: Image, level: int | None
) -> None:
    found = []
    for bottom in (1e308, 99.5):
        session, labels, _ = make(predictor, blobs, level=level, policy="inside")
        click(session, PromptSet(box=(30, 35, 60, bottom)))
        session.accept()
        found.append(labels)
    assert found[0].any()
    assert (found[0] == found[1]).all()


def test_a_further_click_starts_from_the_last_logits_of_the_same_object(
    predictor: Predictor, blobs: Image
) -> None:
    session, _, _ = make(predictor, blobs, level=0)
    first = click(session, CLICK)
    assert not np.any(first.field.rows[0])
    refined = click(session, CLICK.with_point(60, 70, 0))
    image = plane_from_array(blobs)
    features = predictor.encode(first.field.extract(ArrayPlane(image)))
    points, signs = [[20, 20], [60, 70]], [1, 0]
    expected = predictor.predict(
        features, points, signs, mask_input=first.logits, multimask_output=True
    )
    plain = predictor.predict(features, points, signs, multimask_output=False)
    best = int(expected.scores.argmax())
    assert np.allclose(refined.logits, expected.logits[best], atol=1e-4)
    assert not np.allclose(refined.logits, plain.logits, atol=1e-2)
    # Another object starts from nothing.
    session.reject()
    alone = click(session, PromptSet.from_arrays(points, signs))
    assert np.allclose(alone.logits, plain.logits, atol=1e-4)


def test_a_mask_cut_off_by_its_field_is_asked_again_one_level_up(
    predictor: Predictor, blobs: Image
) -> None:
    session, _, _ = make(predictor, blobs)
    prediction = click(session, CLICK)
    # Random weights fill their field: only the whole plane (level 0) has no inner border.
    assert prediction.field.level == 0
    assert prediction.field.shape == blobs.shape


def test_accepted_pixels_are_kept_unless_overwriting_is_chosen(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    click(session, CLICK)
    session.accept()
    first = labels.copy()
    second = click(session, BOX)
    session.accept()
    assert (labels[first == 1] == 1).all()
    session.undo()
    session.policy = "overwrite"
    mask = second.mask.to_array(blobs.shape)
    accepted = session.accept()
    assert accepted is not None
    assert (labels[mask] == accepted.id).all()
    assert (labels[~mask] == first[~mask]).all()
    session.undo()
    assert (labels == first).all()


def test_undo_and_redo_cross_accepts_and_bring_prompts_back(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    states = []
    for prompts in (CLICK, OTHER, BOX):
        click(session, prompts)
        states.append((session.prompts, labels.copy(), session.objects))
        session.accept()
        states.append((session.prompts, labels.copy(), session.objects))

    def check(state: tuple[PromptSet, Any, Any]) -> None:
        assert session.prompts == state[0]
        assert (labels == state[1]).all()
        assert session.objects == state[2]

    for state in reversed(states[:-1]):
        assert session.undo() == "plane"
        check(state)
        assert (session.prediction is None) == state[0].is_empty
    session.undo()
    assert not session.can_undo
    assert not labels.any()
    assert session.undo() is None
    for state in states:
        session.redo()
        check(state)
    assert not session.can_redo


def test_undo_leaves_hand_painted_pixels_alone(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    click(session, CLICK)
    session.accept()
    row, column = np.argwhere(labels == 1)[0]
    labels[row, column] = 77
    session.undo()
    assert labels[row, column] == 77
    assert np.count_nonzero(labels) == 1
    session.redo()
    assert labels[row, column] == 77
    assert (labels == 1).any()


def test_ids_run_on_above_what_is_there_and_are_never_reused(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    labels[99, 89] = 41
    click(session, CLICK)
    assert session.accept().id == 42  # type: ignore[union-attr]
    session.undo()
    session.reject()
    click(session, OTHER)
    assert session.accept().id == 43  # type: ignore[union-attr]


def test_an_id_too_large_is_refused_before_anything_is_written(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs, np.uint8)
    labels.flat[:255] = range(1, 256)  # no id is free, not even a low one
    before = labels.copy()
    click(session, CLICK)
    with pytest.raises(LabelError, match=r"dtype uint8: 256\. Expected at most 255"):
        session.accept()
    assert (labels == before).all()
    assert session.prediction is not None
    assert session.prompts == CLICK


def test_nothing_to_accept(predictor: Predictor, blobs: Image) -> None:
    session, labels, _ = make(predictor, blobs)
    with pytest.raises(LabelError, match="Click on an object first"):
        session.accept()
    click(session, CLICK)
    labels[:] = 5
    with pytest.raises(LabelError, match="already belong to accepted labels"):
        session.accept()
    assert (labels == 5).all()


def test_undo_reaches_the_plane_it_was_done_on(predictor: Predictor, blobs: Image) -> None:
    session, labels, events = make(predictor, blobs)
    click(session, CLICK)
    session.accept()
    session.set_plane(plane_from_array(blobs), "next", np.zeros_like(labels))
    assert session.undo() == "plane"
    assert not labels.any()
    assert session.prompts_on("plane") == CLICK
    assert session.prompts.is_empty
    assert events[-1] == ("prompts_changed", "plane")


def test_stages_are_told(predictor: Predictor, blobs: Image) -> None:
    stages: list[str] = []
    session, _, _ = make(lambda: predictor, blobs)
    session.busy_changed.connect(stages.append)
    session.prepare()
    assert stages == ["loading model", "idle"]
    assert session.predictor is predictor
    click(session, BOX)
    assert stages[2:4] == ["encoding", "predicting"]
    assert stages[-1] == session.stage == "idle"


def test_a_model_that_cannot_be_loaded_can_be_replaced(predictor: Predictor, blobs: Image) -> None:
    def broken() -> Predictor:
        raise CheckpointError("weights.pt is damaged")

    session, _, events = make(broken, blobs)
    session.set_prompts(CLICK)
    with pytest.raises(CheckpointError, match="damaged"):
        session.predict()
    assert events[-1][0] == "failed"
    assert session.stage == "idle"
    session.set_predictor(predictor)
    assert session.predict() is not None


def test_a_model_replaced_while_it_loads_stays_replaced(predictor: Predictor, blobs: Image) -> None:
    later = Later()
    session, _, _ = make(lambda: predictor, blobs, submit=later)
    session.prepare()
    session.set_predictor(lambda: predictor)
    later.run()
    assert session.predictor is None


def test_a_closed_session_stays_silent(predictor: Predictor, blobs: Image) -> None:
    later = Later()
    session, labels, events = make(predictor, blobs, submit=later)
    click(session, CLICK)
    session.accept()
    events.clear()
    session.close()
    later.run()
    assert not events
    assert not labels.any()


def test_the_newest_steps_keep_their_masks_and_older_ones_are_asked_again(
    predictor: Predictor, blobs: Image
) -> None:
    session, labels, _ = make(predictor, blobs)
    click(session, CLICK)
    session.accept()
    for x in range(15):
        session.set_prompts(PromptSet.from_arrays([[x, 50]]))
        session.reject()
    for _ in range(30):
        session.undo()
    assert labels.any()
    session.undo()
    assert not labels.any()
    assert session.prediction is not None
    assert session.prediction.prompts == CLICK


def test_what_is_near_is_encoded_ahead_and_makes_way_for_a_click(
    predictor: Predictor, blobs: Image
) -> None:
    later = Later()
    image = np.tile(blobs, (3, 3))
    session, _, _ = make(predictor, image, submit=later, look_ahead=4)
    next_plane = ArrayPlane(plane_from_array(image[::-1]))
    session.neighbours = lambda: [next_plane]
    session.prepare()
    ran = 0
    while later.waiting and ran < 9:
        assert not session.busy, "nobody waits for it"
        later.run()
        ran += 1
    assert ran == 4
    assert len(session.cache) == 4
    # A click in the middle finds its field there already.
    before = len(session.cache)
    click(session, PromptSet.from_arrays([[135, 150]]))
    assert session.busy
    later.run()
    assert session.prediction is not None
    assert session.prediction.field.level >= -1
    assert len(session.cache) >= before

    other, _, _ = make(predictor, image, submit=later, look_ahead=4)
    other.prepare()
    click(other, PromptSet.from_arrays([[20, 20]]))
    assert len(later.waiting) == 1, "the field being encoded ahead is given up first"
    later.run()
    assert len(other.cache) == 0
    later.run()
    assert other.prediction is not None
