"""Propagating in a session: what is found, kept, redone, undone, cancelled and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_sam3.core.operations import LabelWrite, objects_in_effect
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.session.jobs import Outcome
from napari_sam3.session.propagation_run import PropagationResult
from napari_sam3.session.session import LabelingSession
from napari_sam3.session.stacks import PlaneStack
from sam3 import Predictor
from sam3.errors import PromptError
from tests.napari_sam3.batch_samples import stack as wandering
from tests.napari_sam3.session.stack_table import (
    ENDLESS,
    HERE,
    LEFT,
    PLANES,
    RIGHT,
    Table,
    make_table,
    z_of,
)


def test_an_object_is_found_on_all_of_its_planes_and_keeps_its_label(embedded: Predictor) -> None:
    image = wandering(PLANES)
    image[4:] = np.random.default_rng(1).integers(300, 500, image[4:].shape)  # it ends there
    table = make_table(LabelingSession(embedded), image)
    shares: list[float] = []
    table.session.propagating.progress.connect(lambda share, _plane: shares.append(share))
    table.session.set_prompts(PromptSet(box=LEFT))
    table.session.predict()
    result = table.propagate(rules=None)  # what is in hand is accepted first
    assert result == PropagationResult((1,), 3)
    assert table.planes(1) == [0, 1, 2, 3]
    rows, columns = np.mgrid[:60, :80]
    for z in range(4):
        truth = (rows - 20) ** 2 + (columns - 20 - z) ** 2 < 11**2
        ours = table.labels[z] == 1
        assert (truth & ours).sum() / (truth | ours).sum() > 0.8
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any(0 < share % 0.2 < 0.19 for share in shares), "within a plane, too"
    assert table.session.propagating.remembers is False, "masks alone are preferred"


def test_it_is_one_step_of_undo_whatever_was_done_meanwhile(table: Table) -> None:
    label = table.show(HERE, LEFT)
    before = table.labels.copy()
    session, clicked = table.session, list[PromptSet]()

    def click(_share: float, _plane: int) -> None:
        if not clicked:
            session.set_prompts(PromptSet(((60.0, 10.0),), (1,)))
            clicked.append(session.prompts)

    session.propagating.progress.connect(click)
    table.propagate(label)
    assert table.planes(label) == list(range(PLANES))
    after = table.labels.copy()
    assert session.undo() == PlaneIndex((1, 2), (HERE,))  # the click
    assert session.prompts.is_empty
    np.testing.assert_array_equal(table.labels, after)
    session.undo()
    np.testing.assert_array_equal(table.labels, before)
    assert session.prompts.is_empty
    session.redo()
    np.testing.assert_array_equal(table.labels, after)
    session.redo()
    assert session.prompts == clicked[0]


@pytest.mark.parametrize("policy", ["keep", "overwrite", "inside"])
def test_objects_of_others_keep_their_pixels_unless_they_are_to_be_overwritten(
    policy: Any, table: Table
) -> None:
    table.labels[4, 10:30, 10:30] = 90
    table.session.policy = policy
    label = table.show(HERE, LEFT)
    before = table.labels.copy()
    table.propagate(label)
    lost = int(((table.labels == label) & (before == 90)).sum())
    assert (lost > 0) == (policy == "overwrite")
    table.session.undo()
    np.testing.assert_array_equal(table.labels, before)


def test_a_correction_redoes_what_depends_on_it_alone(table: Table) -> None:
    session = table.session
    label = table.show(HERE, LEFT)
    session.category = "nucleus"
    table.propagate(label)
    first = table.labels.copy()
    known = {one.plane: one for one in session.objects}
    table.go_to(4)
    session.reopen(label)
    session.set_prompts(PromptSet(((22.0, 20.0), (30.0, 28.0)), (1, 0)))
    session.predict()
    table.propagate()
    # Plane 3 lies half way: it is found from plane 2, but depends on both.
    kept = {z_of(one.plane) for one in session.objects if one is known.get(one.plane)}
    assert kept == {0, 1, HERE}
    for z in (0, 1, HERE):
        np.testing.assert_array_equal(table.labels[z], first[z])
    assert table.planes(label) == list(range(PLANES))
    corrected = table.labels[4].copy()
    session.undo()  # the planes that were redone
    np.testing.assert_array_equal(table.labels[[0, 1, 2, 3, 5]], first[[0, 1, 2, 3, 5]])
    np.testing.assert_array_equal(table.labels[4], corrected)
    times = {one.plane: one.time for one in session.objects if z_of(one.plane) != 4}
    assert times == {plane: one.time for plane, one in known.items() if z_of(plane) != 4}


def test_what_is_not_found_any_more_is_taken_away(table: Table) -> None:
    label = table.show(HERE, LEFT)
    table.propagate(label)
    before = table.labels.copy()
    table.propagate(label, rules=EndRules(min_area=10**6))
    assert table.planes(label) == [HERE]
    assert [z_of(one.plane) for one in table.session.objects] == [HERE]
    table.session.undo()
    np.testing.assert_array_equal(table.labels, before)
    assert len(table.session.objects) == PLANES


def test_painting_is_a_correction_too_and_stays(table: Table) -> None:
    session = table.session
    label = table.show(HERE, LEFT)
    table.propagate(label)
    key = PlaneIndex((1, 2), (4,))
    table.go_to(4)
    painted = np.zeros((20, 20), np.uint32)
    painted[5:15, 5:15] = label
    session.paint(LabelWrite(key, (slice(10, 30), slice(10, 30)), painted))
    wanted = table.labels[4].copy()
    table.propagate()
    np.testing.assert_array_equal(table.labels[4], wanted)


def test_without_drafts_what_is_new_on_the_plane_is_propagated(table: Table) -> None:
    first = table.show(HERE, LEFT)
    assert table.propagate().labels == (first,)
    second = table.show(HERE, RIGHT)
    assert table.propagate().labels == (second,)
    # Asked again, all of it is found again: there may be another direction.
    table.session.undo()
    assert table.planes(second) == [HERE]
    assert table.propagate().labels == (second,)
    assert table.propagate().labels == (first, second)


def test_labels_from_elsewhere_are_propagated_as_they_are(table: Table) -> None:
    table.labels[HERE, 10:30, 10:30] = 7
    table.labels[0, 10:30, 10:30] = 7  # somebody had it there already
    before = table.labels[[0, HERE]].copy()
    assert table.propagate(direction="forward").labels == (7,)
    assert table.planes(7) == [0, *range(HERE, PLANES)]
    table.propagate(direction="backward")
    np.testing.assert_array_equal(table.labels[[0, HERE]], before)
    assert table.planes(7) == list(range(PLANES))


def test_along_any_axis_of_an_image(predictor: Predictor) -> None:
    image = np.stack([wandering(4), wandering(4)[::-1]], axis=1)  # t, z, y, x
    labels = np.zeros(image.shape, np.uint32)
    plane = PlaneIndex((2, 3), (1, 1))
    session = LabelingSession(predictor)
    for axis, found in ((0, labels[:, 1]), (1, labels[1])):
        stack = PlaneStack.of(image, labels, plane, axis)
        session.set_plane(stack.images[1], plane, stack.labels[1])
        session.set_prompts(PromptSet(box=LEFT))
        session.predict()
        accepted = session.accept()
        assert accepted is not None
        session.propagate([accepted.id], stack=stack, rules=ENDLESS)
        assert (found == accepted.id).any((1, 2)).all()
        assert (labels == accepted.id).any((2, 3)).sum() == len(stack)
        session.undo()
        session.undo()
    with pytest.raises(PromptError, match=r"along axis 2 .* outside the plane: 0, 1"):
        PlaneStack.of(image, labels, plane, 2)


@pytest.mark.parametrize("after", [1, 3])
def test_cancelled_at_any_moment_what_is_done_stays_as_one_step(after: int, table: Table) -> None:
    label = table.show(HERE, LEFT)
    before, session, ended = table.labels.copy(), table.session, list[PropagationResult]()
    steps = 0

    def count(_share: float, _plane: int) -> None:
        nonlocal steps
        steps += 1
        if steps > after:
            session.propagating.cancel()

    session.propagating.progress.connect(count)
    session.propagating.ended.connect(ended.append)
    session.propagate([label], stack=table.stack, rules=ENDLESS)
    assert ended[0].stopped
    assert ended[0].planes == after - 1 + (steps > after) or ended[0].planes <= after
    assert HERE in table.planes(label)
    assert len(table.planes(label)) == ended[0].planes + 1 < PLANES
    assert not session.propagating.running
    if ended[0].planes:
        session.undo()
    np.testing.assert_array_equal(table.labels, before)


class Later:
    """Runs work when it is told to, as a thread would."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def __call__(self, work: Any, done: Callable[[Outcome], None], report: Any) -> None:
        self.work.append(lambda: done(work(report)))

    def run(self, times: int = 10**6) -> None:
        while self.work and times:
            self.work.pop(0)()
            times -= 1


