"""Opening and closing the widget again and again leaves nothing of it behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "opening.py"
#: `make soak` does it fifty times.
ROUNDS = int(os.environ.get("NAPARI_SAM3_OPENINGS", "5"))
# Of tens of thousands that an open widget is made of; napari and Qt keep a few names each time.
OBJECTS_A_ROUND = 400
#: Of what the process holds when it is warm, however often the widget was opened.
GROWTH = 0.03


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_opening_and_closing_the_widget(tmp_path: Path) -> None:
    environment = {**os.environ, "NAPARI_CONFIG": "", "XDG_CACHE_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(ROUNDS)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == 1 + ROUNDS
    first, last = found[0], found[-1]
    # The last one may still wait for an event of Qt to let it go.
    for kind in ("sessions", "bindings", "threads"):
        assert last[kind] <= first[kind] + 1, f"{kind}: {first[kind]} to {last[kind]}"
    assert (last["objects"] - first["objects"]) / ROUNDS < OBJECTS_A_ROUND
    assert last["bytes"] < first["bytes"] * (1 + GROWTH), (first["bytes"], last["bytes"])
    assert last["layers"] == first["layers"] == 2
