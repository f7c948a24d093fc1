"""Batches that are killed, run out of disk, or lose a worker: nothing is lost, nothing is wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.batch import BatchControl, BatchError, segment
from napari_sam3.batch.output import folder_beside
from sam3.predictor import Predictor
from tests.napari_sam3 import batch_samples
from tests.napari_sam3.batch_samples import MODES, PLANES, pixels, question, stack

ROOT = Path(__file__).parents[3]
# More for a long search for faults; a few in each run of the tests.
KILLS = int(os.environ.get("NAPARI_SAM3_KILLS", "4"))
MANY_PLANES = int(os.environ.get("NAPARI_SAM3_PLANES", "300"))


def start(folder: Path, output: Path, name: str) -> subprocess.Popen[str]:
    np.save(folder / "image.npy", stack())
    image = str(folder / "image.npy")
    program = [sys.executable, "-m", batch_samples.__name__, image, str(output), name]
    running = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    return running


def expected(predictor: Predictor, folder: Path, name: str) -> npt.NDArray[Any]:
    list(segment(stack(), question(name), predictor, output=folder / "whole.zarr"))
    return pixels(folder / "whole.zarr")


def test_a_batch_killed_at_any_moment_goes_on_to_the_same_labels(
    predictor: Predictor, tmp_path: Path
) -> None:
    moments, kills = random.Random(KILLS), 0
    for kill in range(KILLS):
        name = MODES[kill % len(MODES)]
        folder = tmp_path / str(kill)
        folder.mkdir()
        wanted = expected(predictor, folder, name)
        output, told = folder / "labels.zarr", set[str]()
        for _ in range(2):
            running = start(folder, output, name)
            time.sleep(moments.uniform(0.0, 4.0 if name == "automatic" else 1.0))
            running.kill()
            lines = running.communicate()[0].splitlines()
            # Cut off in the middle of a line, which counts as not told.
            told |= {line.split()[0] for line in lines if len(line.split()) == 2}
            kills += running.returncode == -signal.SIGKILL
        results = list(segment(stack(), question(name), predictor, output=output))
        skipped = {str(result.position[0]) for result in results if result.skipped}
        assert told <= skipped, "what was told is done"
        np.testing.assert_array_equal(pixels(output), wanted)
        assert not list(folder_beside(output).rglob("*.partial")), "what was in hand is gone"
    assert kills, "some were killed in the middle"


@pytest.mark.parametrize("at", ["begun", "whole", "overwritten"])
def test_files_that_were_cut_off_are_deleted_wherever_the_batch_was_killed(
    predictor: Predictor, tmp_path: Path, at: str
) -> None:
    output = tmp_path / "labels.zarr"
    mode = question("repeated")
    if at != "begun":
        list(segment(stack(), mode, predictor, output=output))
    folder = folder_beside(output)
    left = [folder / ".1a.partial", folder / "forward" / ".2b.partial"]
    for partial in left:
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(b"half of a manifest")
    list(segment(stack(), mode, predictor, output=output, overwrite=at == "overwritten"))
    assert not any(partial.exists() for partial in left)
    assert pixels(output).any()


def test_a_batch_cancelled_at_any_moment_goes_on_to_the_same_labels(
    predictor: Predictor, tmp_path: Path
) -> None:
    import threading

    moments = random.Random(-KILLS)
    for number in range(KILLS):
        name = MODES[number % len(MODES)]
        folder = tmp_path / str(number)
        folder.mkdir()
        wanted = expected(predictor, folder, name)
        control = BatchControl()
        timer = threading.Timer(moments.uniform(0.0, 1.0), control.cancel)
        timer.start()
        output = folder / "labels.zarr"
        list(segment(stack(), question(name), predictor, output=output, control=control))
        timer.cancel()
        timer.join()
        list(segment(stack(), question(name), predictor, output=output))
        np.testing.assert_array_equal(pixels(output), wanted)


FULL_DISK = """
import resource, sys
import numpy as np
import numpy.typing as npt
from napari_sam3.batch import BatchError, segment
from tests.napari_sam3.batch_samples import question, small_predictor

image, predictor = np.load(sys.argv[1]), small_predictor()
results = segment(image, question("repeated"), predictor, output=sys.argv[2])
done = [next(results)]
# A record of a plane of 60 x 80 px may have so many bytes and no more.
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    done += results
except BatchError as error:
    print(len(done), error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("limit", [10, 400])
def test_a_full_disk_ends_a_batch_with_a_message_and_it_goes_on_later(
    limit: int, predictor: Predictor, tmp_path: Path
) -> None:
    wanted = expected(predictor, tmp_path, "repeated")
    np.save(tmp_path / "image.npy", stack())
    output = tmp_path / "labels.zarr"
    image = tmp_path / "image.npy"
    program: list[Any] = [sys.executable, "-c", FULL_DISK, image, output, str(limit)]
    told = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    count, _, message = told.partition(" ")
    assert 1 <= int(count) < PLANES
    assert "cannot be written: File too large" in message
    assert "run the same command again to resume" in message
    assert not list(folder_beside(output).rglob("*.partial"))
    results = list(segment(stack(), question("repeated"), predictor, output=output))
    assert sum(result.skipped for result in results) >= int(count)
    np.testing.assert_array_equal(pixels(output), wanted)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_may_not_be_written_is_refused_at_once(
    predictor: Predictor, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BatchError, match="cannot be written"):
            next(segment(stack(), question("placed"), predictor, output=tmp_path / "a.zarr"))
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_planes(
    predictor: Predictor, tmp_path: Path
) -> None:
    import psutil

    process, planes = psutil.Process(), MANY_PLANES
    image = np.broadcast_to(stack(1)[0], (planes, 60, 80))
    sizes = []
    for result in segment(image, question("repeated"), predictor, output=tmp_path / "a.zarr"):
        if result.position[0] in (planes // 10, planes - 1):
            sizes.append(process.memory_info().rss)
    assert sizes[1] < 1.05 * sizes[0]
