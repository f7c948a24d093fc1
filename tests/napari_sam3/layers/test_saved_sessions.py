"""Sessions saved and opened in a new viewer: labels, objects, prompts, classes and undo."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam3 import Binding, bind
from napari_sam3.core.classes import LabelClass
from napari_sam3.core.errors import LayerError
from napari_sam3.core.prompts import PromptSet
from napari_sam3.layers.image_files import add_image
from napari_sam3.layers.saved_sessions import open_saved, reopen, save_session
from napari_sam3.records.saved_session import read_saved_session, write_saved_session
from napari_sam3.records.session_file import SessionFileError
from napari_sam3.session.session import LabelingSession
from sam3.predictor import Predictor
from tests.napari_sam3.labelling import image as two_planes
from tests.napari_sam3.session.test_propagating import Later

CLASSES = (LabelClass("nucleus", "#26a269"), LabelClass("other", "#e66100"))


def describe(binding: Binding) -> Any:
    """Return all that is to be the same, without what is new in each viewer."""
    session = binding.session
    table, plane = binding.labels.features, binding.plane
    assert plane is not None
    return (
        binding.labels.data.tolist(),
        [
            (one.id, repr(getattr(one.plane, "plane", None)), one.category, one.prompts, one.time)
            for one in session.objects_in(binding.labels.unique_id)
        ],
        table[["index", "class", "plane", "time"]].values.tolist(),
        sorted(
            (repr(getattr(key, "plane", None)), [one.prompts for one in hand.drafts])
            for key, hand in session.draft_sets().items()
        ),
        [operation.kind for operation in session.operations],
        (session.mode, session.policy, session.category),
        plane,
        list(binding.prompts_on(plane).values()),
    )


def undo_all(binding: Binding) -> list[Any]:
    """Return the labels before each undo."""
    seen = []
    while binding.session.has_step(binding.sync.owns):
        seen.append(binding.labels.data.tolist())
        binding.undo()
    return [*seen, binding.labels.data.tolist()]


@pytest.fixture(scope="module")
def made(
    predictor: Predictor, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, list[Any]]:
    """Label on two planes, paint, delete, leave an object without accepting it, and save."""
    viewer, tmp_path = ViewerModel(), tmp_path_factory.mktemp("saved")
    np.save(tmp_path / "image.npy", two_planes())
    viewer.add_image(two_planes(), name="image")
    # As on another computer: the image is found beside the session.
    viewer.layers[0].metadata["napari-sam3 file"] = ("/elsewhere/image.npy", "")
    with bind(viewer, predictor=predictor) as binding:
        session = binding.session
        viewer.dims.set_current_step(0, 0)
        binding.sync.plane.ensure()
        for number, (x, y) in enumerate(((20, 20), (65, 20), (45, 50))):
            session.category = CLASSES[number % 2].name
            session.set_prompts(PromptSet(((x, y),), (1,)))
            session.predict()
            binding.accept()
        session.delete(2)
        binding.labels.mode = "paint"
        binding.labels.selected_label = 9
        binding.labels.paint((0, 80, 80), 9)
        viewer.dims.set_current_step(0, 1)
        binding.sync.plane.ensure()
        session.policy = "overwrite"
        session.set_prompts(PromptSet(((20, 75),), (1,)))
        session.predict()
        binding.accept()
        session.set_prompts(PromptSet(((68, 78), (5, 5)), (1, 0)))
        session.predict()
        path = save_session(binding, tmp_path / "day.sam3.json.gz", CLASSES)
        before = describe(binding)
        return path, before, undo_all(binding)


@pytest.fixture
def saved(made: tuple[Path, Any, list[Any]], tmp_path: Path) -> tuple[Path, Any, list[Any]]:
    """Return a session of one's own, its image beside it."""
    for path in made[0].parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / made[0].name, *made[1:]


def test_a_session_opens_in_a_new_viewer_as_it_was(
    saved: tuple[Path, Any, list[Any]], predictor: Predictor
) -> None:
    path, before, undone = saved
    viewer = ViewerModel()
    found, image, labels = open_saved(viewer, path)
    assert found.classes == CLASSES
    with bind(viewer, image, labels, predictor=predictor) as binding:
        reopen(binding, found)
        assert describe(binding) == before
        assert binding.session.prediction is not None, "the object in hand has its mask"
        assert undo_all(binding) == undone
        while binding.session.can_redo:
            binding.redo()
        assert describe(binding)[:2] == before[:2]


