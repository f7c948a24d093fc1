"""Finding similar objects in the window: buttons, keys, slider and clicks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.planes import plane_from_array
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.automatic.seeds import Seed
from napari_sam3.inference.automatic.suppression import Found
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.models import detector_loader
from napari_sam3.inference.similar.examples import Concept
from napari_sam3.inference.similar.search import find_similar
from napari_sam3.layers.candidates import CANDIDATES_NAME
from napari_sam3.session.candidates import CandidatePlane
from sam3 import load_predictor
from tests.napari_sam3.conftest import Desk, OpenDesk, slide_to
from tests.napari_sam3.effort import calls
from tests.napari_sam3.light_discs import light_discs
from tests.sam3.tiny_detector import save_tiny_detector

PLACES = [(25, 25), (25, 75), (75, 25), (75, 75)]


@pytest.fixture(scope="module")
def embedded() -> Any:
    return load_predictor("tiny", device="cpu")


class Undisturbed:
    """A `Control` that never cancels."""

    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Ignore progress."""


def picture() -> npt.NDArray[np.uint8]:
    return light_discs(PLACES, 12)


def push(button: Any) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]
    QApplication.processEvents()


def enter(field: Any, text: str) -> None:
    field.setFocus()
    field.clear()
    QTest.keyClicks(field, text)  # type: ignore[call-arg, arg-type]
    QTest.keyClick(field, Qt.Key.Key_Return)  # type: ignore[call-overload]
    QApplication.processEvents()


def candidates_layer(desk: Desk) -> Any:
    return next((one for one in desk.viewer.layers if one.name == CANDIDATES_NAME), None)


def test_the_others_are_found_thresholded_dropped_and_accepted(
    open_desk: OpenDesk, embedded: Any
) -> None:
    desk = open_desk(picture(), model=embedded)
    panel, finding = desk.widget.panel.finding, desk.session.finding
    # Everything that starts a search is in the first view; a name needs a text encoder.
    assert panel.similar.isVisible()
    assert panel.everything.isVisible()
    assert not panel.name.isVisible()
    assert not panel.slider.isVisible()

    assert desk.widget.wait(60)  # for what is encoded ahead, which has its own news
    desk.hand.rest()
    push(panel.similar)  # without an example: said, and nothing breaks
    assert "o example to search by" in desk.status
    desk.hand.click((25, 25))
    desk.settle()
    desk.press("accept")
    shares: list[float] = []
    finding.progress.connect(shares.append)
    desk.hand.type("Y")
    desk.hand.wait_until(lambda: not finding.running and finding.candidates, "candidates", 60)
    assert shares == sorted(shares)
    assert panel.slider.isVisible()
    assert not panel.progress.isVisible()
    assert [finding.at(*place) is not None for place in PLACES] == [False, True, True, True]
    layer = candidates_layer(desk)
    assert layer is not None
    assert layer.data.any()

    panel.slider.setValue(100)
    desk.hand.wait_until(lambda: not finding.shown, "the threshold")
    assert not layer.data.any()
    assert "No candidate of 3 has the minimum score" in desk.status
    panel.slider.setValue(50)
    desk.hand.wait_until(lambda: len(finding.shown) == 3, "the threshold")
    assert layer.data.any()

    points = len(desk.widget.binding.points.data)
    desk.hand.click((75, 75))
    desk.hand.type("Control-Z")  # brings the candidate back, and keeps the accepted object
    assert len(finding.shown) == 3
    assert desk.widget.binding.labels.data.any()
    desk.hand.click((75, 75))  # on a candidate: drops it, and is no prompt
    assert finding.at(75, 75) is None
    assert len(desk.widget.binding.points.data) == points
    assert len(finding.shown) == 2

    labels = desk.widget.binding.labels
    before = np.array(labels.data)
    push(panel.accept)
    assert len(np.unique(labels.data)) == 4
    assert not panel.slider.isVisible()
    assert not layer.data.any()
    desk.press("undo")
    np.testing.assert_array_equal(labels.data, before)
    assert len(finding.shown) == 2
    assert layer.data.any()
    push(panel.clear)
    assert not finding.candidates
    desk.press("undo")
    assert len(finding.shown) == 2


def test_searches_are_offered_while_there_is_an_image(open_desk: OpenDesk) -> None:
    desk = open_desk()
    panel = desk.widget.panel.finding
    searches = panel.similar, panel.everything, panel.name
    assert not any(control.isEnabled() for control in searches)
    image = desk.viewer.add_image(picture())
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the image")
    assert all(control.isEnabled() for control in searches)
    desk.viewer.layers.remove(image.name)
    desk.hand.wait_until(lambda: desk.widget.binding is None, "no image")
    assert not any(control.isEnabled() for control in searches)


def test_a_search_is_stopped_and_the_window_stays_usable(
    open_desk: OpenDesk, embedded: Any
) -> None:
    desk = open_desk(picture(), model=embedded)
    panel, finding = desk.widget.panel.finding, desk.session.finding
    push(panel.everything)
    assert finding.running
    assert panel.stop.isVisible()
    push(panel.stop)
    assert not finding.running
    assert not panel.stop.isVisible()
    push(panel.everything)
    desk.hand.wait_until(lambda: not finding.running, "the search", 60)
    assert len(finding.shown) == 4
    push(panel.clear)
    assert not finding.candidates


