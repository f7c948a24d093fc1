"""Session files: written whole, read exactly, and nothing else taken for one."""

from __future__ import annotations

import gzip
import json
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.drafts import Draft
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.operations import LabelWrite, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.layers.plane_source import PlaneKey
from napari_sam3.records import session_file
from napari_sam3.records.packed import PackedWrite, unpacked_bytes
from napari_sam3.records.schema import OPERATION
from napari_sam3.records.session_file import SessionFileError, read_session, write_session
from tests.napari_sam3.journal_writer import accepted
from tests.napari_sam3.record_samples import operations, same

IMAGE = ImageIdentity("Zellen 細胞", (3, 40, 50), "uint16", "ab" * 16)
PLANE = PlaneIndex((1, 2), (1,))
WRITE = LabelWrite(PLANE, (slice(0, 2), slice(0, 2)), np.eye(2, dtype=np.int32))
SOME = (
    Operation("paint", PLANE, writes=(WRITE,)),
    Operation("delete", PLANE, labels=(1,)),
)


@given(st.lists(operations(), max_size=3), st.sampled_from(["s.json", "s.json.gz", "S.GZ"]))
@settings(deadline=None, max_examples=40)
def test_every_session_comes_back(some: list[Operation], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_session(Path(folder) / name, some, IMAGE)
        session = read_session(path)
        assert session.start == "given"
        assert same(session.image, IMAGE)
        assert same(session.operations, tuple(some))
        assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.lower().endswith(".gz")


def test_equal_sessions_are_equal_files(tmp_path: Path) -> None:
    one, other = (write_session(tmp_path / name, SOME, IMAGE) for name in ("a.gz", "b.gz"))
    assert one.read_bytes() == other.read_bytes()


def test_the_reader_makes_the_keys(tmp_path: Path) -> None:
    session = read_session(
        write_session(tmp_path / "s", SOME, IMAGE), lambda plane: PlaneKey("layer", plane)
    )
    assert {operation.plane for operation in session.operations} == {PlaneKey("layer", PLANE)}


def test_a_file_is_replaced_only_when_asked_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "s.json"
    write_session(path, SOME, IMAGE)
    before = path.read_bytes()
    with pytest.raises(SessionFileError, match="exists already"):
        write_session(path, (), IMAGE)
    assert path.read_bytes() == before
    write_session(path, (), IMAGE, overwrite=True)
    assert read_session(path).operations == ()
    assert [file.name for file in path.parent.iterdir()] == ["s.json"]


def test_names_may_be_as_long_as_the_file_system_takes_and_of_any_letters(tmp_path: Path) -> None:
    for name in ("ß細胞 🔬.json", "n" * 255):
        assert len(read_session(write_session(tmp_path / name, SOME, IMAGE)).operations) == 2
    with pytest.raises(SessionFileError, match="shorter name"):
        write_session(tmp_path / ("n" * 256), SOME, IMAGE)
    with pytest.raises(SessionFileError, match="folder"):
        write_session(tmp_path, SOME, IMAGE, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionFileError, match="could not be written"):
        write_session(tmp_path / "file" / "s", SOME, IMAGE)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"\x1f\x8b",
        b"\x1f\x8bnot really gzip",
        b"[]",
        b"{}",
        b'{"format":"another"}',
        b"\xff\xfe\x00",
        json.dumps({"format": session_file.FORMAT, "version": 3}).encode(),
        json.dumps({"format": session_file.FORMAT, "version": 1}).encode(),
        gzip.compress(b"not JSON", mtime=0),  # the same bytes, and so name, at all times
    ],
)
def test_what_is_something_else_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "something.json"
    path.write_bytes(content)
    with pytest.raises(SessionFileError, match=r"something\.json"):
        read_session(path)


def test_a_file_that_is_not_there_or_a_folder_is_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SessionFileError, match="cannot be read"):
            read_session(path)


@pytest.mark.parametrize("name", ["s.json", "s.json.gz"])
def test_no_cut_file_is_read(tmp_path: Path, name: str) -> None:
    path = write_session(tmp_path / name, SOME, IMAGE)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(SessionFileError):
            read_session(path)


def test_files_beyond_the_limit_are_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_file, "MAX_SESSION_BYTES", 5000)
    path = tmp_path / "s"
    for content in (b" " * 5001, gzip.compress(b" " * 10_000_000)):
        path.write_bytes(content)
        with pytest.raises(SessionFileError, match="Expected at most 5000"):
            read_session(path)
    with pytest.raises(SessionFileError, match="Expected at most 5000"):
        write_session(path, SOME * 50, IMAGE, overwrite=True)


def test_a_short_file_that_announces_very_many_pixels_is_refused_before_they_are_made(
    tmp_path: Path,
) -> None:
    seed = PlaneMask(0, 0, np.ones((4, 4), bool))
    made = replace(accepted(1, PLANE, (0, 0, 4, 4)), draft=Draft(1, (), seed))
    path = write_session(tmp_path / "s", [Operation("accept", PLANE, (made,))], IMAGE)
    record: dict[str, Any] = json.loads(path.read_text())
    (objects,) = (operation["objects"] for operation in record["operations"])
    objects[0]["draft"]["seed"].update(height=1 << 14, width=1 << 14, runs=[0, 1 << 28])
    objects *= 40
    path.write_text(json.dumps(record))
    tracemalloc.start()
    with pytest.raises(SessionFileError, match="would take 10737418240 bytes"):
        read_session(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@given(operations())
@settings(deadline=None)
def test_what_an_operation_takes_in_memory_is_known_from_its_record(operation: Operation) -> None:
    seeds = [made.draft.seed for made in operation.objects]
    expected = sum(seed.crop.size for seed in seeds if seed is not None)
    expected += sum(
        len(write.text) if isinstance(write, PackedWrite) else write.values.nbytes
        for write in operation.writes
    )
    assert unpacked_bytes(OPERATION.write(operation)) == expected


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {"objects": 3, "writes": [None, {}, {"labels": 5}, {"labels": "x"}]},
        {"objects": [1, {}, {"draft": 1}, {"draft": {"seed": {"height": "9", "width": 9}}}]},
        {"objects": [{"draft": {"seed": {"height": -9, "width": 9}}}]},
    ],
)
def test_what_is_no_record_takes_no_memory(record: Any) -> None:
    assert unpacked_bytes(record) == 0


def test_a_damaged_operation_is_named(tmp_path: Path) -> None:
    path = write_session(tmp_path / "s", SOME, IMAGE)
    record: dict[str, Any] = json.loads(path.read_text())
    record["operations"][1]["labels"] = ["one"]
    path.write_text(json.dumps(record))
    with pytest.raises(
        SessionFileError,
        match=r"operations\[1\]\.labels\[0\] is invalid: 'one'",
    ):
        read_session(path)
