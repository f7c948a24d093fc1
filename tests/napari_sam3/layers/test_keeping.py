"""Journals, session files and notes of a binding, in a bare ViewerModel and in real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.layers.bind import Binding
from napari_sam3.layers.features import METADATA
from napari_sam3.layers.journaling import identify_layer
from napari_sam3.records.recovery import find_journals
from napari_sam3.records.schema import OBJECT
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]


def click(binding: Binding, row: float, column: float, z: int | None = None) -> None:
    binding.points.add([row, column] if z is None else [z, row, column])


def label_some(binding: Binding) -> None:
    """Do a bit of everything: accept, refine, paint, delete, merge, undo, redo."""
    for row, column in ((20, 20), (20, 65), (50, 45), (75, 20)):
        binding.session.policy = "overwrite"
        binding.session.category = "nucleus" if row == 20 else ""
        click(binding, row, column)
        click(binding, row + 8, column + 3)
        binding.accept()
    binding.labels.data_setitem((np.array([1, 1, 2]), np.array([5, 6, 5])), 3)
    binding.undo()
    binding.redo()
    present = sorted(set(np.unique(binding.labels.data)) - {0})
    binding.session.reopen(int(present[0]))
    click(binding, 3, 3)
    binding.accept()
    present = sorted(set(np.unique(binding.labels.data)) - {0})
    if len(present) > 2:
        binding.session.merge([int(present[-1]), int(present[0])])
        binding.session.delete(int(present[1]))
        binding.undo()


def test_a_session_file_makes_the_same_labels_again(
    predictor: Predictor, blobs: Image, tmp_path: Path
) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    with bind(viewer, predictor=predictor) as binding:
        label_some(binding)
        labels, kinds = binding.labels.data.copy(), [o.kind for o in binding.session.operations]
        binding.save_session(tmp_path / "work.json")
    assert {"accept", "paint", "merge"} <= set(kinds)
    other = ViewerModel()
    other.add_image(blobs)
    with bind(other, predictor=predictor) as binding:
        assert binding.replay(tmp_path / "work.json") == len(kinds)
        assert np.array_equal(binding.labels.data, labels)
        binding.undo()  # all of it is one step
        assert not binding.labels.data.any()
        assert not binding.session.can_undo
        binding.redo()
        assert np.array_equal(binding.labels.data, labels)


@pytest.mark.parametrize("there", ["id of another tool", "under a stroke", "to be overwritten"])
def test_a_session_file_is_not_replayed_over_what_is_there(
    predictor: Predictor, blobs: Image, tmp_path: Path, there: str
) -> None:
    def begin() -> Binding:
        viewer, heard = ViewerModel(), said.append
        viewer.add_image(blobs)
        return bind(viewer, predictor=predictor, on_error=lambda error: heard(str(error)))

    said: list[str] = []
    with begin() as binding:
        if there == "under a stroke":
            binding.labels.data_setitem(np.nonzero(blobs > 100), 3)
        else:
            binding.session.policy = "overwrite" if there == "to be overwritten" else "keep"
            binding.labels.data[0, 0] = 1  # so that the object gets 2
            click(binding, 20, 20)
            binding.accept()
        binding.save_session(tmp_path / "work.json")
    with begin() as binding:
        if there == "id of another tool":
            binding.labels.data[60:70, 40:50] = 2
        else:
            click(binding, 20, 20)
            first = binding.accept()
            assert first is not None
            assert first.id == 1
        before, objects = binding.labels.data.copy(), binding.session.objects
        assert binding.replay(tmp_path / "work.json") is None
        assert "Replay into a new labels layer" in said[-1]
        assert np.array_equal(binding.labels.data, before)
        assert binding.session.objects == objects


def test_what_was_accepted_is_noted_with_the_labels(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    with bind(viewer, predictor=predictor) as binding:
        label_some(binding)
        objects = {one.id: one for one in binding.session.objects}
        table = binding.labels.features
        assert sorted(table["index"]) == sorted(objects)
        row = table.set_index("index").loc[2]
        assert row["class"] == "nucleus"
        assert row["area"] == objects[2].area
        assert row["points"] == 2
        stored = json.loads(json.dumps(binding.labels.metadata[METADATA]))
        assert len(stored["objects"]) == len(objects)
        read = OBJECT.read(stored["objects"]["2 on the plane"])
        assert read.prompts == objects[2].prompts
        while binding.session.can_undo:
            binding.undo()
        assert not len(binding.labels.features)
        assert not binding.labels.metadata[METADATA]["objects"]


def test_features_of_the_user_stay(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    data = np.zeros(blobs.shape, np.uint16)
    data[95:, 85:] = 7
    labels = viewer.add_labels(data, features={"index": [7], "note": ["mine"]})
    with bind(viewer, image, labels, predictor=predictor) as binding:
        click(binding, 20, 20)
        binding.accept()
        table = labels.features.set_index("index")
        assert table.loc[7, "note"] == "mine"
        assert table.loc[8, "points"] == 1


def test_objects_of_two_label_layers_are_not_mixed_up(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    session = binding.session
    click(binding, 20, 20)
    binding.accept()
    second = viewer.add_labels(np.zeros(blobs.shape, np.uint8))
    with bind(viewer, image, second, session=session) as other:
        click(other, 50, 45)
        other.accept()
        assert [one.id for one in session.objects] == [1, 1]
        assert list(second.features["points"]) == [1]
        session.reopen(1)
        assert session.prompts.points == ((45, 50),)
    binding.close()


def test_after_a_crash_everything_accepted_is_back(
    predictor: Predictor, blobs: Image, tmp_path: Path
) -> None:
    image = np.stack([blobs, blobs[::-1]])
    viewer = ViewerModel()
    layer = viewer.add_image(image)
    binding = bind(viewer, predictor=predictor)
    click(binding, 20, 20, 0)
    binding.accept()  # before the journal has begun
    binding.keep_journal(folder=tmp_path)
    viewer.dims.set_point(0, 1)
    click(binding, 50, 45, 1)
    binding.accept()
    binding.labels.data_setitem((np.array([1]), np.array([2]), np.array([3])), 9)
    labels = binding.labels.data.copy()
    identity = identify_layer(layer)
    assert find_journals(tmp_path, identity) == [], "it is still being written"
    # What a kill does: the file is let go of, and nothing else happens.
    journal = binding.journal.file
    assert journal is not None
    journal._close_file(delete=False)

    again = ViewerModel()
    again.add_image(image.copy())
    with bind(again, predictor=predictor) as restored:
        restored.keep_journal(folder=tmp_path)
        (crashed,) = find_journals(tmp_path, identify_layer(restored.image))
        assert (crashed.objects, crashed.operations, crashed.closed) == (2, 3, False)
        assert restored.restore_labels(crashed.path) == 2
        assert np.array_equal(restored.labels.data, labels)
        assert not crashed.path.exists()
        assert sorted(restored.labels.features["index"]) == [1, 2]
        restored.session.reopen(2) if restored.plane == PlaneIndex((1, 2), (1,)) else None
        click(restored, 75, 20, 0)
        restored.accept()
        assert restored.session.objects[-1].id == 10, "ids go on above what was restored"
        labels = restored.labels.data.copy()
        second = restored.journal.file
        assert second is not None
        second._close_file(delete=False)
        third = ViewerModel()
        third.add_image(image.copy())
        with bind(third, predictor=predictor) as binding_3:
            (crashed,) = find_journals(tmp_path, identity)
            assert binding_3.restore_labels(crashed.path) == 3
            assert np.array_equal(binding_3.labels.data, labels)


def test_a_journal_for_other_labels_is_refused(
    predictor: Predictor, blobs: Image, tmp_path: Path
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    labels = viewer.add_labels(np.full(blobs.shape, 0, np.uint16))
    labels.data[0, 0] = 300
    binding = bind(viewer, image, labels, predictor=predictor)
    binding.keep_journal(folder=tmp_path)
    click(binding, 20, 20)
    binding.accept()
    journal = binding.journal.file
    assert journal is not None
    journal._close_file(delete=False)
    small = viewer.add_labels(np.zeros(blobs.shape, np.uint8))
    with (
        bind(viewer, image, small, predictor=predictor) as other,
        pytest.raises(LabelError, match="too large for dtype uint8"),
    ):
        other.restore_labels(journal.path)
    assert not small.data.any()
    assert journal.path.exists()


SCRIPT = """
import sys
import numpy as np
from napari.components import ViewerModel
from napari_sam3 import bind
from sam3.model_builder import random_predictor

