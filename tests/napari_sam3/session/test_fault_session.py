"""Commands on a session in any order: what is in the labels is what was done, net of undo."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from napari_sam3 import LabelingSession, PlaneIndex, PromptSet, plane_from_array
from napari_sam3.core.errors import LabelError
from napari_sam3.core.operations import LabelChange, LabelWrite
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.labels.targets import ArrayTarget
from napari_sam3.records.journal import Journal
from napari_sam3.records.recovery import read_journal
from napari_sam3.session.replay import replay_into
from sam3.config import get_preset
from sam3.errors import Sam3Error
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from tests.napari_sam3.fault_samples import EXAMPLES

# Shrinking a fault takes minutes: the steps of the machine tell enough.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
SHAPE = (2, 50, 60)
ROWS, COLUMNS = st.integers(0, SHAPE[1] - 1), st.integers(0, SHAPE[2] - 1)
IMAGE = ImageIdentity("image", SHAPE, "uint8", "ab" * 16)


@cache
def model() -> Predictor:
    config = dataclasses.replace(get_preset("tiny"), resolution=56)
    return Predictor(build_click_model(config, seed=0).eval(), device="cpu")


@cache
def pixels(z: int) -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    plane = np.full(SHAPE[1:], 30, np.uint8)
    for row, column in ((12, 12 + 9 * z), (34, 40), (38 - 9 * z, 14)):
        plane[(rows - row) ** 2 + (columns - column) ** 2 < 81] = 210
    return plane_from_array(plane)


class SessionMachine(RuleBasedStateMachine):
    """Does to a session what a person may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="napari-sam3-machine-"))
        self.labels: npt.NDArray[np.int32] = np.zeros(SHAPE, np.int32)
        self.session = LabelingSession(model())
        self.journal = Journal(IMAGE, SHAPE, np.int32, folder=self.folder)
        # What the labels were at each depth of the history.
        self.known = {0: self.labels.copy()}
        self.session.labels_changed.connect(self.write_down)

    def write_down(self, change: LabelChange) -> None:
        self.journal.append(change)

    @property
    def depth(self) -> int:
        return len(self.session._parts.history.done)

    def attempt(self, command: Callable[[], Any]) -> Any:
        """Do something; an error of ours has changed no label."""
        before = self.labels.copy()
        try:
            result = command()
        except Sam3Error:
            np.testing.assert_array_equal(self.labels, before, "an error left the labels alone")
            return None
        finally:
            for depth in [depth for depth in self.known if depth > self.depth]:
                del self.known[depth]
            self.known[self.depth] = self.labels.copy()
        return result

    def present(self) -> list[int]:
        key = self.session.plane_key
        plane = self.labels[key.index[0]] if isinstance(key, PlaneIndex) else self.labels
        return [int(label) for label in np.unique(plane) if label]

    def choose_from(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from([*self.present(), 0, 99]))

    @initialize()
    def look_at_the_first_plane(self) -> None:
        self.look_at(0)

    @rule(z=st.integers(0, 1))
    def look_at(self, z: int) -> None:
        self.session.set_plane(pixels(z), PlaneIndex((1, 2), (z,)), self.labels)

    @rule(row=ROWS, column=COLUMNS, label=st.sampled_from((1, 1, 1, 0)))
    def click(self, row: int, column: int, label: int) -> None:
        self.attempt(
            lambda: self.session.set_prompts(self.session.prompts.with_point(column, row, label))
        )
        self.attempt(self.session.predict)

    @rule(row=ROWS, column=COLUMNS, height=st.integers(0, 40), width=st.integers(0, 40))
    def draw_a_box(self, row: int, column: int, height: int, width: int) -> None:
        box = (column, row, column + width, row + height)
        self.attempt(lambda: self.session.set_prompts(PromptSet.from_arrays(box=box)))
        self.attempt(self.session.predict)

    @rule(places=st.lists(st.tuples(COLUMNS, ROWS), min_size=1, max_size=3))
    def many_at_once(self, places: list[tuple[int, int]]) -> None:
        many = [PromptSet((place,), (1,)) for place in places]
        self.attempt(lambda: self.session.set_objects(many))
        self.attempt(self.session.predict)

    @rule()
    def accept(self) -> None:
        self.attempt(self.session.accept)

    @rule()
    def reject(self) -> None:
        self.attempt(self.session.reject)

    @rule(index=st.integers(-1, 3))
    def choose(self, index: int) -> None:
        self.attempt(lambda: self.session.choose(index))

    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        label = self.choose_from(data)
        self.attempt(lambda: self.session.reopen(label))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        label = self.choose_from(data)
        self.attempt(lambda: self.session.delete(label))

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        labels = [self.choose_from(data), self.choose_from(data)]
        self.attempt(lambda: self.session.merge(labels))

    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        label = self.choose_from(data)
        self.attempt(lambda: self.session.split(label))

    @rule(row=ROWS, column=COLUMNS, side=st.integers(1, 20), data=st.data())
    def paint(self, row: int, column: int, side: int, data: st.DataObject) -> None:
        label, key = self.choose_from(data), self.session.plane_key
        region = slice(row, min(SHAPE[1], row + side)), slice(column, min(SHAPE[2], column + side))
        values = np.full([part.stop - part.start for part in region], label, np.int32)
        self.attempt(lambda: self.session.paint(LabelWrite(key, region, values)))

    @rule(
        policy=st.sampled_from(("keep", "overwrite", "inside")),
        mode=st.sampled_from(("one", "many")),
        level=st.sampled_from((None, None, 0, 1)),
        category=st.sampled_from(("", "cell")),
    )
    def change_how(self, policy: Any, mode: Any, level: int | None, category: str) -> None:
        self.session.policy, self.session.mode = policy, mode
        self.session.level, self.session.category = level, category

    @precondition(lambda self: self.session.can_undo)
    @rule()
    def undo(self) -> None:
        wanted = self.known[self.depth - 1]
        self.session.undo()
        np.testing.assert_array_equal(self.labels, wanted, "undo gives what was there before")

    @precondition(lambda self: self.session.can_redo)
    @rule()
    def redo(self) -> None:
        before = self.labels.copy()
        self.session.redo()
        self.known[self.depth] = after = self.labels.copy()
        self.session.undo()
        np.testing.assert_array_equal(self.labels, before)
        self.session.redo()
        np.testing.assert_array_equal(self.labels, after)

    @invariant()
    def ids_are_unique(self) -> None:
        ids = [(one.plane, one.id) for one in self.session.objects]
        assert len(ids) == len(set(ids))
        assert all(one.area > 0 for one in self.session.objects)

    def teardown(self) -> None:
        try:
            self.session.labels_changed.disconnect(self.write_down)
            self.the_journal_tells_all()
            self.done_again_it_is_the_same()
            while self.session.can_undo:
                self.session.undo()
            assert not self.labels.any(), "everything can be taken back"
        finally:
            self.journal.close()
            self.session.close()
            shutil.rmtree(self.folder)

    def the_journal_tells_all(self) -> None:
        restored = read_journal(self.journal.path)
        assert not restored.damaged
        labels = np.zeros(SHAPE, np.int32)

        def write(key: Any, region: tuple[slice, slice], values: npt.NDArray[Any]) -> None:
            labels[key.slices(*region)] = values

        restored.apply(write)
        np.testing.assert_array_equal(labels, self.labels)
        kinds = [one.kind for one in self.session.operations]
        assert [one.kind for one in restored.operations] == kinds

    def done_again_it_is_the_same(self) -> None:
        again: npt.NDArray[np.int32] = np.zeros(SHAPE, np.int32)
        operations = read_journal(self.journal.path).operations

        def plane(key: Any) -> tuple[ArrayPlane, ArrayTarget]:
            return ArrayPlane(pixels(key.index[0])), ArrayTarget(again, key, key)

        with_same_model = LabelingSession(model())
        replay_into(with_same_model, operations, plane)
        with_same_model.close()
        np.testing.assert_array_equal(again, self.labels)


