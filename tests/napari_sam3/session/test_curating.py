"""Many objects at once, labels taken up again, deleted, merged, split and painted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from skimage.draw import disk

from napari_sam3.core.errors import LabelError
from napari_sam3.core.operations import LabelChange
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.curation import split_label
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.session.session import LabelingSession
from sam3 import load_predictor
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_session import Later

Image = npt.NDArray[np.uint8]
CENTRES = ((20, 20), (20, 65), (50, 45), (75, 20), (78, 68))


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    """Return the embedded model, which knows what a blob is."""
    return load_predictor(device="cpu")


@pytest.fixture
def big_blobs() -> Image:
    """Return discs (200 x 180) large enough for the embedded model."""
    image = np.full((200, 180), 20, np.uint8)
    for row, column in CENTRES:
        image[disk((2 * row, 2 * column), 16, shape=image.shape)] = 200
    return image


def start(predictor: Any, image: Image, **options: Any) -> tuple[LabelingSession, Any]:
    session = LabelingSession(predictor, **options)
    labels = np.zeros(image.shape, np.uint16)
    session.set_plane(plane_from_array(image), "plane", labels)
    return session, labels


def clicks() -> list[PromptSet]:
    return [PromptSet.from_arrays([[2 * column, 2 * row]]) for row, column in CENTRES]


def truth(image: Image, row: int, column: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(image.shape, bool)
    mask[disk((2 * row, 2 * column), 16, shape=image.shape)] = True
    return mask


def iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_many_objects_are_predicted_as_one_batch_and_accepted_together(
    tiny: Predictor, big_blobs: Image
) -> None:
    session, labels = start(tiny, big_blobs, mode="many")
    session.set_objects(clicks())
    session.predict()
    assert len(session.predictions) == 5
    session.accept()
    assert [one.id for one in session.objects] == [1, 2, 3, 4, 5]
    for number, centre in enumerate(CENTRES, start=1):
        assert iou(labels == number, truth(big_blobs, *centre)) > 0.8
    session.undo()
    assert not labels.any()
    assert len(session.draft_set.drafts) == len(session.predictions) == 5

    alone, one_by_one = start(tiny, big_blobs)
    for prompts in clicks():
        alone.set_prompts(prompts)
        alone.predict()
        alone.accept()
    session.redo()
    assert (labels != one_by_one).mean() < 1e-3


def test_a_click_on_one_of_many_refines_only_that_one(tiny: Predictor, big_blobs: Image) -> None:
    session, _ = start(tiny, big_blobs, mode="many")
    session.set_objects(clicks())
    session.predict()
    before = {one.draft.number: one for one in session.predictions}
    target = session.draft_at(40, 40)
    assert target is not None
    objects = {draft.number: draft.prompts for draft in session.draft_set.drafts}
    objects[target.number] = objects[target.number].with_point(70, 70, 0)
    session.set_objects(objects)
    assert session.draft_set.current == target.number
    session.predict()
    after = {one.draft.number: one for one in session.predictions}
    changed = [number for number in before if after[number] is not before[number]]
    assert changed == [target.number]


def test_quick_clicks_give_the_masks_of_slow_ones(predictor: Predictor, blobs: Image) -> None:
    turns = [PromptSet.from_arrays([[20, 20]])]
    turns.append(turns[0].with_point(40, 30, 0))
    turns.append(turns[1].with_point(60, 70, 0))
    slow, _ = start(predictor, blobs)
    for prompts in turns:
        slow.set_prompts(prompts)
        slow.predict()
    later = Later()
    quick, _ = start(predictor, blobs, submit=later)
    for prompts in turns:
        quick.set_prompts(prompts)
        quick.predict()
    while later.waiting:
        later.run()
    assert slow.prediction is not None
    assert quick.prediction is not None
    assert np.array_equal(slow.prediction.logits, quick.prediction.logits)
    assert np.array_equal(slow.prediction.mask.crop, quick.prediction.mask.crop)


def test_the_former_name_of_reopen_works(tiny: Predictor, blobs: Image) -> None:
    session, labels = start(tiny, blobs)
    labels[2:5, 2:5] = 7
    session.take_up(7)
    assert session.draft_set.draft is not None
    assert session.draft_set.draft.label == 7


def test_an_accepted_object_is_taken_up_with_its_prompts(tiny: Predictor, big_blobs: Image) -> None:
    session, labels = start(tiny, big_blobs)
    for prompts in clicks()[:2]:
        session.set_prompts(prompts)
        session.predict()
        session.accept()
    first = labels.copy()
    session.reopen(1)
    assert session.prompts == clicks()[0]
    assert session.prediction is not None
    assert np.array_equal(session.prediction.mask.to_array(labels.shape), labels == 1)
    session.accept()
    assert (labels == first).all(), "accepted as it was"
    assert len(session.objects) == 2

    session.reopen(1)
    session.set_prompts(clicks()[0].with_point(40, 47, 0))
    refined = session.predict()
    assert refined is not None
    accepted = session.accept()
    assert accepted is not None
    assert accepted.id == 1
    assert [one.id for one in session.objects] == [2, 1]
    assert np.array_equal(labels == 1, refined.mask.to_array(labels.shape) & (first != 2))
    session.undo()
    assert (labels == first).all()
    assert session.prompts == clicks()[0].with_point(40, 47, 0)


def test_a_label_from_elsewhere_is_improved_by_clicks(tiny: Predictor, big_blobs: Image) -> None:
    session, labels = start(tiny, big_blobs)
    rough = np.zeros(labels.shape, bool)
    rough[disk((40, 40), 9)] = True
    labels[rough] = 30
    session.reopen(30)
    assert session.prompts.is_empty
    assert session.prediction is not None
    session.set_prompts(PromptSet.from_arrays([[52, 40]]))
    better = session.predict()
    assert better is not None
    accepted = session.accept()
    assert accepted is not None
    assert accepted.id == 30
    assert set(np.unique(labels)) == {0, 30}
    assert iou(labels == 30, truth(big_blobs, *CENTRES[0])) > iou(
        rough, truth(big_blobs, *CENTRES[0])
    )
    session.undo()
    session.undo()
    session.undo()
    assert np.array_equal(labels == 30, rough)
    assert not session.draft_set.drafts


def test_a_mask_prompt_changes_the_answer(predictor: Predictor, blobs: Image) -> None:
    session, labels = start(predictor, blobs)
    labels[40:60, 30:60] = 4
    session.reopen(4)
    session.set_prompts(PromptSet.from_arrays([[45, 50]]))
    seeded = session.predict()
    session.reject()
    session.set_prompts(PromptSet.from_arrays([[45, 50]]))
    plain = session.predict()
    assert seeded is not None
    assert plain is not None
    assert not np.allclose(seeded.logits, plain.candidates[0].logits, atol=1e-2)


def test_outlines_are_masks_prompts(tiny: Predictor, big_blobs: Image) -> None:
    session, _ = start(tiny, big_blobs)
    session.set_prompts(PromptSet().with_outline([[22, 40], [40, 22], [58, 40], [40, 58]]))
    found = session.predict()
    assert found is not None
    assert iou(found.mask.to_array(big_blobs.shape), truth(big_blobs, *CENTRES[0])) > 0.8
    assert session.prompts.box == (22, 22, 58, 58)


def test_delete_merge_and_split_are_undone_and_redone(tiny: Predictor, big_blobs: Image) -> None:
    session, labels = start(tiny, big_blobs, mode="many")
    heard: list[LabelChange] = []
    session.labels_changed.connect(heard.append)
    session.set_objects(clicks())
    session.predict()
    session.accept()
    states = [labels.copy()]
    session.delete(2)
    states.append(labels.copy())
    session.merge([1, 4])
    states.append(labels.copy())
    assert session.split(1) == (1, 6), "new ids are never used ones"
    states.append(labels.copy())
    assert [one.id for one in session.objects] == [3, 5, 1, 6]
    assert not (states[1] == 2).any()
    assert np.array_equal(states[2] == 1, (states[0] == 1) | (states[0] == 4))
    assert np.array_equal(states[3] > 0, states[2] > 0)
    assert [change.operation.kind for change in heard] == ["accept", "delete", "merge", "split"]
    for state in reversed(states[:-1]):
        session.undo()
        assert np.array_equal(labels, state)
    assert sorted(one.id for one in session.objects) == [1, 2, 3, 4, 5]
    for state in states[1:]:
        session.redo()
        assert np.array_equal(labels, state)
    assert [change.direction for change in heard[4:]] == ["undo"] * 3 + ["redo"] * 3
    rebuilt = np.zeros_like(labels)
    for change in heard:
        for write in change.writes:
            rebuilt[write.region] = write.values
    assert np.array_equal(rebuilt, labels), "the changes told tell the whole story"
    assert [one.kind for one in session.operations] == ["accept", "delete", "merge", "split"]


def test_labels_that_are_not_there_are_refused(predictor: Predictor, blobs: Image) -> None:
    session, labels = start(predictor, blobs)
    labels[5:9, 5:9] = 3
    for command in (session.reopen, session.delete, session.split):
        with pytest.raises(LabelError, match="label 77 is not on this plane"):
            command(77)
    with pytest.raises(LabelError, match="two different"):
        session.merge([3, 3])
    with pytest.raises(LabelError, match="without a constriction"):
        session.split(3)
    assert not session.can_undo


def test_touching_objects_are_split_at_their_waist() -> None:
    labels = np.zeros((60, 90), np.uint16)
    labels[disk((30, 30), 18)] = 7
    labels[disk((30, 62), 16)] = 7
    target = ArrayTarget(labels)
    ids = iter([8, 9])
    parts = split_label(target, 7, lambda: next(ids))
    assert [number for *_, number in parts] == [7, 8]
    for _, edit, _ in parts:
        if edit is not None:
            edit.apply()
    left, right = labels[disk((30, 25), 8)], labels[disk((30, 67), 8)]
    assert (left == 7).all()
    assert (right == 8).all()
    columns = np.flatnonzero((labels == 8).any(axis=0))
    assert 44 <= columns[0] <= 52


def test_the_policy_inside_writes_only_background_in_the_drawn_box(
    tiny: Predictor, big_blobs: Image
) -> None:
    session, labels = start(tiny, big_blobs, policy="inside")
    session.set_prompts(clicks()[0])
    session.predict()
    with pytest.raises(LabelError, match="Draw one around"):
        session.accept()
    session.set_prompts(PromptSet(((40, 40),), (1,), (24, 24, 40, 56)))
    session.predict()
    assert session.accept() is not None
    rows, columns = np.nonzero(labels)
    assert columns.max() <= 40
    assert rows.min() >= 24


def test_one_that_cannot_be_written_stays_while_the_others_are_accepted(
    tiny: Predictor, big_blobs: Image
) -> None:
    session, labels = start(tiny, big_blobs, mode="many")
    labels[20:60, 20:60] = 9
    failed: list[BaseException] = []
    session.failed.connect(failed.append)
    session.set_objects(clicks()[:3])
    session.predict()
    session.accept()
    assert [one.id for one in session.objects] == [10, 11]
    assert "already belong" in str(failed[0])
    assert [draft.prompts for draft in session.draft_set.drafts] == clicks()[:1]


def test_two_planes_keep_their_objects_in_hand_apart(predictor: Predictor, blobs: Image) -> None:
    session, labels = start(predictor, blobs)
    session.set_prompts(PromptSet.from_arrays([[20, 20]]))
    session.predict()
    other = np.zeros_like(labels)
    session.set_plane(ArrayPlane(plane_from_array(blobs[::-1])), "other", other)
    assert not session.draft_set.drafts
    session.set_prompts(PromptSet.from_arrays([[45, 50]]))
    session.predict()
    session.accept()
    assert other.any()
    assert not labels.any()
    session.set_plane(plane_from_array(blobs), "plane", labels)
    assert session.prompts == PromptSet.from_arrays([[20, 20]])
    session.undo()
    assert not other.any()


def test_another_pinned_level_asks_again(predictor: Predictor, blobs: Image) -> None:
    session, _ = start(predictor, blobs)
    session.set_prompts(PromptSet.from_arrays([[20, 20]]))
    before = session.predict()
    session.level = 0
    after = session.predict()
    assert before is not None
    assert after is not None
    assert after is not before
    assert (before.level, after.level) == (None, 0)
    assert session.predict() is after, "asked once"