blobs = np.load(sys.argv[1])
viewer = ViewerModel()
viewer.add_image(blobs)
binding = bind(viewer, predictor=random_predictor("tiny", seed=0))
binding.session.policy = "overwrite"
binding.keep_journal(folder=sys.argv[2])
rng = np.random.default_rng(0)
while True:
    binding.points.add(rng.integers(5, 85, 2))
    accepted = binding.accept()
    np.save(sys.argv[3], binding.labels.data)
    print(accepted.id, flush=True)
"""


@pytest.mark.parametrize("count", [1, 4])
def test_a_killed_process_loses_nothing_it_said_was_accepted(
    predictor: Predictor, blobs: Image, tmp_path: Path, count: int
) -> None:
    np.save(tmp_path / "image.npy", blobs)
    arguments = [str(tmp_path / name) for name in ("image.npy", "journals", "labels.npy")]
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split()]
    viewer = ViewerModel()
    viewer.add_image(blobs)
    with bind(viewer, predictor=predictor) as binding:
        (crashed,) = find_journals(tmp_path / "journals", identify_layer(binding.image))
        count_back = binding.restore_labels(crashed.path)
        assert count_back in (len(said), len(said) + 1)
        assert [one.id for one in binding.session.objects][: len(said)] == said
        if count_back == len(said):
            assert np.array_equal(binding.labels.data, np.load(arguments[2]))


def test_strokes_are_undone_in_order(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    with bind(viewer, predictor=predictor) as binding:
        labels: Any = binding.labels
        click(binding, 20, 20)
        binding.accept()
        accepted = labels.data.copy()
        labels.selected_label = 5
        labels.mode = "paint"
        labels.brush_size = 4
        labels.paint((60, 60), 5)
        labels.paint((20, 20), 0)
        painted = labels.data.copy()
        assert (painted == 5).any()
        click(binding, 75, 20)
        second = binding.accept()
        assert second is not None
        assert second.id == 6
        binding.undo()
        binding.undo()  # the click
        assert np.array_equal(labels.data, painted)
        binding.undo()
        binding.undo()
        assert np.array_equal(labels.data, accepted)
        binding.undo()
        assert not labels.data.any()
        for _ in range(4):
            binding.redo()
        assert np.array_equal(labels.data, painted)


def test_the_widget_offers_what_a_crash_left_behind(
    open_desk: Any, blobs: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam3.qt.crash_recovery import Safety

    monkeypatch.setattr(Safety, "folder", str(tmp_path))
    desk = open_desk(blobs)
    binding = desk.widget.binding
    desk.hand.wait_until(lambda: binding.journal.file is not None, "the journal")
    desk.hand.click((20, 20))
    desk.settle()
    desk.hand.type("N")
    labels = binding.labels.data.copy()
    assert labels.any()
    binding.journal.file._close_file(delete=False)  # what a kill does

    again = open_desk(blobs.copy())
    offer = again.widget.panel.offer
    again.hand.wait_until(offer.isVisible, "the offer")
    assert "1 object of this image not saved" in offer.text.text()
    offer.yes.click()
    assert np.array_equal(again.widget.binding.labels.data, labels)
    assert [one.id for one in again.session.objects] == [1]
    assert not offer.isVisible()
    assert "1 object accepted" in again.widget.panel.object.text()
