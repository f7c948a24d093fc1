"""One mode for everything: real mouse and key events, the embedded model, the real viewer."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel
from skimage.draw import disk

from napari_sam3 import bind
from napari_sam3.core.drafts import DraftSet
from napari_sam3.core.prompts import PromptSet
from napari_sam3.session.grouping import PromptRow, group_rows
from sam3 import load_predictor
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]
CENTRES = ((40, 40), (40, 130), (100, 90), (150, 40), (156, 136))


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return load_predictor(device="cpu")


@pytest.fixture
def discs() -> Image:
    image = np.full((200, 180), 20, np.uint8)
    for centre in CENTRES:
        image[disk(centre, 16, shape=image.shape)] = 200
    return image


def test_many_objects_by_clicks_and_boxes(
    open_desk: OpenDesk, tiny: Predictor, discs: Image
) -> None:
    desk = open_desk(discs, model=tiny)
    hand, session, binding = desk.hand, desk.session, desk.widget.binding
    session.mode = "many"
    for centre in CENTRES[:3]:
        hand.click(centre)
    hand.drag((132, 22), (170, 60))
    desk.settle()
    assert len(session.draft_set.drafts) == 4
    assert len(session.predictions) == 4
    assert session.draft_set.drafts[3].prompts.box is not None
    shown = set(np.unique(binding.preview.data))
    assert shown >= {1, 2, 3, 4}, "the current object looks different from the others"

    before = {one.draft.number: one for one in session.predictions}
    hand.click((42, 126))  # on the second disc
    desk.settle()
    after = {one.draft.number: one for one in session.predictions}
    assert [n for n in before if after[n] is not before[n]] == [session.draft_set.drafts[1].number]
    assert len(session.draft_set.drafts) == 4
    hand.click((75, 110), right=True)  # background belongs to the one that was clicked last
    desk.settle()
    assert session.draft_set.drafts[1].prompts.labels == (1, 1, 0)

    hand.type("N")
    assert [one.id for one in session.objects] == [1, 2, 3, 4]
    assert not len(binding.points.data)
    assert not len(binding.boxes.data)
    hand.type("Control-Z")
    assert len(session.draft_set.drafts) == 4
    assert len(binding.points.data) == 5
    assert len(binding.boxes.data) == 1
    assert not binding.labels.data.any()
    hand.type("Q")
    assert len(session.draft_set.drafts) == 3
    desk.settle()


def test_labels_are_taken_up_deleted_joined_and_split_by_one_key(
    open_desk: OpenDesk, tiny: Predictor, discs: Image
) -> None:
    desk = open_desk(discs, model=tiny)
    hand, session, binding = desk.hand, desk.session, desk.widget.binding
    labels = binding.labels
    for centre in CENTRES[:4]:
        hand.click(centre, shift=True)
        desk.settle()
    hand.type("N")
    assert sorted(set(np.unique(labels.data))) == [0, 1, 2, 3, 4]
    everything = labels.data.copy()

    hand.click((40, 40), control=True)
    assert session.draft_set.draft.label == 1
    assert np.allclose(session.prompts.points, [(40, 40)], atol=0.5)
    assert binding.preview.data.any()
    hand.type("N")
    assert np.array_equal(labels.data, everything)

    hand.move((40, 130))
    hand.type("K")
    assert 2 not in labels.data
    hand.move((100, 90))
    hand.type("J")
    assert binding.merging == 3
    hand.move((150, 40))
    hand.type("J")
    assert set(np.unique(labels.data)) == {0, 1, 3}
    hand.type("H")
    assert set(np.unique(labels.data)) == {0, 1, 3, 5}
    for _ in range(3):
        hand.type("Control-Z")
    assert np.array_equal(labels.data, everything)
    hand.move((5, 90))
    hand.type("K")
    assert "No label at row 5, column 90 to delete" in desk.status


def test_candidates_are_cycled_and_polarity_flipped_by_key(
    open_desk: OpenDesk, tiny: Predictor, discs: Image
) -> None:
    desk = open_desk(discs, model=tiny)
    hand, session = desk.hand, desk.session
    hand.click(CENTRES[0])
    desk.settle()
    best = session.prediction.index
    seen = [session.prediction.mask]
    for _ in range(2):
        hand.type("W")
        seen.append(session.prediction.mask)
    assert len({id(mask) for mask in seen}) == 3
    hand.type("W")
    assert session.prediction.index == best
    hand.click((42, 60))
    desk.settle()
    hand.type("U")
    desk.settle()
    assert session.prompts.labels == (1, 0)
    table = desk.widget.binding.points.features
    assert list(table["polarity"]) == ["foreground", "background"]


def test_keys_work_while_painting_on_the_labels(
    open_desk: OpenDesk, tiny: Predictor, discs: Image
) -> None:
    desk = open_desk(discs, model=tiny)
    hand, session, binding = desk.hand, desk.session, desk.widget.binding
    hand.click(CENTRES[0])
    desk.settle()
    desk.viewer.layers.selection.active = binding.labels
    hand.type("N")
    assert len(session.objects) == 1
    binding.labels.mode = "paint"
    binding.labels.selected_label = 9
    hand.drag((180, 10), (190, 60))
    assert (binding.labels.data == 9).any()
    hand.type("Control-Z")
    assert not (binding.labels.data == 9).any()
    assert (binding.labels.data == 1).any()
    hand.type("Control-Z")
    assert not binding.labels.data.any()
    hand.type("Control-Shift-Z")
    hand.type("Control-Shift-Z")
    assert (binding.labels.data == 9).any()
    desk.settle()


def test_classes_are_chosen_by_key_and_shown_in_their_colours(
    open_desk: OpenDesk, tiny: Predictor, discs: Image
) -> None:
    desk = open_desk(discs, model=tiny)
    hand, session, binding = desk.hand, desk.session, desk.widget.binding
    classes = desk.widget.panel.classes
    own = binding.labels.colormap
    for name in ("nucleus", "debris"):
        classes.add(name)
    colors = {one.name: one.color for one in classes.classes}
    order = list(colors)
    for centre, name in zip(CENTRES, ("nucleus", "debris", "nucleus"), strict=False):
        hand.move((5, 5))  # over an object, the key would change that object's class
        hand.type(f"Alt-{order.index(name) + 1}")
        assert session.category == classes.current == name
        hand.click(centre)
        desk.settle()
        hand.type("N")
    assert [one.category for one in session.objects] == ["nucleus", "debris", "nucleus"]
    assert list(binding.labels.features["class"]) == ["nucleus", "debris", "nucleus"]
    desk.widget.panel.advanced.class_colors.setChecked(True)

    def shown(label: int) -> Any:
        return binding.labels.colormap.map(np.array([label]))[0]

    assert np.allclose(shown(1), shown(3))
    assert not np.allclose(shown(1), shown(2))
    red, green, blue = (int(colors["debris"][i : i + 2], 16) / 255 for i in (1, 3, 5))
    assert np.allclose(shown(2)[:3], (red, green, blue), atol=0.01)
    desk.widget.panel.advanced.class_colors.setChecked(False)
    assert binding.labels.colormap is own or binding.labels.colormap == own


@pytest.mark.parametrize(
    "features",
    [
        {"polarity": ["foreground", "background"]},
        {"positive": [True, False]},
        {"kind": [1, 0]},
        {"weight": [0.5, 2.0], "sign": ["Foreground", "background"]},
    ],
)
def test_points_layers_of_the_user_are_read_as_they_are(
    predictor: Predictor, features: dict[str, Any]
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((100, 90), np.uint8) + 7)
    points = viewer.add_points([[20, 20], [60, 70]], features=features)
    with bind(viewer, image, points=points, predictor=predictor) as binding:
        assert binding.session.prompts == PromptSet(((20, 20), (70, 60)), (1, 0))
        binding.background()
        assert binding.session.prompts.labels == (1, 1)
        binding.undo()
        assert binding.session.prompts.labels == (1, 0)
        assert list(points.features.columns) == list(features)


def test_shapes_of_the_user_become_boxes_and_outlines(predictor: Predictor) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((100, 90), np.uint8) + 7)
    shapes = viewer.add_shapes(
        [[[10, 10], [10, 30], [30, 30], [30, 10]], [[50, 20], [50, 60], [80, 40]]],
        shape_type=["rectangle", "polygon"],
    )
    with bind(viewer, image, boxes=shapes, predictor=predictor) as binding:
        binding.session.mode = "many"
        assert binding.session.prompts.outline == ((20, 50), (60, 50), (40, 80))
    with bind(viewer, image, boxes=shapes, predictor=predictor, mode="many") as binding:
        first, second = binding.session.draft_set.drafts
        assert first.prompts == PromptSet(box=(10, 10, 30, 30))
        assert second.prompts.box == (20, 50, 60, 80)
        assert len(binding.session.predictions) == 2


def test_rows_are_grouped_by_what_they_lie_on() -> None:
    numbers = iter(range(10, 99))
    rows = [
        PromptRow(PromptSet(((1, 1),), (1,)), 7),
        PromptRow(PromptSet(((5, 5),), (1,))),
        PromptRow(PromptSet(((6, 6),), (0,))),
        PromptRow(PromptSet(box=(0, 0, 9, 9))),
        PromptRow(PromptSet(box=(2, 2, 8, 8))),
    ]

    def group(mode: Any) -> Any:
        return group_rows(rows, mode, DraftSet(), lambda row, column: None, lambda: next(numbers))

    objects, assigned = group("many")
    assert assigned == [7, 10, 10, 11, 12]
    assert objects[10] == PromptSet(((5, 5), (6, 6)), (1, 0))
    objects, assigned = group("one")
    assert assigned == [7, 13, 13, 13, 13]
    assert objects[13].box == (2, 2, 8, 8)


def test_clicks_of_the_past_are_let_go_of(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(blobs)
    for control in (False, True):  # with it they are swallowed
        for column in range(10, 22):
            desk.hand.click((20, column), control=control)
    desk.settle()
    gc.collect()
    held = [one for one in gc.get_objects() if type(one).__name__ == "MouseEvent"]
    assert len(held) < 15, "of three for each of 24 clicks"