def test_undo_while_it_runs_takes_everything_back_and_ends_it(predictor: Predictor) -> None:
    later = Later()
    table = make_table(LabelingSession(predictor, submit=later), wandering(PLANES))
    session, ended = table.session, list[PropagationResult]()
    session.propagating.ended.connect(ended.append)
    session.set_prompts(PromptSet(box=LEFT))
    session.predict()
    # Before its mask is there: accepted and propagated as soon as it is.
    assert session.propagate(stack=table.stack, rules=ENDLESS) is None
    assert session.propagating.running
    with pytest.raises(PromptError, match="already being propagated"):
        session.propagate(stack=table.stack)
    later.run(4)
    assert len(table.planes(1)) > 1
    session.undo()
    assert table.planes(1) == [HERE]
    assert [one.undone for one in ended] == [True]
    later.run()
    assert table.planes(1) == [HERE]
    session.close()


def test_an_accept_that_fails_propagates_nothing(predictor: Predictor) -> None:
    later = Later()
    table = make_table(LabelingSession(predictor, submit=later), wandering(PLANES))
    session, failures = table.session, list[BaseException]()
    session.failed.connect(failures.append)
    session.set_prompts(PromptSet(box=LEFT))
    session.predict()
    session.propagate(stack=table.stack, rules=ENDLESS)
    table.labels[HERE] = 5  # no pixel is free any more
    later.run()
    assert len(failures) == 1
    assert not session.propagating.running
    assert table.planes(1) == []
    session.close()


