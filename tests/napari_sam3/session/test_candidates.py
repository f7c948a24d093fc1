"""Candidates of searches and batches: filtered, dropped, accepted on many planes as one step."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.layers.candidate_drawing import CURRENT, DASH, INSIDE, SPACE, OutlineDrawing
from napari_sam3.session.candidate_filter import CandidateFilter
from napari_sam3.session.candidates import CandidatePlane, Candidates
from napari_sam3.session.describing import Maker
from napari_sam3.session.session import LabelingSession
from sam3.errors import PromptError
from tests.napari_sam3.effort import calls


def square(row: int, column: int, side: int, score: float, number: int = 0) -> Instance:
    return Instance(number, PlaneMask(row, column, np.ones((side, side), bool)), score)


def place(labels: npt.NDArray[Any], z: int) -> CandidatePlane:
    key = PlaneIndex((1, 2), (z,))
    return CandidatePlane(key, ArrayTarget(labels, key, key), Maker("tiny", "abc", "float32"))


@pytest.fixture
def labels() -> npt.NDArray[np.uint16]:
    return np.zeros((3, 60, 60), np.uint16)


@pytest.fixture
def session(labels: npt.NDArray[np.uint16]) -> LabelingSession:
    """Return a session with three candidates on the first plane, and one on the next."""
    session = LabelingSession()
    found = [square(2, 2, 4, 0.3), square(20, 2, 6, 0.9), square(40, 2, 10, 0.6)]
    session.candidates.put(place(labels, 0), found)
    session.candidates.put(place(labels, 1), [square(2, 40, 8, 0.7)])
    return session


def scores(candidates: Candidates) -> list[float]:
    return [one.score for one in candidates.shown]


@pytest.mark.parametrize(
    ("limits", "shown"),
    [
        ({}, [0.9, 0.6, 0.3, 0.7]),
        ({"min_score": 0.6}, [0.9, 0.6, 0.7]),
        ({"max_score": 0.6}, [0.6, 0.3]),
        ({"min_area": 36}, [0.9, 0.6, 0.7]),
        ({"max_area": 64}, [0.9, 0.3, 0.7]),
        ({"min_score": 0.5, "max_score": 0.8, "min_area": 65}, [0.6]),
        ({"min_area": 101}, []),
    ],
)
def test_score_and_area_filter(
    session: LabelingSession, limits: dict[str, float], shown: list[float]
) -> None:
    told: list[int] = []
    session.candidates.changed.connect(lambda: told.append(len(session.candidates.shown)))
    session.candidates.filter = CandidateFilter(**limits)
    assert scores(session.candidates) == shown
    assert told == ([len(shown)] if limits else [])
    assert len(session.candidates) == 4  # nothing is lost
    session.candidates.filter = CandidateFilter()
    assert len(session.candidates.shown) == 4


def test_a_search_of_another_plane_shows_nothing_again_that_was_hidden(
    session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    candidates = session.candidates
    candidates.filter = CandidateFilter(min_score=0.5, min_area=40)
    candidates.put(place(labels, 2), [square(2, 2, 9, 0.4), square(20, 2, 9, 0.8)], 0.0)
    assert candidates.filter == CandidateFilter(min_score=0.5, min_area=40)
    assert scores(candidates) == [0.6, 0.7, 0.8]
    candidates.put(place(labels, 2), [square(2, 2, 9, 0.75)], 0.7)
    assert candidates.filter == CandidateFilter(min_score=0.7, min_area=40)
    assert scores(candidates) == [0.7, 0.75]
    # Without others, the search of this plane begins anew.
    for z in (0, 1):
        candidates.put(place(labels, z), ())
    candidates.put(place(labels, 2), [square(2, 2, 4, 0.5)], 0.5)
    assert candidates.filter == CandidateFilter(min_score=0.5)
    assert scores(candidates) == [0.5]


def test_what_is_shown_on_all_planes_is_accepted_as_one_step(
    session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    candidates = session.candidates
    candidates.filter = CandidateFilter(min_score=0.6)
    written = candidates.accept()
    assert sorted(one.area for one in written) == [36, 64, 100]
    assert {(one.model, one.fingerprint) for one in written} == {("tiny", "abc")}
    assert [len(np.unique(plane)) - 1 for plane in labels] == [2, 1, 0]
    assert len(np.unique(labels)) == 4
    candidates.filter = CandidateFilter()
    assert scores(candidates) == [0.3]  # what was filtered out is there still
    session.undo()
    assert not labels.any()
    assert not session.can_undo


def test_one_is_accepted_alone(session: LabelingSession, labels: npt.NDArray[np.uint16]) -> None:
    candidate = session.candidates.at(PlaneIndex((1, 2), (0,)), 22, 4)
    assert candidate is not None
    session.candidates.accept([candidate])
    assert np.count_nonzero(labels) == 36
    assert candidate not in session.candidates.all
    session.undo()
    assert not labels.any()


def test_an_object_of_many_planes_gets_one_label_and_is_dropped_as_one(
    session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    candidates = session.candidates
    candidates.clear()
    for z in range(3):
        found = [square(2, 2, 4, 0.5, number=7), square(20, 2, 4, 0.8, number=9)]
        candidates.put(place(labels, z), found)
    first = candidates.at(PlaneIndex((1, 2), (1,)), 3, 3)
    assert first is not None
    candidates.drop(first)
    assert [one.group for one in candidates.all] == [9, 9, 9]
    assert len(candidates.dropped_on(PlaneIndex((1, 2), (2,)))) == 1
    candidates.accept()
    assert np.unique(labels).tolist() == [0, 1]
    assert (labels[:, 21, 3] == 1).all()


@pytest.mark.parametrize("policy", ["keep", "inside"])
def test_candidates_without_a_free_pixel_stay_and_say_so(
    policy: Any, session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    labels[:, :20] = 7
    session.policy, candidates = policy, session.candidates
    for z in (0, 1):
        candidates.put(place(labels, z), [square(2, 2, 4, 0.9), square(10, 10, 5, 0.8)])
    before, kept = labels.copy(), candidates.all
    with pytest.raises(LabelError, match="all pixels of 4 candidates already belong"):
        candidates.accept()
    with pytest.raises(LabelError, match="all pixels of 1 candidate already belong"):
        candidates.accept([kept[0]])
    assert candidates.all == kept
    assert not session.can_undo
    np.testing.assert_array_equal(labels, before)
    session.policy = "overwrite"
    assert len(candidates.accept()) == 4
    assert not candidates.all


def test_some_candidates_without_a_free_pixel_stay_and_their_number_is_told(
    session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    labels[:, 0:10] = 7
    candidates = session.candidates
    candidates.clear()
    taken = [square(1, 1, 4, 0.9), square(2, 30, 5, 0.8)]
    candidates.put(place(labels, 0), [*taken, square(30, 30, 5, 0.7)])
    # One object of two planes with pixels on the second only, and one covered by a better one.
    covered = square(21, 21, 3, 0.2), square(20, 20, 9, 0.9)
    candidates.put(place(labels, 1), [square(2, 2, 4, 0.9, number=3), *covered])
    candidates.put(place(labels, 2), [square(40, 2, 4, 0.9, number=3)])
    told: list[int] = []
    candidates.accepted.connect(told.append)
    assert len(candidates.accept()) == 3
    assert told == [3]
    assert sorted(one.mask.row for one in candidates.all) == [1, 2, 21]
    with pytest.raises(LabelError, match="all pixels of 3 candidates"):
        candidates.accept()
    session.undo()
    assert np.unique(labels).tolist() == [0, 7]


def test_labels_that_cannot_hold_the_ids_stay_and_so_do_the_candidates() -> None:
    labels = np.zeros((2, 60, 60), np.uint8)
    labels[0, 50, 50] = 254
    session = LabelingSession()
    for z in range(2):
        session.candidates.put(place(labels, z), [square(2, 2, 4, 0.9)])
    before = labels.copy()
    with pytest.raises(LabelError, match="256"):
        session.candidates.accept()
    np.testing.assert_array_equal(labels, before)
    assert len(session.candidates) == 2
    assert not session.can_undo


@pytest.mark.parametrize(
    "wrong", [{"min_score": -0.1}, {"max_score": 1.2}, {"min_area": -1}, {"max_area": float("nan")}]
)
def test_a_filter_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PromptError, match=r"invalid (minimum|maximum) (score|area)"):
        CandidateFilter(**wrong)


def test_outlines_are_dashed_and_the_better_one_lies_on_top(
    labels: npt.NDArray[np.uint16],
) -> None:
    session = LabelingSession()
    found = [square(2, 2, 20, 0.9), square(12, 12, 20, 0.8)]
    better, other = session.candidates.put(place(labels, 0), found)
    drawing = OutlineDrawing((better, other), (60, 60))
    drawn = drawing.draw((better, other))
    assert drawing.corner == (2, 2)
    assert set(np.unique(drawn)) == {0, INSIDE, DASH, SPACE}
    assert {DASH, SPACE} == set(np.unique(drawn[0, :20]))
    assert drawn[15, 15] == INSIDE  # of the better one, where the other has its corner
    assert np.count_nonzero(drawing.draw((other,))) == 400
    assert (drawing.draw((better, other), [other])[10:30, 29] == CURRENT).all()


def test_ten_thousand_candidates_are_filtered_and_drawn_with_little_work(
    labels: npt.NDArray[np.uint16],
) -> None:
    session, large = LabelingSession(), np.zeros((1, 2000, 2000), np.uint16)
    found = [square(20 * (n // 100), 20 * (n % 100), 14, n / 10_000) for n in range(10_000)]
    candidates = session.candidates
    kept = candidates.put(place(large, 0), found)
    drawing = OutlineDrawing(kept, (2000, 2000))
    drawn: list[npt.NDArray[np.uint8]] = []

    def draw(least: float) -> None:
        candidates.filter = CandidateFilter(min_score=least)
        drawn.append(drawing.draw(candidates.shown_on(kept[0].plane.key)))

    for least in (0.2, 0.9, 0.5):
        assert calls(partial(draw, least)) < 3 * len(found)
        assert np.count_nonzero(drawn[-1]) == 196 * round(10_000 * (1 - least))


def test_undo_brings_back_what_was_dropped_or_accepted(
    session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    candidates, first = session.candidates, PlaneIndex((1, 2), (0,))
    candidates.drop(candidates.shown[0])
    candidates.drop(candidates.shown[0])
    assert scores(candidates) == [0.3, 0.7]
    session.undo()
    assert scores(candidates) == [0.6, 0.3, 0.7]
    assert [one.score for one in candidates.dropped_on(first)] == [0.9]
    session.redo()
    assert scores(candidates) == [0.3, 0.7]
    assert [one.score for one in candidates.dropped_on(first)] == [0.9, 0.6]
    session.undo()

    candidates.accept()
    assert labels.any()
    assert not candidates.all
    session.undo()  # labels and candidates in one step
    assert not labels.any()
    assert scores(candidates) == [0.6, 0.3, 0.7]
    session.redo()
    assert labels.any()
    assert not candidates.all
    session.undo()

    candidates.drop_all()
    assert not candidates.all
    assert not candidates.dropped_on(first)
    session.undo()
    session.undo()
    assert scores(candidates) == [0.9, 0.6, 0.3, 0.7]
    assert not candidates.dropped_on(first)
    assert session.undo() is None


def test_undo_keeps_the_candidates_of_a_later_search(
    session: LabelingSession, labels: npt.NDArray[np.uint16]
) -> None:
    candidates = session.candidates
    candidates.drop(candidates.shown[0])
    candidates.put(place(labels, 0), [square(9, 9, 5, 0.8)])
    session.undo()
    assert sorted(scores(candidates)) == [0.7, 0.8]
    candidates.drop_all()
    candidates.clear()  # as when the image is closed
    session.undo()
    assert not candidates.all
