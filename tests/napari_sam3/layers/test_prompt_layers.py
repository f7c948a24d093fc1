"""Points and boxes as a view of the session's prompts, through napari's own tools and keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.core.prompts import PromptSet
from napari_sam3.layers.prompt_layers import PromptLayers
from napari_sam3.layers.prompt_sync import PromptSync
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls of what handles edits, reads the layers, and draws in them."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        done = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            counted[name] += 1
            return done(*args, **options)

        monkeypatch.setattr(owner, name, call)

    count(PromptSync, "_on_edit")
    for name in ("read", "mark", "write"):
        count(PromptLayers, name)
    return counted


def prompts(session: Any) -> list[PromptSet]:
    return [draft.prompts for draft in session.draft_set.drafts]


def test_an_edit_is_handled_once_and_read_once(
    counts: Counter[str], open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    hand, session = desk.hand, desk.session
    once = {"_on_edit": 1, "read": 1, "mark": 1}
    for mode in ("one", "many"):
        session.mode = mode
        for place in ((20, 20), (50, 45)):
            counts.clear()
            hand.click(place)
            desk.settle()
            assert counts == once, mode
    points, session.policy = desk.widget.binding.points, "overwrite"
    counts.clear()
    points.selected_data = {0}
    hand.type("Delete")
    assert len(points.data) == 3
    assert counts == once
    counts.clear()
    hand.type("N")
    desk.settle()
    assert len(points.data) == 0
    assert counts["_on_edit"] == 0
    counts.clear()
    hand.type("Control-Z")
    desk.settle()
    assert len(points.data) == 3
    assert counts["_on_edit"] == 0


def test_a_point_that_is_dragged_is_one_step(
    counts: Counter[str], open_desk: OpenDesk, blobs: Image
) -> None:
    desk = open_desk(blobs)
    hand, session, points = desk.hand, desk.session, desk.widget.binding.points
    hand.click((20, 20))
    hand.click((30, 60), right=True)
    desk.settle()
    before = session.prompts
    points.mode = "select"
    counts.clear()
    hand.drag((20, 20), (50, 45))
    desk.settle()
    assert counts["_on_edit"] == counts["read"] == 1
    (x, y), other = session.prompts.points
    assert (round(x), round(y)) == (45, 50)
    assert other == before.points[1]
    assert session.prompts.labels == (1, 0)
    session.undo()
    assert session.prompts == before
    assert np.allclose(points.data[0], before.points[0][::-1])


def test_what_is_pasted_is_a_prompt(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(np.stack([blobs, blobs]))
    hand, session, binding = desk.hand, desk.session, desk.widget.binding
    session.mode = "many"
    desk.viewer.dims.set_current_step(0, 0)
    hand.drag((5, 5), (36, 34))
    hand.drag((63, 5), (88, 33))
    desk.settle()
    first = {draft.number for draft in session.draft_set.drafts}
    drawn = [one.box for one in prompts(session)]
    assert len(first) == 2
    desk.viewer.layers.selection.active = binding.boxes
    binding.boxes.mode = "select"
    binding.boxes.selected_data = {0, 1}
    hand.type("Control-C")
    desk.viewer.dims.set_current_step(0, 1)
    assert not session.draft_set.drafts
    hand.type("Control-V")
    desk.settle()
    assert [one.box for one in prompts(session)] == drawn
    assert not {draft.number for draft in session.draft_set.drafts} & first
    session.undo()
    assert len(binding.boxes.data) == 2
    desk.viewer.dims.set_current_step(0, 0)
    assert {draft.number for draft in session.draft_set.drafts} == first


def test_points_that_are_pasted_are_prompts_at_once(open_desk: OpenDesk, blobs: Image) -> None:
    # napari 0.9.2 cannot paste points of more than two axes.
    desk = open_desk(blobs)
    hand, session, points = desk.hand, desk.session, desk.widget.binding.points
    hand.click((20, 20))
    hand.click((90, 80), right=True)
    desk.settle()
    before = session.prompts
    points.selected_data = {0, 1}
    hand.type("Control-C")
    hand.type("Q")
    assert session.prompts == PromptSet()
    hand.type("Control-V")
    desk.settle()
    assert session.prompts == before
    assert session.prediction is not None
    hand.type("Control-Z")
    assert len(points.data) == 0


def test_several_points_are_edited_at_once(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    session, points = binding.session, binding.points
    points.add([[20, 20], [20, 24], [50, 45]])
    assert session.prompts.points == ((20, 20), (24, 20), (45, 50))
    points.data = np.add(points.data, (1, 2))
    assert session.prompts.points == ((22, 21), (26, 21), (47, 51))
    points.selected_data = {0, 2}
    binding.background()
    assert session.prompts.labels == (0, 1, 0)
    assert list(points.features["polarity"]) == ["background", "foreground", "background"]
    points.selected_data = {0, 2}
    points.remove_selected()
    assert session.prompts == PromptSet(((26, 21),), (1,))
    for expected in (3, 3, 3, 0):
        binding.undo()
        assert len(points.data) == expected == len(session.prompts.points)
    binding.close()


def test_the_numbers_of_several_objects_are_a_feature(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    session, points, boxes = binding.session, binding.points, binding.boxes
    points.add([20, 20])
    assert list(points.features) == ["polarity"], "of one object there is nothing to tell"
    session.mode = "many"
    points.add([50, 45])
    boxes.add_rectangles([[63, 5], [88, 33]])
    first, second, third = (draft.number for draft in session.draft_set.drafts)
    assert list(points.features["object"]) == [first, second]
    assert list(boxes.features["object"]) == [third]
    # napari copies the features of the selected point to the next one, which is an object still.
    boxes.selected_data = {0}
    boxes.add_rectangles([[5, 5], [36, 34]])
    assert len(session.draft_set.drafts) == 4
    # Whoever changes the number moves the row to another object; undo moves it back.
    table = points.features.copy()
    table.loc[1, "object"] = first
    points.features = table
    assert prompts(session)[0].points == ((20, 20), (45, 50))
    assert session.draft_set.get(second) is None
    binding.undo()
    assert sorted(points.features["object"])[:2] == [first, second]
    # A table without the column changes no objects, and gets it back.
    before = prompts(session)
    points.features = points.features[["polarity"]]
    assert prompts(session) == before
    points.add([95, 3])
    assert list(points.features["object"])[:2] == [first, second]
    binding.accept()
    assert len(points.data) == len(boxes.data) == 0
    binding.close()


def test_what_new_points_mean_outlasts_what_is_drawn(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    own = viewer.add_points(
        np.zeros((0, 2)), features={"polarity": np.array([], object), "weight": np.array([], float)}
    )
    for given in ({}, {"points": own}):
        binding = bind(viewer, image, predictor=predictor, **given)
        points, session = binding.points, binding.session
        points.add([20, 20])
        new = {name: points.feature_defaults[name][0] for name in points.features}
        points.feature_defaults = {**new, "polarity": "background"}
        points.add([40, 40])
        binding.undo()
        binding.redo()
        points.add([60, 60])
        assert session.prompts.labels == (1, 0, 0)
        assert [str(value) for value in points.features["polarity"]][1:] == ["background"] * 2
        if not given:
            assert np.allclose(points.face_color[1], points.face_color[2])
            assert not np.allclose(points.face_color[0], points.face_color[1])
        session.reject()
        binding.close()
