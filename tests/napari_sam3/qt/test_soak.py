"""Hours of labelling: memory, threads, callbacks and latency stay what they were."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.napari_sam3 import soaking

ROOT = Path(__file__).parents[3]
#: `make soak` does five thousand; without a number there is nothing to see in the time of a test.
CLICKS = int(os.environ.get("NAPARI_SAM3_CLICKS", "0"))
WARM_UP = 10  # lines, of a hundred clicks each
GROWTH = 0.03
SLOWER = 0.10


@pytest.mark.slow
@pytest.mark.skipif(not CLICKS, reason="takes an hour; make soak sets NAPARI_SAM3_CLICKS")
@pytest.mark.timeout(6 * 3600)
def test_thousands_of_clicks_leave_everything_as_it_was(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", soaking.__name__, str(CLICKS), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NAPARI_CONFIG": "", "XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(run.stdout)
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert lines[-1]["clicks"] > CLICKS - soaking.SPAN
    warm, last = lines[min(WARM_UP, len(lines) // 3)], lines[-1]
    assert last["objects"] > warm["objects"] > 0
    assert last["bytes"] < warm["bytes"] * (1 + GROWTH), (warm, last)
    assert last["threads"] <= warm["threads"]
    assert last["callbacks"] <= warm["callbacks"]
    # In units of the model's own time in the same minute: the machine may have got slower. Of the
    # medians of single hundreds some differ by more than a tenth by chance, hence ten of each.
    for what in ("click_ms", "accept_ms"):
        before, after = (
            statistics.median(line[what] / line["model_ms"] for line in ten)
            for ten in (lines[:10], lines[-10:])
        )
        assert after < before * (1 + SLOWER), (what, before, after)
