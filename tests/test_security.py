"""Files are data, nothing is sent anywhere, and no file takes more memory than it should."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam3.batch import BatchError, prompt_files, segment
from napari_sam3.batch import output as folders
from napari_sam3.core.drafts import Draft
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.operations import LabelChange, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.inference.store import folder as store_files
from napari_sam3.inference.store.store import EmbeddingStore, StoreError
from napari_sam3.records import journal as journals
from napari_sam3.records import recovery
from napari_sam3.records.journal import Journal, JournalError
from napari_sam3.records.lines import encode_line
from napari_sam3.records.recovery import read_journal
from napari_sam3.records.strict import dump, parse
from sam3.errors import PromptError
from sam3.files import read_bounded
from tests.guard.network_guard import is_local
from tests.napari_sam3.batch_samples import question, small_predictor, stack
from tests.napari_sam3.journal_writer import IMAGE, SHAPE, accepted, changes
from tests.napari_sam3.store_writer import key_of, put

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))

# Never called: each of them runs code or commands that stand in a file or a text.
FORBIDDEN = re.compile(
    r"(pickle|dill|cloudpickle|marshal|shelve|joblib)\.(loads?|Unpickler|open)|"
    r"yaml\.(load|unsafe_load|full_load)(_all)?|(builtins\.)?(eval|exec|compile|__import__)|"
    r"os\.(system|popen)|pandas\.read_pickle|pd\.read_pickle|torch\.(hub\.load|jit\.load|compile)"
)
# What may be called only with this said.
GUARDED = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """All calls in a module, by the names they are called by."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str | None, Any]:
    return {
        one.arg: one.value.value for one in call.keywords if isinstance(one.value, ast.Constant)
    }


def faults(path: Path) -> list[str]:
    """What a module does that lets a file run code."""
    found = []
    for name, call in calls(path):
        place = f"{path.name}:{call.lineno} {name}"
        given = keywords(call)
        if FORBIDDEN.fullmatch(name) or given.get("shell"):
            found.append(place)
        if name in GUARDED:
            keyword, wanted = GUARDED[name]
            if given.get(keyword) is not wanted:
                found.append(f"{place} without {keyword}={wanted}")
    return found


def test_no_file_can_run_code() -> None:
    assert [fault for path in SOURCES for fault in faults(path)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle; pickle.load(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_what_could_run_code_is_found(tmp_path: Path, code: str) -> None:
    (tmp_path / "module.py").write_text(code)
    assert len(faults(tmp_path / "module.py")) == 1


def test_only_the_download_knows_a_network() -> None:
    """Modules of the network are imported by what downloads or looks into its cache."""
    network = {"socket", "ssl", "urllib", "http", "requests", "httpx", "aiohttp", "huggingface_hub"}
    importers = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if {name.partition(".")[0] for name in names} & network:
                importers.add(path.name)
    assert importers == {"download.py", "models.py"}  # which looks into the cache


# ------------------------------------------------------------------- the network


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", None])
def test_this_machine_may_be_reached(host: str | None) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.org", b"example.org"])
def test_another_machine_may_not(host: str | bytes) -> None:
    assert not is_local(host)


def test_connections_are_refused_here_and_in_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not into the file that every test looks at: here the refusals are what is wanted.
    monkeypatch.setenv("NAPARI_SAM3_NETWORK_LOG", str(tmp_path / "log"))
    # A plain type: the class of the guard may be that of the process's own start.
    with socket.socket() as one, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        one.connect(("192.0.2.1", 9))
    with pytest.raises(RuntimeError, match="example"):
        socket.getaddrinfo("example.org", 443)
    code = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "no test may reach another machine" in run.stderr
    assert len((tmp_path / "log").read_text().splitlines()) == 3


# -------------------------------------------------------------------- size limits


@pytest.mark.parametrize("size", [0, 999, 1000])
def test_files_up_to_the_limit_are_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    assert read_bounded(tmp_path / "file", 1000) == b"x" * size


@pytest.mark.parametrize("endless", [False, True])
def test_larger_files_are_refused_without_taking_memory(tmp_path: Path, endless: bool) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file takes no disk
    if endless:
        path = Path("/dev/zero")
        if not path.exists():
            pytest.skip("no endless file here")
    tracemalloc.start()
    with pytest.raises(OSError, match="holds more than 1000 bytes"):
        read_bounded(path, 1000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


def test_a_table_of_prompts_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_files, "MAX_TABLE_BYTES", 50)
    for name in ("table.csv", "table.json"):
        (tmp_path / name).write_text(" " * 51)
        with pytest.raises(PromptError, match="holds more than 50 bytes"):
            prompt_files.read_prompts(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b'{"a":' * 100_000, b"[1]", b"{}", b'{"question": 3}', b"\xff"]
)
def test_a_manifest_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    predictor, output = small_predictor(), tmp_path / "labels.zarr"
    list(segment(stack(1), question("repeated"), predictor, output=output))
    (folders.folder_beside(output) / "manifest.json").write_bytes(content)
    with pytest.raises(BatchError, match="damaged"):
        list(segment(stack(1), question("repeated"), predictor, output=output))


def test_a_manifest_and_its_records_have_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, output = small_predictor(), tmp_path / "labels.zarr"
    list(segment(stack(1), question("repeated"), predictor, output=output))
    again = list(segment(stack(1), question("repeated"), predictor, output=output))
    assert [one.skipped for one in again] == [True]
    monkeypatch.setattr("napari_sam3.batch.unit_records.MAX_RECORD_BYTES", 50)
    again = list(segment(stack(1), question("repeated"), predictor, output=output))
    assert [one.skipped for one in again] == [False], "a record that is too large counts as none"
    monkeypatch.setattr(folders, "MAX_MANIFEST_BYTES", 50)
    with pytest.raises(BatchError, match="damaged"):
        list(segment(stack(1), question("repeated"), predictor, output=output))


def test_a_stored_field_cannot_announce_more_than_its_file_holds(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path)
    put(store, 0)
    file = store.file_of(key_of(0))
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["embedding"]["shape"] = [1, 64, 1 << 22, 1 << 22]
    changed = json.dumps(header).encode()
    file.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + size :])
    assert store.get(key_of(0)) is None
    assert key_of(0) not in store, "and is encoded again"