def test_masks_that_are_still_to_be_predicted_are_propagated_at_once(table: Table) -> None:
    """In a script, propagate() predicts, accepts and propagates; it ended in an AssertionError."""
    table.session.set_prompts(PromptSet(box=LEFT))
    found = table.propagate()
    assert found.labels == (1,)
    assert table.planes(1) == list(range(PLANES))


def test_operations_say_what_was_done_and_are_replayed(table: Table, predictor: Predictor) -> None:
    from napari_sam3.session.replay import replay_into

    session = table.session
    label = table.show(HERE, LEFT)
    table.propagate(label)
    table.propagate(label, rules=EndRules(min_area=10**6), direction="backward")
    assert len(objects_in_effect(session.operations)) == len(session.objects) == 4
    other = make_table(LabelingSession(predictor), table.image)
    replay_into(
        other.session,
        session.operations,
        lambda key: (other.stack.images[z_of(key)], other.stack.labels[z_of(key)]),
    )
    np.testing.assert_array_equal(other.labels, table.labels)


def test_a_mother_ends_where_a_daughter_is_shown_and_a_daughter_begins_after_her(
    table: Table,
) -> None:
    mother, daughter, other = table.show(1, LEFT), table.show(4, LEFT), table.show(4, RIGHT)
    for child in (daughter, other):
        table.session.lineage.link(mother, child)
    table.go_to(1)
    table.propagate(mother)
    assert table.planes(mother) == [0, 1, 2, 3]
    table.go_to(4)
    table.propagate(daughter, other)
    assert table.planes(daughter) == table.planes(other) == [4, 5]


def test_masks_of_the_user_count_more_than_links(table: Table) -> None:
    mother, daughter = table.show(3, LEFT), table.show(1, RIGHT)
    table.session.lineage.link(mother, daughter)
    table.go_to(3)
    table.propagate(mother)
    assert table.planes(mother) == list(range(PLANES))
