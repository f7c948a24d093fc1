"""Journals: what was reported as written outlives the process, whatever ends it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.operations import LabelChange, LabelWrite, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.records.folder import journals_in
from napari_sam3.records.journal import Journal, JournalError
from napari_sam3.records.locks import is_held
from napari_sam3.records.recovery import Restored, discard_journal, find_journals, read_journal
from tests.napari_sam3.journal_writer import IMAGE, SHAPE, changes
from tests.napari_sam3.record_samples import same

WRITER = Path(__file__).parents[1] / "journal_writer.py"
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def rebuilt(restored: Restored) -> npt.NDArray[Any]:
    labels = np.zeros(SHAPE, np.int32)

    def write(key: Any, region: tuple[slice, slice], values: npt.NDArray[Any]) -> None:
        labels[key.slices(*region)] = values

    restored.apply(write)
    return labels


def ids(restored: Restored) -> tuple[int, ...]:
    return tuple(one.id for one in restored.objects)


def written(folder: Path, seed: int = 0, count: int = 12, side: int = 30) -> Journal:
    journal = Journal(IMAGE, SHAPE, np.int32, folder=folder)
    for change, _, _ in changes(seed, count, side):
        journal.append(change)
    return journal


def crashed(journal: Journal) -> Path:
    """Leave a copy of a journal such as a killed process would leave."""
    path = journal.path.with_name(journal.path.name.replace(".journal", "-crashed.journal"))
    shutil.copy(journal.path, path)
    return path


@contextmanager
def writing_process(folder: Path, seed: int, count: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(folder), str(seed), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("held")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("seed", range(8))
def test_everything_comes_back_after_each_change(tmp_path: Path, seed: int) -> None:
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    operations: list[Operation] = []
    undone: list[Operation] = []
    for change, labels, present in changes(seed, 25):
        journal.append(change)
        if change.direction == "do":
            operations.append(change.operation)
            undone.clear()
        elif change.direction == "undo":
            undone.append(operations.pop())
        else:
            operations.append(undone.pop())
        restored = read_journal(journal.path)
        assert same(restored.operations, tuple(operations))
        assert ids(restored) == present
        np.testing.assert_array_equal(rebuilt(restored), labels)
    assert not restored.damaged
    assert not restored.closed
    assert restored.header is not None
    assert same(restored.header.image, IMAGE)
    assert (restored.header.shape, restored.header.dtype) == (SHAPE, "int32")
    assert restored.header.start == "empty"
    journal.close()
    assert read_journal(journal.path).closed


@POSIX
@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_loses_nothing_that_it_had_reported(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    with writing_process(tmp_path, seed, 5000) as process:
        assert process.stdout is not None
        reported = "".join(process.stdout.readline() for _ in range(int(random.integers(1, 60))))
        time.sleep(random.random() / 50)
        process.kill()  # SIGKILL
        reported += process.stdout.read()
    (path,) = journals_in(tmp_path)
    restored = read_journal(path)
    assert not restored.damaged
    assert not restored.closed
    counts = [(len(restored.objects), len(restored.operations))] if restored.operations else []
    assert [(one.objects, one.operations) for one in find_journals(tmp_path, IMAGE)] == counts
    # The last change may be on the disk without having been reported.
    lines = path.read_bytes().count(b"\n") - 1
    assert lines - 1 <= int(reported.split()[-1]) <= lines
    *_, (_, labels, present) = changes(seed, lines)
    np.testing.assert_array_equal(rebuilt(restored), labels)
    assert ids(restored) == present


def test_cut_at_any_byte_it_tells_the_changes_before_that(tmp_path: Path) -> None:
    content = crashed(written(tmp_path, count=4, side=4)).read_bytes()
    after = [(labels, present) for _, labels, present in changes(0, 4, 4)]
    after.insert(0, (np.zeros(SHAPE, np.int32), ()))
    path = tmp_path / "cut.journal"
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        restored = read_journal(path)
        assert not restored.damaged
        lines = content[:length].count(b"\n")
        assert (restored.header is None) == (lines == 0)
        labels, present = after[max(0, lines - 1)]
        np.testing.assert_array_equal(rebuilt(restored), labels)
        assert ids(restored) == present


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_damaged_byte_ends_reading_there_and_keeps_what_was_before(data: st.DataObject) -> None:
    content = SMALL.content
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[at]))
    line = content[:at].count(b"\n")
    SMALL.path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
    if line == 0:
        with pytest.raises(JournalError):
            read_journal(SMALL.path)
        return
    restored = read_journal(SMALL.path)
    np.testing.assert_array_equal(rebuilt(restored), SMALL.labels[line - 1])
    last_end = at == len(content) - 1  # without it the last line is torn, not damaged
    assert restored.damaged != last_end


class Small:
    """A small journal, made once for all examples."""

    content: bytes
    path: Path
    labels: list[npt.NDArray[Any]]


SMALL = Small()


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("small")
    SMALL.content = crashed(written(folder, count=6, side=4)).read_bytes()
    SMALL.path = folder / "damaged.journal"
    SMALL.labels = [np.zeros(SHAPE, np.int32), *(labels for _, labels, _ in changes(0, 6, 4))]


def test_lines_lost_doubled_or_exchanged_in_the_middle_are_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = SMALL.content.splitlines(keepends=True)
    path = tmp_path / "j.journal"
    for order in ([0, 1, 3, 4], [0, 1, 1, 2], [0, 1, 3, 2, 4]):
        path.write_bytes(b"".join(lines[i] for i in order))
        caplog.clear()
        restored = read_journal(path)
        assert restored.damaged
        np.testing.assert_array_equal(rebuilt(restored), SMALL.labels[1])
        assert re.search("lost everything after line [23]", caplog.text)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n", b"{}\n", b'{"sum":"00000000","body":{"format":"x', b"a" * 99]
)
def test_what_is_no_journal_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.journal"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"some\.journal"):
        read_journal(path)
    with pytest.raises(JournalError, match="Check that it exists"):
        read_journal(tmp_path / "none.journal")


def test_a_journal_in_use_is_not_offered_and_one_left_behind_is(tmp_path: Path) -> None:
    with writing_process(tmp_path, 1, 20) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "20\n":
            pass
        (path,) = journals_in(tmp_path, IMAGE)
        assert is_held(path)
        assert find_journals(tmp_path, IMAGE) == []
        assert not discard_journal(path)
    (found,) = find_journals(tmp_path, IMAGE)
    assert found.path == path
    assert not is_held(path)
    assert discard_journal(path)
    assert discard_journal(path)
    assert find_journals(tmp_path, IMAGE) == []


def test_two_processes_and_this_one_write_on_one_image_without_harm(tmp_path: Path) -> None:
    with (
        writing_process(tmp_path, 1, 40) as one,
        writing_process(tmp_path, 2, 40) as other,
    ):
        mine = written(tmp_path, 3, 40)
        for process in (one, other):
            assert process.stdout is not None
            while process.stdout.readline() != "40\n":
                pass
        assert len(journals_in(tmp_path, IMAGE)) == 3
        assert find_journals(tmp_path, IMAGE) == []
    found = find_journals(tmp_path, IMAGE)
    assert len(found) == 2
    assert mine.path not in [one.path for one in found]
    for seed in (1, 2):
        *_, (_, labels, _) = changes(seed, 40)
        assert any(np.array_equal(rebuilt(read_journal(one.path)), labels) for one in found)


def test_journals_are_offered_for_their_image_only_newest_first(tmp_path: Path) -> None:
    assert find_journals(tmp_path / "nothing", IMAGE) == []
    another = replace(IMAGE, digest="another")
    old = crashed(written(tmp_path, 1))
    new = crashed(written(tmp_path, 2))
    os.utime(old, (1e9, 1e9))
    (tmp_path / "unrelated.txt").write_text("")
    renamed = replace(IMAGE, name="renamed since")
    assert [one.path for one in find_journals(tmp_path, renamed)] == [new, old]
    assert find_journals(tmp_path, renamed)[1].time.isoformat() == "2001-09-09T01:46:40+00:00"
    assert find_journals(tmp_path, another) == []


def test_a_journal_that_cannot_be_read_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = crashed(written(tmp_path))
    bad = good.with_name(good.name.replace("-crashed", "-damaged"))
    bad.write_bytes(b"\x00" * 100 + b"\n")
    assert [one.path for one in find_journals(tmp_path, IMAGE)] == [good]
    assert bad.name in caplog.text


def test_closing_discards_when_asked_or_when_nothing_was_written(tmp_path: Path) -> None:
    kept, discarded = written(tmp_path, 1), written(tmp_path, 2)
    empty = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    kept.close()
    discarded.close(discard=True)
    empty.close()
    assert list(tmp_path.iterdir()) == [kept.path]
    assert [(one.path, one.closed) for one in find_journals(tmp_path, IMAGE)] == [(kept.path, True)]
    kept.close(discard=True)  # closed already
    assert kept.path.exists()
    with pytest.raises(JournalError, match="is closed"):
        kept.append(next(changes(0, 1))[0])


def test_undone_history_leaves_nothing_to_offer(tmp_path: Path) -> None:
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    change = next(changes(0, 1))[0]
    journal.append(change)
    zeros = replace(change.writes[0], values=np.zeros_like(change.writes[0].values))
    journal.append(LabelChange(change.operation, "undo", (zeros,)))
    crashed(journal)
    assert find_journals(tmp_path, IMAGE) == []
    journal.append(LabelChange(change.operation, "redo", change.writes))
    crashed(journal)
    assert [one.operations for one in find_journals(tmp_path, IMAGE)] == [1]


def test_an_operation_from_before_the_journal_may_be_undone_and_redone(tmp_path: Path) -> None:
    journal = Journal(IMAGE, SHAPE, np.int32, start="digest of mine", folder=tmp_path)
    old, new = (change for change, _, _ in changes(0, 2))
    for direction in ("undo", "redo", "undo", "redo"):
        journal.append(LabelChange(old.operation, direction, old.writes))
    journal.append(replace(new, direction="do"))
    restored = read_journal(journal.path)
    assert not restored.damaged
    assert restored.header is not None
    assert restored.header.start == "digest of mine"
    assert same(restored.operations, (new.operation,))
    assert len(list(restored.writes())) == 5


def test_a_stroke_is_written_once_and_a_key_is_made_by_the_reader(tmp_path: Path) -> None:
    plane = PlaneIndex((1, 2), (0,))
    values = np.random.default_rng(0).integers(0, 9, (60, 60))
    write = LabelWrite(plane, (slice(0, 60), slice(0, 60)), values)
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    start = journal.path.stat().st_size
    journal.append(LabelChange(Operation("paint", plane, writes=(write,)), "do", (write,)))
    once = journal.path.stat().st_size - start
    journal.append(LabelChange(Operation("paint", plane, writes=(write,)), "do", (replace(write),)))
    assert journal.path.stat().st_size - start > 2.5 * once
    restored = read_journal(journal.path, lambda index: ("mine", index))
    assert [one.plane for one in restored.writes()] == [("mine", plane)] * 2
    assert [one.plane for one in restored.operations] == [("mine", plane)] * 2
    assert all(same(one.values, values) for one in restored.writes())


@POSIX
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "journals"
    journal = written(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
