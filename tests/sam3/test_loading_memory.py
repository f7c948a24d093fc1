"""Loading the full-size weights keeps only what a click needs in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sam3.config import get_preset
from sam3.model.click_model import ClickModel
from sam3.weights.keys import official_table, transformers_table

CODE = """
import sys, threading, time
from sam3 import checkpoint

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024

before, peak, done = anonymous(), 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
        time.sleep(0.005)
thread = threading.Thread(target=watch)
thread.start()
model = checkpoint.load(sys.argv[1])
done = True
thread.join()
size = sum(t.nbytes for t in model.state_dict().values())
print((peak - before) / size, sum(t.numel() for t in model.state_dict().values()))
"""


def _write(path: Path, *, official: bool) -> None:
    """Zeros in the released naming, with as much again of what a click does not need."""
    config = get_preset("sam3")
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in ClickModel(config).state_dict().items()}
    table = official_table(config) if official else transformers_table(config)
    state: dict[str, torch.Tensor] = {}
    for name, source in table.items():
        shape = shapes[name]
        if name == "trunk.pos_embed":
            shape = (1, shape[1] * shape[2] + official, shape[3])
        elif len(source.keys) > 1:
            shape = (shape[0] // len(source.keys), *shape[1:])
        state |= {key: torch.zeros(shape) for key in source.keys}
    unneeded = "detector.transformer.all" if official else "detector_model.detr_encoder.all"
    state[unneeded] = torch.zeros(400_000_000)
    if official:
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("official", [True, False], ids=["sam3.pt", "model.safetensors"])
def test_peak_memory_is_little_more_than_the_parameters(tmp_path: Path, official: bool) -> None:
    path = tmp_path / "weights"
    _write(path, official=official)
    try:
        run = subprocess.run(
            [sys.executable, "-c", CODE, str(path)], capture_output=True, text=True, check=True
        )
    finally:
        path.unlink()
    ratio, parameters = map(float, run.stdout.split())
    assert parameters == pytest.approx(458.3e6, rel=0.01)
    assert ratio < 1.3
