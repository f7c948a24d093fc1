"""Propagation killed at any plane: what was written is restored, plane by plane."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_sam3.layers.journaling import identify_layer
from napari_sam3.records.recovery import find_journals
from tests.napari_sam3 import propagating

ROOT = Path(__file__).parents[3]
#: `make faults` kills a hundred times.
KILLS = int(os.environ.get("NAPARI_SAM3_KILLS", "1"))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.timeout(120 + 60 * KILLS)
def test_what_was_propagated_before_a_kill_is_restored(tmp_path: Path) -> None:
    states = propagating.states()
    assert len({state.tobytes() for state in states}) > 5, "plane by plane"
    for seed in range(KILLS):
        folder = tmp_path / str(seed)
        program = [sys.executable, "-m", propagating.__name__, str(folder)]
        with subprocess.Popen(
            program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            told = len(running.stdout.read(random.Random(seed).randrange(1, len(states))))
            running.send_signal(signal.SIGKILL)
            told += running.stdout.read().count(".")
        with propagating.open_labels() as binding:
            (crashed,) = find_journals(folder, identify_layer(binding.image))
            binding.restore_labels(crashed.path)
            back = binding.labels.data
            later = [np.array_equal(back, state) for state in states[told - 1 :]]
            assert any(later), f"killed after state {told} of {len(states)}"
            # It is labelled on, and taken back as one step.
            binding.undo()
            assert not binding.labels.data.any()
