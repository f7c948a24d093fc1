"""What a batch found in a session: written under a policy, undone as one, kept and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.batch import Instance, Repeated, segment
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.operations import LabelChange, Policy, ReplayError
from napari_sam3.core.planes import PlaneIndex, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import Rendering
from napari_sam3.images.identity import identify
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.records.journal import Journal
from napari_sam3.records.packed import PackedWrite
from napari_sam3.records.recovery import read_journal
from napari_sam3.records.session_file import read_session, write_session
from napari_sam3.session.replay import replay_into
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import question, stack
from tests.napari_sam3.record_samples import same

Labels = npt.NDArray[Any]


def plane(z: int) -> PlaneIndex:
    return PlaneIndex((1, 2), (z,))


def box(number: int, row: int, column: int, side: int = 4, **options: Any) -> Instance:
    mask = PlaneMask.from_array(np.ones((side, side), bool), row, column)
    return Instance(number, mask, 0.75, **options)


class Run:
    """A session that takes in planes of a batch, and what it tells of them."""

    def __init__(self, predictor: Predictor, labels: Labels, policy: Policy = "keep") -> None:
        self.session = LabelingSession(predictor, policy=policy)
        self.labels, self.predictor = labels, predictor
        self.changes: list[LabelChange] = []
        self.session.labels_changed.connect(self.changes.append)
        self.batch = self.session.begin_batch(ArrayTarget(labels, plane(0), plane(0)))

    def write(self, z: int, *objects: Instance) -> Any:
        target = ArrayTarget(self.labels, plane(z), plane(z))
        return self.session.write_batch(
            self.batch, plane(z), target, objects, self.predictor, Rendering()
        )


def test_ids_go_on_after_those_in_the_labels_and_a_batch_is_one_step(predictor: Predictor) -> None:
    labels = np.zeros((3, 20, 20), np.uint16)
    labels[1, 0, 0] = 7
    run = Run(predictor, labels)
    before = labels.copy()
    accepted = [*run.write(0, box(1, 2, 2), box(2, 4, 4)), *run.write(1, box(2, 9, 9))]
    assert [one.id for one in accepted] == [8, 9, 9]
    assert [one.area for one in accepted] == [16, 12, 16]  # the first keeps its pixels
    assert [len(change.operation.objects) for change in run.changes] == [2, 1]
    after = labels.copy()
    assert set(np.unique(after)) == {0, 7, 8, 9}
    assert run.session.undo() == plane(0)
    np.testing.assert_array_equal(labels, before)
    assert not run.session.can_undo
    assert not run.session.objects
    run.session.redo()
    np.testing.assert_array_equal(labels, after)
    assert [one.id for one in run.session.objects] == [8, 9, 9]
    run.session.undo()
    assert [change.direction for change in run.changes] == [
        *["do"] * 2, *["undo"] * 2, *["redo"] * 2, *["undo"] * 2,
    ]  # fmt: skip
    again = run.session.begin_batch(ArrayTarget(labels, plane(0), plane(0)))
    assert again.first == 9  # ids that were undone are not given again


@pytest.mark.parametrize(
    ("policy", "left", "right"), [("keep", 5, 0), ("overwrite", 1, 1), ("inside", 5, 0)]
)
def test_the_policy_decides_about_pixels_that_were_there(
    policy: Policy, left: int, right: int, predictor: Predictor
) -> None:
    labels = np.zeros((1, 20, 20), np.int32)
    labels[0, 2:4, 2:6] = 5
    run = Run(predictor, labels, policy)
    drawn = PromptSet(box=(1.5, 1.5, 4.5, 5.5))
    run.write(0, box(1, 2, 2, prompts=drawn))
    assert labels[0, 2, 2] == (5 if left == 5 else 6)
    assert labels[0, 5, 2] == 6
    assert labels[0, 5, 5] == (0 if policy == "inside" else 6)


def test_what_others_changed_since_is_left_alone_by_undo(predictor: Predictor) -> None:
    labels = np.zeros((1, 20, 20), np.uint32)
    run = Run(predictor, labels)
    run.write(0, box(1, 2, 2))
    labels[0, 2, 2] = 40
    run.session.undo()
    assert labels[0, 2, 2] == 40
    assert np.count_nonzero(labels) == 1


def test_ids_that_do_not_fit_are_refused_before_anything_is_written(predictor: Predictor) -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 0, 0] = 250
    run = Run(predictor, labels)
    with pytest.raises(LabelError, match="the next label does not fit dtype uint8: 256"):
        run.write(0, box(1, 2, 2), box(6, 9, 9))
    assert np.count_nonzero(labels) == 1
    assert not run.session.can_undo


def test_nothing_found_is_no_step(predictor: Predictor) -> None:
    labels = np.ones((1, 20, 20), np.uint8)
    run = Run(predictor, labels)
    assert run.write(0) == ()
    assert run.write(0, box(1, 2, 2)) == ()  # no pixel was free
    assert not run.session.can_undo


def test_a_label_of_a_batch_is_taken_up_with_its_mask_or_its_prompts(predictor: Predictor) -> None:
    labels = np.zeros((1, 20, 20), np.uint32)
    run = Run(predictor, labels)
    click = PromptSet(((10.0, 10.0),), (1,))
    run.write(0, box(1, 2, 2), box(2, 9, 9, prompts=click))
    target = ArrayTarget(labels, plane(0), plane(0))
    run.session.mode = "many"
    run.session.set_plane(plane_from_array(np.zeros((20, 20), np.uint8)), plane(0), target)
    run.session.reopen(1)
    assert run.session.prompts.is_empty
    assert run.session.prediction is not None
    assert run.session.prediction.mask.area == 16
    run.session.reopen(2)
    assert run.session.prompts == click


def real(predictor: Predictor, image: Labels, labels: Labels) -> Run:
    run = Run(predictor, labels)
    for result in segment(image, question("propagate"), predictor):
        run.write(result.position[0], *result.objects)
    run.session.end_batch()
    return run


def test_a_journal_gives_a_batch_back_undone_and_done_again(
    predictor: Predictor, tmp_path: Path
) -> None:
    image, labels = stack(), np.zeros((7, 60, 80), np.uint32)
    who = identify(image, "stack")
    journal = Journal(who, labels.shape, labels.dtype, folder=tmp_path)
    run = Run(predictor, labels)
    run.session.labels_changed.connect(journal.append)
    for result in segment(image, question("propagate"), predictor):
        run.write(result.position[0], *result.objects)
    half = labels.copy()
    run.session.undo()
    run.session.redo()
    journal.close()
    restored = read_journal(journal.path)
    assert not restored.damaged
    assert same(restored.operations, run.session.operations)
    assert [one.id for one in restored.objects] == [one.id for one in run.session.objects]
    found = np.zeros_like(labels)

    def write(key: Any, region: Any, values: Labels) -> None:
        found[(*key.index, *region)] = values

    restored.apply(write)
    np.testing.assert_array_equal(found, half)
    assert len(np.unique(found)) > 2


def test_a_session_file_holds_a_batch_packed_and_replays_it_as_one_step(
    predictor: Predictor, tmp_path: Path
) -> None:
    image, labels = stack(), np.zeros((7, 60, 80), np.uint32)
    run = real(predictor, image, labels)
    path = write_session(tmp_path / "s.json.gz", run.session.operations, identify(image, "stack"))
    stored = read_session(path)
    assert all(isinstance(write, PackedWrite) for one in stored.operations for write in one.writes)
    again, found = LabelingSession(predictor), np.zeros_like(labels)

    def planes(key: Any) -> tuple[Any, ArrayTarget]:
        return _pixels(image, key), ArrayTarget(found, key, key)

    count = replay_into(again, stored.operations, planes)
    assert count == len(run.session.operations) > 3
    np.testing.assert_array_equal(found, labels)
    assert [one.id for one in again.objects] == [one.id for one in run.session.objects]
    before = found.copy()
    with pytest.raises(ReplayError, match=r"accepted objects with ids to be replayed: 1"):
        replay_into(again, stored.operations, planes)
    np.testing.assert_array_equal(found, before)
    again.undo()
    assert not found.any()
    assert not again.can_undo


def _pixels(image: Labels, key: Any) -> Any:
    from napari_sam3.images.plane_image import ArrayPlane

    return ArrayPlane(plane_from_array(image[key.index]))


def test_another_image_is_refused_when_a_batch_is_replayed(predictor: Predictor) -> None:
    labels = np.zeros((1, 20, 20), np.uint32)
    run = Run(predictor, labels)
    run.write(0, box(1, 12, 12))
    small = np.zeros((1, 10, 10), np.uint32)
    again = LabelingSession(predictor)
    pixels = plane_from_array(np.zeros((10, 10), np.uint8))
    again.set_plane(pixels, plane(0), ArrayTarget(small, plane(0), plane(0)))
    with pytest.raises(LabelError, match="up to row 16"):
        again.batch_again(run.session.operations[0], "batch")
    assert not small.any()


def test_memory_of_a_batch_is_a_share_of_its_labels(predictor: Predictor) -> None:
    labels = np.zeros((1, 1000, 1000), np.uint32)
    run = Run(predictor, labels)
    run.write(0, *(box(n, 40 * (n // 20), 40 * (n % 20), 30) for n in range(1, 400)))
    (step,) = run.session._parts.history.done
    edits: tuple[Any, ...] = tuple(step.edits)
    writes: tuple[Any, ...] = run.session.operations[0].writes
    assert {edit.before for edit in edits} == {0}, "one number where all pixels share it"
    packed = sum(len(edit.changed) + len(edit.after) for edit in edits)
    packed += sum(len(write.text) for write in writes)
    assert packed < labels.nbytes / 40


def test_the_same_question_twice_gives_labels_of_its_own(predictor: Predictor) -> None:
    image, labels = stack(2), np.zeros((2, 60, 80), np.uint32)
    asked = Repeated({1: PromptSet(box=(8, 8, 33, 32))})
    for number in (1, 2):
        run = Run(predictor, labels, "overwrite")
        for result in segment(image, asked, predictor):
            run.write(result.position[0], *result.objects)
        assert set(np.unique(labels)) == {0, number}