def test_any_commands_in_any_order() -> None:
    run_state_machine_as_test(
        SessionMachine,
        settings=settings(
            max_examples=max(5, EXAMPLES // 20),
            phases=PHASES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_mask_that_was_chosen_is_found_again_where_the_best_one_led() -> None:
    # The best one is cut off by its field, so that the plane is asked about; the chosen one is not.
    machine = SessionMachine()
    machine.look_at(0)
    machine.change_how("keep", "one", 0, "")
    for row, column in ((8, 30), (25, 28), (48, 52), (3, 3)):
        for index in range(3):
            machine.click(row, column, 1)
            machine.choose(index)
            machine.accept()
            machine.reject()
    assert {one.candidate for one in machine.session.objects} == {0, 1, 2}
    machine.teardown()


def test_objects_that_climb_into_the_field_of_others_are_decoded_apart() -> None:
    # One of them comes with the mask of the field below, the others with none.
    labels: npt.NDArray[np.int32] = np.zeros(SHAPE, np.int32)
    session = LabelingSession(model(), mode="many")
    session.set_plane(pixels(0), PlaneIndex((1, 2), (0,)), labels)
    places = ((4, 0), (10, 40), (37, 45))
    session.set_objects([PromptSet((place, (place[0] + 1, place[1])), (1, 1)) for place in places])
    session.predict()
    assert len(session.predictions) == 3
    session.close()


def test_the_background_is_no_label() -> None:
    labels: npt.NDArray[np.int32] = np.zeros(SHAPE, np.int32)
    session = LabelingSession(model())
    session.set_plane(pixels(0), PlaneIndex((1, 2), (0,)), labels)
    for command in (session.delete, session.split, session.reopen):
        with pytest.raises(LabelError, match="0 is not a label"):
            command(0)
    session.close()
