"""The viewer is killed at any moment of labelling: nothing accepted is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.layers.journaling import identify_layer
from napari_sam3.records.recovery import find_journals
from sam3.predictor import Predictor
from tests.napari_sam3 import labelling

ROOT = Path(__file__).parents[2]
#: `make faults` kills a hundred times.
KILLS = int(os.environ.get("NAPARI_SAM3_KILLS", "2"))


def label_and_be_killed(folder: Path, seed: int) -> tuple[list[int], bool]:
    """Return the ids that were told last, and whether one was about to be taken back."""
    program = [sys.executable, "-m", labelling.__name__, str(folder), str(seed)]
    with subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == "ready\n"
            time.sleep(random.Random(seed).uniform(0.0, 4.0))
        finally:
            running.kill()
        lines = running.stdout.read().splitlines(keepends=True)
        assert running.wait() == -signal.SIGKILL
    lines = [line for line in lines if line.endswith("\n")]  # half a line was not told
    told = [line for line in lines if line.startswith("ids")]
    ids = [int(one) for one in told[-1].split()[1:]] if told else []
    return ids, bool(lines) and lines[-1] == "taking back\n"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.timeout(120 + 60 * KILLS)
def test_a_viewer_killed_at_any_moment_loses_nothing_that_was_accepted(
    predictor: Predictor, tmp_path: Path
) -> None:
    objects = 0
    for seed in range(KILLS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        ids, taken_back = label_and_be_killed(folder, seed)
        viewer = ViewerModel()
        viewer.add_image(labelling.image())
        with bind(viewer, predictor=predictor) as binding:
            found = find_journals(folder, identify_layer(binding.image))
            if found:
                (crashed,) = found
                binding.restore_labels(crashed.path)
            back = [one.id for one in binding.session.objects]
            if taken_back:
                assert ids[: len(ids) - 1] == back[: len(ids) - 1]
                assert len(back) >= len(ids) - 1
            else:  # one more may have been accepted that was not told yet
                assert back[: len(ids)] == ids
                assert len(back) <= len(ids) + 1
            present = set(np.unique(binding.labels.data)) - {0}
            assert present <= set(back), "and no other label is there"
            objects += len(back)
    assert objects, "something was accepted before the kills"
