"""Requests and answers of a session: the newest wins, and nothing is lost or stale."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.session.session import LabelingSession
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_session import BOX, CLICK, OTHER, Image, Later, click, make


def test_the_newest_request_wins_and_stale_answers_are_dropped(
    predictor: Predictor, blobs: Image
) -> None:
    later = Later()
    session, _, events = make(predictor, blobs, submit=later)
    first, second, third = CLICK, CLICK.with_point(25, 22), CLICK.with_point(25, 22, 0)
    for prompts in (first, second, third):
        assert click(session, prompts) is None
    later.run()  # the first, no longer wanted
    assert session.prediction is None
    later.run()  # the third; the second never ran
    assert not later.waiting
    assert session.prediction is not None
    assert session.prediction.prompts == third
    assert [e[1].prompts for e in events if e[0] == "prediction_changed"] == [third]


def test_accepting_ahead_of_the_mask_loses_no_click(predictor: Predictor, blobs: Image) -> None:
    later = Later()
    session, labels, _ = make(predictor, blobs, submit=later)
    for prompts in (CLICK, OTHER):
        click(session, prompts)
        assert session.accept() is None
        assert session.prompts.is_empty
    click(session, BOX)
    while later.waiting:
        later.run()
    assert [o.prompts for o in session.objects] == [CLICK, OTHER]
    assert set(np.unique(labels)) == {0, 1, 2}
    assert session.prompts == BOX
    assert session.prediction is not None
    assert session.prediction.prompts == BOX

    alone, expected, _ = make(predictor, blobs)
    for prompts in (CLICK, OTHER):
        click(alone, prompts)
        alone.accept()
    assert (labels == expected).all()


def test_an_accept_ahead_can_be_undone_or_cancelled(predictor: Predictor, blobs: Image) -> None:
    later = Later()
    session, labels, _ = make(predictor, blobs, submit=later)
    click(session, CLICK)
    session.accept()
    session.undo()
    assert session.prompts == CLICK
    session.accept()
    session.cancel()
    while later.waiting:
        later.run()
    assert session.prompts == CLICK
    assert not labels.any()
    assert not session.objects


def test_an_answer_for_a_plane_left_meanwhile_is_dropped(
    predictor: Predictor, blobs: Image
) -> None:
    later = Later()
    session, labels, _ = make(predictor, blobs, submit=later)
    click(session, CLICK)
    session.set_plane(plane_from_array(blobs), "next", np.zeros_like(labels))
    later.run()
    assert session.prediction is None
    assert session.prompts.is_empty
    assert session.prompts_on("plane") == CLICK


def test_a_press_predicts_the_mask_that_its_release_shows(
    predictor: Predictor, blobs: Image, predictions: list[Predictor]
) -> None:
    session, _, events = make(predictor, blobs)
    session.expect(CLICK)
    assert not predictions, "no field is encoded for a press"
    click(session, CLICK)
    session.reject()
    events.clear()
    predictions.clear()

    session.expect(CLICK)
    assert not events
    assert session.draft_set.drafts == ()
    before = len(predictions)
    assert before
    early = click(session, CLICK)
    assert len(predictions) == before
    assert early is not None
    second = PromptSet.from_arrays([[25, 22]])
    session.expect(second)
    before = len(predictions)
    click(session, CLICK.with_point(25, 20))
    assert len(predictions) > before, "another click than the press announced"

    alone, _, _ = make(predictor, blobs)
    click(alone, CLICK)
    alone.reject()
    late = click(alone, CLICK)
    assert late is not None
    assert (late.mask.row, late.mask.column) == (early.mask.row, early.mask.column)
    assert (late.mask.crop == early.mask.crop).all()
    assert late.score == early.score


def test_a_release_before_the_expected_mask_is_done_waits_for_that_mask(
    predictor: Predictor, blobs: Image, predictions: list[Predictor]
) -> None:
    later = Later()
    session, _, events = make(predictor, blobs, submit=later)
    click(session, CLICK)
    later.run()
    session.reject()
    session.expect(CLICK)
    assert click(session, CLICK) is None
    early, request = later.waiting
    events.clear()
    work, done, report = early
    done(work(report))
    before = len(predictions)
    assert before
    work, done, report = request
    done(work(report))
    assert len(predictions) == before
    assert [name for name, *_ in events] == ["prediction_changed"]
    assert session.prediction is not None
    assert session.prediction.prompts == CLICK


def test_an_expected_mask_of_another_model_is_not_taken(
    predictor: Predictor, blobs: Image, predictions: list[Predictor]
) -> None:
    session, _, _ = make(predictor, blobs)
    click(session, CLICK)
    session.reject()
    session.expect(CLICK)
    other = Predictor(build_click_model(predictor.config).eval(), device="cpu")
    session.set_predictor(other)
    assert click(session, CLICK) is not None
    assert other in predictions


def test_a_press_reads_no_pixels_of_a_field_that_is_not_encoded(predictor: Predictor) -> None:
    read: list[object] = []

    class Slow(ArrayPlane):
        is_lazy = True

        def region(self, rows: slice, columns: slice, step: int = 1) -> Any:
            read.append((rows, columns))
            return super().region(rows, columns, step)

    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    session = LabelingSession(predictor)
    session.set_plane(Slow(image), "plane", np.zeros((96, 96), np.uint16))
    session.expect(CLICK)
    assert not read
    click(session, CLICK)
    assert read
