"""Journals and the disk: limits, folders of any name, full disks, interrupted writes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sam3.core.operations import LabelChange, Operation
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.identity import ImageIdentity
from napari_sam3.records.folder import default_folder, journals_in
from napari_sam3.records.journal import Journal, JournalError
from napari_sam3.records.recovery import find_journals, read_journal
from tests.napari_sam3.journal_writer import IMAGE, SHAPE, accepted, changes
from tests.napari_sam3.records.test_journal import (
    POSIX,
    crashed,
    ids,
    rebuilt,
    written,
)


def test_the_oldest_abandoned_journals_make_room_and_those_in_use_stay(tmp_path: Path) -> None:
    used = written(tmp_path, 1, 40)
    size = used.path.stat().st_size
    os.utime(used.path, (1e8, 1e8))  # the oldest of all, but in use
    left = [crashed(written(tmp_path, seed, 40)) for seed in (2, 3, 4)]
    for path in journals_in(tmp_path):
        if path not in (used.path, *left):
            path.unlink()
    for age, path in enumerate(left):
        os.utime(path, (1e9 + age, 1e9 + age))
    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path, limit_bytes=int(3.5 * size))
    assert [path.exists() for path in left] == [False, True, True]
    for seed in range(3):
        for change, _, _ in changes(seed, 40):
            journal.append(replace(change, direction="do"))
    assert [path.exists() for path in left] == [False, False, False]
    assert used.path.exists()
    assert journal.path.exists()
    assert not read_journal(journal.path).damaged


@pytest.mark.parametrize("name", ["Zürich 細胞 🔬", "n" * 255, "/".join(["d" * 200] * 12)])
def test_folders_of_any_name_hold_journals(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    image = ImageIdentity("細" * 255, SHAPE, "uint16", "Ω/\\:" * 50 + "\udcff")
    journal = Journal(image, SHAPE, np.int32, folder=folder)
    for change, _, _ in changes(0, 5):
        journal.append(change)
    path = crashed(journal)
    assert [one.path for one in find_journals(folder, image)] == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "deep", tmp_path / ("n" * 256)):
        with pytest.raises(JournalError, match="no journal can be kept in"):
            Journal(IMAGE, SHAPE, np.int32, folder=folder)
    with pytest.raises(JournalError, match="no journal can be kept in"):
        Journal(replace(IMAGE, digest="x" * 5000), SHAPE, np.int32, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@POSIX
def test_a_full_disk_is_reported_once_and_keeps_what_was_written(tmp_path: Path) -> None:
    import resource

    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    all_changes = list(changes(5, 30))
    for change, _, _ in all_changes[:9]:
        journal.append(change)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = journal.path.stat().st_size
    # The next line is cut in its middle.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, before[1]))
    try:
        with pytest.raises(JournalError, match="cannot be written: File too large"):
            journal.append(all_changes[9][0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert journal.path.stat().st_size == size
    for change, _, _ in all_changes[10:]:
        journal.append(change)
    assert journal.path.stat().st_size == size
    assert isinstance(journal.problem, JournalError)
    assert find_journals(tmp_path, IMAGE) == []  # still held
    journal.close()
    (found,) = find_journals(tmp_path, IMAGE)
    restored = read_journal(found.path)
    assert not restored.damaged
    np.testing.assert_array_equal(rebuilt(restored), all_changes[8][1])
    assert ids(restored) == all_changes[8][2]


@POSIX
def test_a_disk_that_is_full_from_the_start_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(JournalError, match="cannot be written"):
            Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@POSIX
@pytest.mark.skipif(
    "COVERAGE_PROCESS_CONFIG" in os.environ, reason="coverage's own lock stays shut if interrupted"
)
def test_a_change_interrupted_by_a_signal_does_no_harm_to_those_after_it(tmp_path: Path) -> None:
    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    journal = Journal(IMAGE, SHAPE, np.int32, folder=tmp_path)
    change = next(changes(0, 1))[0]
    random, finished, interrupted = np.random.default_rng(0), 1, 0
    journal.append(change)
    began = time.perf_counter()
    for _ in range(5):
        journal.append(change)
        finished += 1
    usual = (time.perf_counter() - began) / 5
    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # raised in a callback of the collector (hypothesis has one), it would be lost
    try:
        for _ in range(150):
            delay = float(random.uniform(2e-5, 2 * usual))
            try:  # from here on: on a busy machine the signal comes before the next line
                signal.setitimer(signal.ITIMER_REAL, delay)
                journal.append(change)
                signal.setitimer(signal.ITIMER_REAL, 0)
                finished += 1
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    journal.append(change)
    restored = read_journal(journal.path)
    assert interrupted > 0
    assert not restored.damaged
    assert finished + 1 <= len(restored.operations) <= finished + 1 + interrupted


def test_a_change_that_cannot_be_stored_ends_the_journal(tmp_path: Path) -> None:
    journal = written(tmp_path, count=3)
    plane = PlaneIndex((1, 2), (0,))
    bad = replace(accepted(1, plane, (0, 0, 1, 1)), score=float("nan"))
    with pytest.raises(JournalError, match="finite number"):
        journal.append(LabelChange(Operation("accept", plane, (bad,)), "do", ()))
    journal.append(next(changes(0, 1))[0])
    assert len(journal.path.read_bytes().splitlines()) == 4


def test_the_default_folder_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder().name == "journals"
    if sys.platform == "linux":
        assert default_folder() == tmp_path / "napari-sam3" / "journals"
        journal = Journal(IMAGE, SHAPE, np.int32)
        journal.append(next(changes(0, 1))[0])
        journal.close()
        assert len(find_journals(None, IMAGE)) == 1
