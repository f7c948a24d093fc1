"""Scores of candidates on the canvas, in a real viewer."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from qtpy.QtWidgets import QApplication

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.layers.candidate_scores import MOST, SCORES_NAME
from napari_sam3.layers.candidates import CANDIDATES_NAME
from napari_sam3.qt.text import status as status_text
from napari_sam3.session.candidate_filter import CandidateFilter
from napari_sam3.session.candidates import CandidatePlane
from tests.napari_sam3.conftest import Desk, OpenDesk, slide_to
from tests.napari_sam3.effort import calls


def square(row: int, column: int, score: float, side: int = 12) -> Instance:
    return Instance(0, PlaneMask(row, column, np.ones((side, side), bool)), score)


def put(desk: Desk, plane: PlaneIndex, *found: Instance) -> None:
    desk.widget.binding.sync.renew_plane()
    target = desk.widget.binding.labels_on(plane)
    desk.session.candidates.put(CandidatePlane(target.key, target), found, 0.0)
    QApplication.processEvents()


def layer(desk: Desk, name: str) -> Any:
    return next((one for one in desk.viewer.layers if one.name == name), None)


def scores(desk: Desk) -> dict[tuple[float, ...], str]:
    """Return the texts that napari draws, by their place in the layer."""
    made = layer(desk, SCORES_NAME)
    if made is None or not made.visible:
        return {}
    places = made.data[made._view_indices].tolist()
    return {tuple(at): str(text) for at, text in zip(places, made._view_text, strict=True)}


def test_each_candidate_has_its_score_beside_it(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((4, 100, 90), np.uint8), scale=(2, 0.5, 0.5), translate=(0, 7, -3))
    candidates, binding = desk.session.candidates, desk.widget.binding
    desk.viewer.dims.set_current_step(0, 0)
    active = desk.viewer.layers.selection.active
    first = PlaneIndex((1, 2), (0,))
    put(desk, first, square(10, 10, 0.875), square(60, 30, 0.4), square(40, 60, 0.2, side=1))
    put(desk, PlaneIndex((1, 2), (2,)), square(70, 20, 0.61))
    expected = {(0, 9.5, 21.5): "0.88", (0, 59.5, 41.5): "0.40", (0, 39.5, 60.5): "0.20"}
    assert scores(desk) == expected
    made = layer(desk, SCORES_NAME)
    assert sum(SCORES_NAME in one.name for one in desk.viewer.layers) == 1
    np.testing.assert_allclose(made.data_to_world((1, 2, 4)), (2, 8, -1))
    assert desk.viewer.layers.selection.active is active
    assert not made.editable

    # With the plane, the filter, and the layer of the outlines.
    desk.viewer.dims.set_current_step(0, 2)
    assert scores(desk) == {(2, 69.5, 31.5): "0.61"}
    desk.viewer.dims.set_current_step(0, 1)
    assert scores(desk) == {}
    desk.viewer.dims.set_current_step(0, 0)
    candidates.filter = CandidateFilter(0.5)
    assert scores(desk) == {(0, 9.5, 21.5): "0.88"}
    candidates.filter = CandidateFilter()
    layer(desk, CANDIDATES_NAME).visible = False
    assert scores(desk) == {}
    layer(desk, CANDIDATES_NAME).visible = True
    assert scores(desk) == expected

    # A click drops one, accepting ends the others, and undo brings these back.
    desk.hand.click(binding.image.data_to_world((0, 16, 16))[1:])
    assert list(scores(desk).values()) == ["0.40", "0.20"]
    binding.candidates.accept()
    assert scores(desk) == {}
    desk.press("undo")
    assert list(scores(desk).values()) == ["0.40", "0.20"]

    # Deleted layers come back with the next candidates; outlines take their scores along.
    put(desk, first, square(60, 30, 0.3))
    desk.viewer.layers.remove(layer(desk, CANDIDATES_NAME))
    assert scores(desk) == {}
    put(desk, first, square(60, 30, 0.7))
    assert scores(desk) == {(0, 59.5, 41.5): "0.70"}
    desk.session.candidates.clear()
    assert scores(desk) == {}


def test_many_candidates_are_scored_where_the_view_is(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((1000, 1000), np.uint8))
    found = [square(40 * (n // 25), 40 * (n % 25), 1 - n / 500) for n in range(500)]
    put(desk, PlaneIndex((0, 1), ()), *found)
    assert scores(desk) == {}
    candidates = desk.session.candidates
    candidates.current = candidates.shown[3]  # whatever the number, the one under review
    assert list(scores(desk).values()) == ["0.99"]
    candidates.current = None
    assert scores(desk) == {}

    camera = desk.viewer.scene.camera
    camera.center, camera.zoom = (60.0, 60.0), 8.0
    near = scores(desk)
    assert near
    assert len(near) < MOST
    assert all(abs(place[0] - 60) < 60 and abs(place[1] - 60) < 60 for place in near)
    camera.center = (700.0, 60.0)
    assert scores(desk)
    assert not set(scores(desk)) & set(near)


def test_the_threshold_redraws_scores_with_little_work(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((1000, 1000), np.uint8))
    found = [square(40, 40 * n, 1 - n / 2 / MOST) for n in range(MOST)]
    put(desk, PlaneIndex((0, 1), ()), *found)
    slider = desk.widget.panel.finding.slider
    for value in (55, 51, 57, 53, 58, 52, 56):
        assert calls(partial(slide_to, slider, value)) < 100_000
        assert len(scores(desk)) == sum(one.score >= value / 100 for one in found)


def test_the_status_line_scores_the_candidate_under_the_mouse(open_desk: OpenDesk) -> None:
    desk = open_desk(np.zeros((3, 100, 90), np.uint8), scale=(2, 0.5, 0.5), translate=(0, 7, -3))
    first, image = PlaneIndex((1, 2), (0,)), desk.widget.binding.image
    desk.viewer.dims.set_current_step(0, 0)
    put(desk, first, square(10, 10, 0.875, side=30), square(18, 18, 0.4), square(60, 30, 0.5))

    def point(row: float, column: float) -> str:
        desk.hand.move(image.data_to_world((0, row, column))[1:])
        QApplication.processEvents()
        return desk.status

    others = status_text.candidates(3, 3)
    assert point(50, 70) == others
    assert point(12, 12) == "Candidate, score 0.88: click to drop it."
    assert point(20, 20) == "Candidate, score 0.40: click to drop it.", "the smallest of several"
    assert point(59.6, 41.4) == "Candidate, score 0.50: click to drop it."
    assert point(59.4, 41.4) == others
    # What changes under a mouse at rest is said as well.
    assert point(20, 20).startswith("Candidate, score 0.40")
    desk.session.candidates.filter = CandidateFilter(0.45)
    assert desk.status.startswith("Candidate, score 0.88")
    layer(desk, CANDIDATES_NAME).visible = False
    assert point(20.5, 20) == status_text.candidates(2, 2)
    layer(desk, CANDIDATES_NAME).visible = True
    assert point(20, 20.5).startswith("Candidate, score 0.88")
    desk.viewer.dims.set_current_step(0, 1)
    assert not desk.status.startswith("Candidate,")
    desk.viewer.dims.set_current_step(0, 0)
    assert point(20, 20).startswith("Candidate, score 0.88")
    desk.session.candidates.clear()
    assert desk.status == status_text.READY


def test_a_move_of_the_mouse_costs_little_over_10_000_candidates(
    open_desk: OpenDesk,
) -> None:
    desk = open_desk(np.zeros((1000, 1000), np.uint8))
    found = [square(10 * (n // 100), 10 * (n % 100), 0.5, side=9) for n in range(10_000)]
    put(desk, PlaneIndex((0, 1), ()), *found)
    pointed, cursor = desk.widget.binding.candidates.pointed, desk.viewer.cursor
    for n in range(20):
        with cursor.events.blocker():
            cursor.position = (500 + n / 4, 500 + n / 4)
        assert calls(pointed.point) < 500
    assert pointed.candidate is not None
