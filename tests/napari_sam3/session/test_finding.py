"""Candidates of a search: kept, thresholded, dropped, and accepted as one step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.similar.examples import Example
from napari_sam3.session.session import LabelingSession
from sam3 import Predictor, load_predictor
from sam3.errors import PromptError, Sam3Error, UnsupportedError
from tests.napari_sam3.light_discs import light_discs

PLACES = [(25, 25), (25, 75), (75, 25), (75, 75)]


@pytest.fixture(scope="module")
def embedded() -> Predictor:
    return load_predictor("tiny", device="cpu")


def picture() -> npt.NDArray[np.uint8]:
    return plane_from_array(light_discs(PLACES, 12))


def at_work(embedded: Predictor) -> tuple[LabelingSession, npt.NDArray[np.uint32]]:
    """Return a session with one of four objects accepted, and its labels."""
    session, labels = LabelingSession(embedded), np.zeros((100, 100), np.uint32)
    session.set_plane(picture(), "plane", labels)
    session.set_prompts(PromptSet(((25.0, 25.0),), (1,)))
    session.predict()
    session.accept()
    return session, labels


def test_the_others_are_found_shown_dropped_and_accepted_as_one_step(embedded: Predictor) -> None:
    session, labels = at_work(embedded)
    before = labels.copy()
    finding, asked = session.finding, []
    finding.changed.connect(lambda: asked.append(len(finding.shown)))
    shown = session.find_similar()
    # The one accepted already is no candidate.
    assert [sum(one.mask.covers(*place) for one in shown) for place in PLACES] == [0, 1, 1, 1]
    assert asked[-1] == len(shown) == 3
    np.testing.assert_array_equal(labels, before)

    encoded = len(session.cache)
    finding.threshold = 1.0
    assert not finding.shown
    assert len(finding.candidates) >= 3
    finding.threshold = 0.5
    assert finding.shown == shown
    assert len(session.cache) == encoded

    wrong = finding.at(75, 75)
    assert wrong is not None
    finding.drop(wrong)
    assert finding.at(75, 75) is None
    assert [example.wanted for example in finding.examples()] == [True, False]

    session.category = "nucleus"
    written = finding.accept()
    assert len(written) == 2
    assert {one.category for one in written} == {"nucleus"}
    assert labels[25, 75]
    assert labels[75, 25]
    assert not labels[75, 75]
    assert not finding.candidates
    session.undo()
    np.testing.assert_array_equal(labels, before)
    session.redo()
    assert len(np.unique(labels)) == 4


def test_examples_serve_on_the_next_plane(embedded: Predictor) -> None:
    session, _ = at_work(embedded)
    session.find_similar()
    labels = np.zeros((100, 100), np.uint32)
    session.set_plane(picture()[::-1].copy(), "next", labels)
    assert session.finding.candidates == ()
    assert len(session.find_similar()) == 4


def test_everything_gives_candidates_in_the_same_way(embedded: Predictor) -> None:
    session, labels = at_work(embedded)
    assert len(session.finding.find_all()) == 3
    session.finding.accept()
    assert len(np.unique(labels)) == 5


def test_a_search_without_example_plane_or_text_encoder_says_what_to_do(
    embedded: Predictor,
) -> None:
    session = LabelingSession(embedded)
    with pytest.raises(Sam3Error, match="no plane"):
        session.find_similar()
    session.set_plane(picture(), "plane", np.zeros((100, 100), np.uint32))
    with pytest.raises(NothingThereError, match="no example to search by"):
        session.find_similar()
    with pytest.raises(NothingThereError, match="no candidate to accept"):
        session.finding.accept()
    for text in ("nucleus", "n" * 1000, "!?#"):
        with pytest.raises(UnsupportedError, match="no text encoder"):
            session.find_similar(text=text)
    with pytest.raises(PromptError, match="blank"):
        session.find_similar(text="  ")
    with pytest.raises(PromptError, match="outside the plane"):
        session.find_similar([Example(PlaneMask(95, 95, np.ones((9, 9), bool)))])
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(PromptError, match="minimum score"):
            session.finding.threshold = wrong
    assert not session.finding.running


def test_a_blank_plane_gives_no_candidate_and_no_error(embedded: Predictor) -> None:
    session, _ = at_work(embedded)
    session.find_similar()
    told: list[int] = []
    session.finding.ended.connect(told.append)
    blank = np.full((100, 100, 3), 90, np.uint8)
    session.set_plane(blank, "blank", np.zeros((100, 100), np.uint32))
    assert session.find_similar() == ()
    assert told == [0]


def test_a_search_that_is_cancelled_leaves_candidates_as_they_are(embedded: Predictor) -> None:
    session, _ = at_work(embedded)
    shown = session.find_similar()
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        session.finding.cancel()

    session.finding.progress.connect(stop)
    session.finding._submit = lambda work, done, report: done(work(report))
    session.find_similar()
    assert len(shares) == 1
    assert not session.finding.running
    assert session.finding.shown == shown


def test_progress_never_goes_back(embedded: Predictor) -> None:
    session = LabelingSession(embedded)
    image = np.tile(picture(), (4, 4, 1))
    session.set_plane(image, "large", np.zeros(image.shape[:2], np.uint32))
    shares: list[float] = []
    session.finding.progress.connect(shares.append)
    # Examples far apart lie in fields of their own, each of which is encoded.
    corners = [(0, 0), (300, 0), (0, 300)]
    disc = np.ones((24, 24), bool)
    session.find_similar([Example(PlaneMask(y + 13, x + 13, disc)) for y, x in corners])
    assert shares == sorted(shares)
    assert len(set(shares)) > 10
    assert shares[0] < 0.1
    steps = np.diff(shares)
    assert steps.max() < 0.4  # a first field does not stand for half of the search
