"""Session files replayed into the labels of a binding: all of it, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.layers.bind import Binding
from napari_sam3.layers.journaling import identify_layer
from napari_sam3.records.recovery import find_journals, read_journal
from sam3.predictor import Predictor
from tests.napari_sam3.kept_files import KEPT
from tests.napari_sam3.layers.test_keeping import click, label_some

Image = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]


class Work:
    """Bindings on one image, and what they complain about."""

    def __init__(self, image: Image, predictor: Predictor) -> None:
        self.image, self.predictor = image, predictor
        self.said: list[str] = []

    def begin(self, labels: Labels | None = None) -> Binding:
        viewer = ViewerModel()
        image = viewer.add_image(self.image)
        layer = None if labels is None else viewer.add_labels(labels.copy())
        heard = self.said.append
        return bind(
            viewer,
            image,
            layer,
            predictor=self.predictor,
            on_error=lambda error: heard(str(error)),
        )


@pytest.fixture
def work(blobs: Image, predictor: Predictor) -> Work:
    return Work(blobs, predictor)


def start_labels(shape: tuple[int, ...], dtype: str = "int32") -> Labels:
    start = np.zeros(shape, dtype)
    start[18:30, 18:30], start[60:70, 60:70] = 7, 8
    return start


def do(binding: Binding, change: str) -> None:
    """Change labels that were there when the session began."""
    session = binding.session
    session.policy = "overwrite"
    match change:
        case "stroke":
            binding.labels.data_setitem(np.nonzero(binding.labels.data == 7), 9)
        case "delete":
            session.delete(7)
        case "merge":
            session.merge([8, 7])
        case "refine" | "overwrite":
            if change == "refine":
                session.reopen(7)
            click(binding, 20, 20)
            binding.accept()


def as_first_version(path: Path) -> None:
    """Make a session file one of version 1, which does not say what the labels were at first."""
    record = json.loads(path.read_text())
    del record["start"]
    path.write_text(json.dumps({**record, "version": 1}))


CHANGES = ["stroke", "overwrite", "delete", "refine", "merge"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_session_changes_the_labels_that_it_began_with_and_no_others(
    work: Work, tmp_path: Path, change: str
) -> None:
    start, file = start_labels(work.image.shape), tmp_path / "work.json"
    with work.begin(start) as binding:
        do(binding, change)
        after = binding.labels.data.copy()
        assert not np.array_equal(after, start)
        binding.save_session(file)

    for same in (start, start.astype(np.uint8)):  # of any type
        with work.begin(same) as binding:
            assert binding.replay(file) == 1
            assert np.array_equal(binding.labels.data, after)
            binding.undo()
            assert np.array_equal(binding.labels.data, start)
    assert not work.said

    changed, elsewhere = start.copy(), start.copy()
    changed[18:40, 18:40], changed[60:70, 60:70] = 5, 7
    elsewhere[95, 80] = 99
    for now in (changed, elsewhere, np.zeros_like(start)):
        with work.begin(now) as binding:
            assert binding.replay(file) is None
            assert "Expected the labels at the start of the session. Choose" in work.said.pop()
            assert np.array_equal(binding.labels.data, now)
            assert (binding.session.objects, binding.session.can_undo) == ((), False)


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_the_first_version_change_only_what_they_made(
    work: Work, tmp_path: Path, change: str
) -> None:
    start, file = start_labels(work.image.shape), tmp_path / "work.json"
    with work.begin(start) as binding:
        do(binding, change)
        binding.save_session(file)
    as_first_version(file)
    with work.begin(start) as binding:  # they may be others, for all that the file says
        assert binding.replay(file) is None
        assert "other labels where pixels are to be replayed" in work.said.pop()
        assert np.array_equal(binding.labels.data, start)
    with work.begin() as binding:  # empty: what needs no label of before is done
        done = binding.replay(file)
        now = set(np.unique(binding.labels.data)) - {0}
        if change in ("delete", "merge"):
            assert (done, now) == (None, set())
            assert "is not on this plane" in work.said.pop()
        else:
            assert (done, now) == (1, {7 if change == "refine" else 9})


def test_labels_beside_those_of_a_session_that_began_with_none_are_refused(
    work: Work, tmp_path: Path
) -> None:
    with work.begin() as binding:
        binding.session.policy = "overwrite"
        click(binding, 20, 20)
        binding.accept()
        binding.save_session(tmp_path / "work.json")
        after = binding.labels.data.copy()
    foreign = np.zeros(work.image.shape, np.uint16)
    with work.begin(foreign) as binding:  # empty, too, though the user made it
        assert binding.replay(tmp_path / "work.json") == 1
        assert np.array_equal(binding.labels.data, after)
    foreign[15:40, 15:40] = 99
    with work.begin(foreign) as binding:
        assert binding.replay(tmp_path / "work.json") is None
        assert "Replay into a new labels layer" in work.said.pop()
        assert np.array_equal(binding.labels.data, foreign)


def test_a_session_on_two_labels_layers_is_saved_for_the_one_in_use(
    work: Work, tmp_path: Path
) -> None:
    with work.begin() as first:
        click(first, 20, 20)
        first.accept()
        second = first.viewer.add_labels(np.zeros(work.image.shape, np.uint8))
        with bind(first.viewer, first.image, second, session=first.session) as other:
            click(other, 50, 45)
            other.accept()
            other.labels.data_setitem((np.array([1]), np.array([2])), 3)
            after = second.data.copy()
            other.save_session(tmp_path / "work.json")
        # Undo is about the labels of the binding, strokes included.
        first.undo()
        assert np.array_equal(second.data, after)
        assert not first.labels.data.any()
    with work.begin() as again:
        assert again.replay(tmp_path / "work.json") == 2
        assert np.array_equal(again.labels.data, after)


def test_the_start_is_that_of_the_session_after_the_labels_were_chosen_again(
    work: Work, tmp_path: Path
) -> None:
    start = start_labels(work.image.shape)
    with work.begin(start) as first:
        first.session.delete(7)
        with bind(first.viewer, first.image, first.labels, session=first.session) as later:
            later.session.delete(8)
            later.save_session(tmp_path / "work.json")
    with work.begin(start) as again:
        assert again.replay(tmp_path / "work.json") == 2
        assert not again.labels.data.any()


def test_a_session_that_cannot_be_replayed_to_its_end_is_not_replayed_at_all(
    work: Work, tmp_path: Path
) -> None:
    file = tmp_path / "work.json"
    with work.begin() as binding:
        label_some(binding)
        binding.save_session(file)
    record = json.loads(file.read_text())
    missing = {**record["operations"][-1], "kind": "delete", "objects": [], "writes": []}
    record["operations"].append({**missing, "labels": [250]})
    file.write_text(json.dumps(record))
    with work.begin() as binding:
        click(binding, 50, 45)
        prompts = binding.session.prompts
        binding.keep_journal(folder=tmp_path)
        assert binding.replay(file) is None
        assert "label 250 is not on this plane" in work.said.pop()
        assert not binding.labels.data.any()
        assert (binding.session.objects, binding.session.operations) == ((), ())
        assert not binding.session.can_redo
        assert binding.session.prompts == prompts
        assert not len(binding.labels.features)
        accepted = binding.accept()
        assert accepted is not None
        assert accepted.id == 1, "no id is used up"
        identity = identify_layer(binding.image)
    (journal,) = find_journals(tmp_path, identity)
    assert [found.area for found in read_journal(journal.path).objects] == [accepted.area]


def test_a_session_file_that_the_first_version_wrote_is_replayed(work: Work) -> None:
    with work.begin() as binding:
        label_some(binding)
        labels = binding.labels.data.copy()
    with work.begin() as binding:
        assert binding.replay(KEPT / "version_1" / "replayable.json.gz") == 7
        assert np.array_equal(binding.labels.data, labels)
