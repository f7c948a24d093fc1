"""Files that earlier versions wrote: they open, hold the same objects, and are written alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam3.batch import Propagate, read_objects
from napari_sam3.batch.output import BatchFolder, folder_beside
from napari_sam3.batch.sources import ImageSource
from napari_sam3.batch.unit_records import Records, position_of
from napari_sam3.labels.painting import paint
from napari_sam3.records.recovery import read_journal
from napari_sam3.records.schema import OPERATION
from napari_sam3.records.session_file import SessionFileError, read_session
from tests.napari_sam3.batch_samples import pixels, stack
from tests.napari_sam3.kept_files import BATCHES, IMAGE, KEPT, changes, operations, question
from tests.napari_sam3.record_samples import same

#: A folder for each version of the files; see `kept_files`.
VERSIONS = sorted(folder for folder in KEPT.iterdir() if folder.is_dir())


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def kept(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.mark.parametrize("name", ["session.json", "session.json.gz"])
def test_a_session_file_holds_what_was_done(kept: Path, name: str) -> None:
    session = read_session(kept / name)
    assert same(session.image, IMAGE)
    assert same(session.operations, operations())


def test_operations_are_written_with_the_same_bytes(kept: Path) -> None:
    text = (kept / "session.json").read_text("ascii")
    for operation in operations():
        written = json.dumps(OPERATION.write(operation), separators=(",", ":"))
        assert written in text


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_without_end_are_refused(kept: Path, value: str, tmp_path: Path) -> None:
    text = (kept / "session.json").read_text("ascii")
    assert text.count("65535.0") > 1
    path = tmp_path / "session.json"
    path.write_text(text.replace("65535.0", value))
    with pytest.raises(SessionFileError, match=r"operations\[0\].*limits\[1\]\[1\]"):
        read_session(path)


def test_a_journal_gives_every_pixel_and_what_is_in_effect(kept: Path) -> None:
    restored = read_journal(kept / "labels.journal")
    assert restored.header is not None
    assert (restored.header.image, restored.header.image.name) == (IMAGE, IMAGE.name)
    assert (restored.header.shape, restored.header.dtype) == (IMAGE.shape, "int32")
    assert restored.header.start == "given 細胞"
    assert (restored.closed, restored.damaged) == (True, False)
    done = operations()
    assert same(restored.operations, (*done[:2], *done[3:]))
    written = [write for change in changes() for write in change.writes]
    read = list(restored.writes())
    assert [write.plane for write in read] == [write.plane for write in written]
    assert [write.region for write in read] == [write.region for write in written]
    assert same(tuple(w.values for w in read), tuple(w.values for w in written))


@pytest.fixture(params=BATCHES)
def batch(kept: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a batch's labels, with its folder."""
    output = tmp_path / f"{request.param}.ome.zarr"
    for part in (output, folder_beside(output)):
        shutil.copytree(kept / part.name, part)
    return output


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json"))
    }


def test_a_batch_is_resumed_with_the_same_question(batch: Path) -> None:
    manifest = json.loads((folder_beside(batch) / "manifest.json").read_text())
    asked: dict[str, Any] = manifest["question"]
    opened = ImageSource.of(stack(3), None).open()
    # As this version says it.
    mode = question(batch.name.partition(".")[0])
    asked["mode"] = (mode.along(opened.axes) if isinstance(mode, Propagate) else mode).to_json()
    before = _files(folder_beside(batch))
    folder = BatchFolder(batch, asked, opened.shape, opened.axes)
    try:
        assert folder.resumed
    finally:
        folder.close()
    assert _files(folder_beside(batch)) == before


def test_records_of_a_batch_are_read_and_written_with_the_same_bytes(
    batch: Path, tmp_path: Path
) -> None:
    old, new = Records(folder_beside(batch)), Records(tmp_path / "new")
    kinds = {path.parent.name for path in folder_beside(batch).glob("*/*.json")}
    for kind in kinds:
        for name in old.names(kind):
            body = json.loads((old.path / kind / f"{name}.json").read_text())["body"]
            if kind == "painted":
                painted = old.painted(name)
                assert painted is not None
                new.put_painted(name, painted)
            elif kind == "tiles":
                found = old.found(name)
                assert found is not None
                new.put_found(name, found)
            else:
                objects = old.objects(kind, name, None)
                assert objects is not None
                new.put_objects(kind, name, objects, body["made_from"])
    written = _files(new.path)
    assert len(written) >= 2
    assert written == {name: _files(old.path)[name] for name in written}
    assert {Path(name).parent.name for name in written} == kinds


def test_objects_of_a_batch_are_those_of_its_labels(batch: Path) -> None:
    records, labels = Records(folder_beside(batch)), pixels(batch)
    shown = [(row.plane, row.id, row.area) for row in read_objects(batch)]
    counted = [
        (str(plane), int(label), int((labels[plane] == label).sum()))
        for plane in range(len(labels))
        for label in np.unique(labels[plane])
        if label
    ]
    assert sorted(shown) == sorted(counted)
    assert len(counted) > 1
    # Of followed objects, these are only the ones with prompts on the plane.
    for name in records.names("found") if "placed" in batch.name else ():
        objects = records.objects("found", name, None)
        assert objects is not None
        height, width = labels.shape[1:]
        np.testing.assert_array_equal(
            paint(objects, (slice(0, height), slice(0, width))), labels[position_of(name)]
        )