def test_a_search_that_finds_nothing_or_is_left_says_so(open_desk: OpenDesk, embedded: Any) -> None:
    desk = open_desk(np.stack([picture(), np.full((100, 100), 90, np.uint8)]), model=embedded)
    panel, finding = desk.widget.panel.finding, desk.session.finding
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda new: told.append(str(new.message)))
    desk.viewer.dims.set_current_step(0, 1)
    desk.settle()
    push(panel.everything)
    desk.hand.wait_until(lambda: not finding.running, "the search", 60)
    assert "No further object found" in desk.status
    assert not told
    push(panel.everything)
    assert finding.running
    desk.viewer.dims.set_current_step(0, 0)
    QApplication.processEvents()
    assert not finding.running
    assert told == ["The search ended, since another plane was shown. Go back and search again."]
    desk.settle()
    push(panel.everything)
    assert finding.running
    desk.viewer.layers.remove(desk.widget.binding.image)
    QApplication.processEvents()
    assert not finding.running
    assert len(told) == 1  # the deleted image is told of in the panel


def test_the_slider_redraws_500_candidates_with_little_work(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((1000, 1000), np.uint8))
    finding, panel = desk.session.finding, desk.widget.panel.finding
    binding = desk.widget.binding
    binding.sync.renew_plane()
    mask = np.ones((20, 20), bool)
    found = tuple(
        Found(
            PlaneMask(40 * (n // 25), 40 * (n % 25), mask.copy()),
            1 - n / 500,
            1.0,
            Seed(float(n), 0.0),
        )
        for n in range(500)
    )
    place = CandidatePlane(desk.session.plane_key, binding.labels_on(binding.plane))
    desk.session.candidates.put(place, found, 0.0)
    QApplication.processEvents()
    layer = candidates_layer(desk)
    assert layer is not None

    for value in (10, 90, 30, 70, 50):
        assert calls(partial(slide_to, panel.slider, value)) < 100_000
        expected = sum(one.score >= value / 100 for one in found)
        assert len(finding.shown) == expected
        assert np.count_nonzero(layer.data) == 400 * expected


def test_names_are_found_where_the_weights_have_a_text_encoder(
    open_desk: OpenDesk, tmp_path: Path
) -> None:
    weights = tmp_path / "detector.safetensors"
    save_tiny_detector(weights)
    desk = open_desk(picture(), model=None)
    panel, finding = desk.widget.panel.finding, desk.session.finding
    assert not panel.name.isVisible()
    desk.widget.set_model(weights)
    desk.hand.wait_until(panel.name.isVisible, "the field for a name")
    enter(panel.name, "  ")
    assert "blank" in desk.status
    counts: list[int] = []
    finding.ended.connect(counts.append)
    enter(panel.name, "bright disc")
    desk.hand.wait_until(lambda: bool(counts), "the search", 120)
    predictor = desk.session.predictor
    detector = detector_loader()(predictor)
    expected = find_similar(
        ArrayPlane(plane_from_array(picture())),
        *(predictor, EmbeddingCache(), Undisturbed()),
        Concept(text="bright disc"),
        detector=detector,
    )
    assert expected
    assert len(finding.candidates) == len(expected)
    for one, other in zip(finding.candidates, expected, strict=True):
        assert one.mask.bbox == other.mask.bbox
        assert one.score == pytest.approx(other.score, abs=1e-4)

    # Cancelled in the middle, candidates stay as they were.
    before = finding.candidates
    enter(panel.name, "bright disc")
    assert finding.running
    push(panel.stop)
    assert not finding.running
    assert desk.widget.wait(60)
    QApplication.processEvents()
    assert finding.candidates == before
    assert len(counts) == 1
    desk.widget.set_model("tiny")
    assert not panel.name.isVisible()


def test_ten_thousand_candidates_are_shown_and_accepted(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((1000, 1000), np.uint8))
    finding, panel = desk.session.finding, desk.widget.panel.finding
    desk.widget.binding.sync.renew_plane()
    mask = np.ones((6, 6), bool)
    found = tuple(
        Found(PlaneMask(10 * (n // 100), 10 * (n % 100), mask), 1 - n / 2e4, 1.0, Seed(0.0, 0.0))
        for n in range(10_000)
    )
    binding = desk.widget.binding
    place = CandidatePlane(desk.session.plane_key, binding.labels_on(binding.plane))
    desk.session.candidates.put(place, found, 0.0)
    QApplication.processEvents()
    assert np.count_nonzero(candidates_layer(desk).data) == 36 * 10_000
    panel.slider.setValue(75)
    desk.hand.wait_until(lambda: len(finding.shown) == 5001, "the threshold")
    assert np.count_nonzero(candidates_layer(desk).data) == 36 * 5001
    panel.slider.setValue(0)
    desk.hand.wait_until(lambda: len(finding.shown) == 10_000, "the threshold")
    push(panel.accept)
    labels = np.asarray(desk.widget.binding.labels.data)
    assert len(np.unique(labels)) == 10_001
    desk.press("undo")
    assert not np.asarray(desk.widget.binding.labels.data).any()