def test_what_waits_for_its_mask_is_saved_as_a_draft(predictor: Predictor, tmp_path: Path) -> None:
    later = Later()
    viewer = ViewerModel()
    viewer.add_image(two_planes())
    with bind(viewer, session=LabelingSession(predictor, submit=later)) as binding:
        binding.points.add([0, 20, 20])
        assert binding.accept() is None
        path = save_session(binding, tmp_path / "waiting")
        saved = read_saved_session(path)
        assert [len(plane.hand.drafts) for plane in saved.drafts] == [1]
        assert saved.drafts[0].hand.drafts[0].prompts.points == ((20.0, 20.0),)
        assert not saved.objects
        later.run()
        saved = read_saved_session(save_session(binding, tmp_path / "there"))
        assert not saved.drafts
        assert len(saved.objects) == 1


def test_work_goes_on_in_a_session_that_was_opened(
    saved: tuple[Path, Any, list[Any]], predictor: Predictor
) -> None:
    path, _, _ = saved
    viewer = ViewerModel()
    viewer.add_image(two_planes(), name="the same image under another name")
    found, image, labels = open_saved(viewer, path)
    assert image.name.startswith("the same"), "it is in the viewer already"
    with bind(viewer, image, labels, predictor=predictor) as binding:
        reopen(binding, found)
        highest = int(labels.data.max())
        accepted = binding.accept()
        assert accepted is not None
        assert accepted.id > highest, "no id is given twice"
        binding.session.reopen(accepted.id)
        assert binding.session.prompts.points == ((68.0, 78.0), (5.0, 5.0))
        binding.session.reject()
        again = save_session(binding, path.with_name("again.json.gz"))
        assert len(read_saved_session(again).steps) > len(found.steps)


def test_labels_that_others_changed_keep_what_still_fits(
    saved: tuple[Path, Any, list[Any]], predictor: Predictor
) -> None:
    path, before, _ = saved
    viewer = ViewerModel()
    found, image, labels = open_saved(viewer, path)
    labels.data[labels.data == 1] = 0
    with bind(viewer, image, labels, predictor=predictor) as binding:
        reopen(binding, found, exact=False)
        assert {one.id for one in binding.session.objects} == {row[0] for row in before[1]} - {1}
        assert not binding.session.can_undo


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_session_whose_image_is_not_there_says_so(
    saved: tuple[Path, Any, list[Any]], what: str
) -> None:
    path, _, _ = saved
    image = path.with_name("image.npy")
    if what == "gone":
        image.unlink()
    else:
        np.save(image, np.full((2, 100, 90), 9, np.uint8))
    viewer = ViewerModel()
    with pytest.raises(LayerError, match=r"image\.npy.*then open the session again"):
        open_saved(viewer, path)
    assert not len(viewer.layers)


def _change(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        content = json.loads(gzip.decompress(path.read_bytes()))
        change(content)
        path.write_bytes(gzip.compress(json.dumps(content).encode()))

    return do


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "empty": lambda path: path.write_bytes(b""),
    "not packed": lambda path: path.write_bytes(b"{}"),
    "another file": _change(lambda c: c.update(format="napari-sam3 session")),
    "version": _change(lambda c: c.update(version=2)),
    "lacks": _change(lambda c: c.pop("steps")),
    "objects": _change(lambda c: c.update(present=[99])),
    "shape": _change(lambda c: c.update(shape=[2, 10, 10])),
    "huge": _change(lambda c: c.update(shape=[1 << 20, 1 << 20, 1 << 20])),
    "axes": _change(lambda c: c.update(shape=[100, 90])),
    "dtype": _change(lambda c: c.update(dtype="float32")),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_session_is_refused_by_name(
    saved: tuple[Path, Any, list[Any]], damage: str
) -> None:
    path, _, _ = saved
    DAMAGES[damage](path)
    viewer = ViewerModel()
    with pytest.raises((SessionFileError, LayerError), match=r"Expected"):
        open_saved(viewer, path)
    assert not len(viewer.layers)


def test_a_session_is_written_whole_or_not_at_all(
    saved: tuple[Path, Any, list[Any]], tmp_path: Path
) -> None:
    path, _, _ = saved
    before, found = path.read_bytes(), read_saved_session(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionFileError, match=r"cannot be written"):
        write_saved_session(tmp_path / "file" / "a.json.gz", found)
    write_saved_session(path, found)
    assert json.loads(gzip.decompress(path.read_bytes())) == json.loads(gzip.decompress(before))


def test_images_of_files_keep_scale_and_units(tmp_path: Path) -> None:
    import tifffile

    from napari_sam3 import open_image

    about = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
             "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 2,
             "PhysicalSizeZUnit": "µm"}  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((5, 9, 8), np.uint8), metadata=about)
    viewer = ViewerModel()
    layer = add_image(viewer, open_image(tmp_path / "a.ome.tif"), name="a")
    assert layer.scale.tolist() == [2, 0.5, 0.5]
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