@pytest.mark.parametrize("content", [b"[" * 100_000, b" " * (store_files.MAX_JSON_BYTES + 1)])
def test_the_metadata_of_a_store_have_a_limit(tmp_path: Path, content: bytes) -> None:
    store = EmbeddingStore(tmp_path / "store")
    put(store, 0)
    store.file_of(key_of(0)).write_bytes(content)
    assert store.about(key_of(0)) is None
    (tmp_path / "store" / "store.json").write_bytes(content)
    with pytest.raises(StoreError):
        EmbeddingStore(tmp_path / "store")


def test_a_short_journal_that_announces_very_many_pixels_is_not_unpacked(tmp_path: Path) -> None:
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    plane = PlaneIndex((1, 2), (0,))
    seed = PlaneMask(0, 0, np.ones((4, 4), bool))
    made = replace(accepted(1, plane, (0, 0, 4, 4)), draft=Draft(1, (), seed))
    journal.append(LabelChange(Operation("accept", plane, (made,)), "do", ()))
    header, line = journal.path.read_bytes().splitlines(keepends=True)
    journal.close(discard=True)
    record: dict[str, Any] = json.loads(line)["body"]
    objects = record["operation"]["objects"]
    objects[0]["draft"]["seed"].update(height=1 << 14, width=1 << 14, runs=[0, 1 << 28])
    objects *= 40
    path = tmp_path / "forged.journal"
    before = encode_line(header[len('{"sum":"12345678","body":') : -2], 0)
    assert before[0] == header
    path.write_bytes(header + encode_line(dump(record, "it"), before[1])[0])
    tracemalloc.start()
    restored = read_journal(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()
    assert restored.damaged
    assert restored.operations == ()


def test_a_journal_is_not_written_beyond_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [change for change, _, _ in changes(0, 3)]
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    journal.append(some[0])
    size = journal.path.stat().st_size
    for name in ("MAX_LINE", "MAX_JOURNAL_BYTES"):
        monkeypatch.setattr(journals, name, 10)
        journal.problem = None
        with pytest.raises(JournalError, match="too large to be read"):
            journal.append(some[1])
        assert journal.path.stat().st_size == size
        monkeypatch.undo()
    monkeypatch.setattr(recovery, "MAX_JOURNAL_BYTES", size - 1)
    with pytest.raises(JournalError, match=f"too large. Expected at most {size - 1} bytes"):
        read_journal(journal.path)
    monkeypatch.undo()
    assert len(read_journal(journal.path).operations) == 1
    journal.close()


def test_json_of_any_depth_is_no_more_than_an_error() -> None:
    from napari_sam3.records.strict import RecordError

    for content in (b"[" * 1_000_000, b"1" * 100_000, b"", b"\xff\xfe"):
        with pytest.raises(RecordError, match="is not valid JSON"):
            parse(content, "it")


def test_other_users_read_no_journal(tmp_path: Path) -> None:
    """Whatever the folder allows, and whatever the process's mask."""
    if os.name != "posix":
        pytest.skip("permissions of POSIX")
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    mask = os.umask(0)
    try:
        journal = Journal(IMAGE, SHAPE, np.int32, folder=folder)
        inner = Journal(IMAGE, SHAPE, np.int32, folder=folder / "a" / "b")
    finally:
        os.umask(mask)
    for path in (journal.path, inner.path):
        assert path.stat().st_mode & 0o077 == 0
    assert inner.path.parent.stat().st_mode & 0o077 == 0
    journal.close()
    inner.close()
