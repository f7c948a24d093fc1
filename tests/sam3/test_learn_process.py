"""Learning in a process of its own: what it is given, what it says, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sam3.test_learn import FEW_STEPS, wide_discs

RUN = (
    "import sys; from pathlib import Path; from sam3.training.learn_process import main; "
    "code = main(Path(sys.argv[1])); print(*sorted({'triton'} & {*sys.modules})); sys.exit(code)"
)
FULL = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder with one image of six objects that the embedded model does not get right."""
    folder = tmp_path / "job"
    folder.mkdir()
    sample = wide_discs(6)
    place = np.argwhere(sample.labels == 1)[0]
    clicks = np.array([[1, place[1], place[0], 1]], np.float32)
    np.savez(folder / "0000.npz", image=sample.image, labels=sample.labels, clicks=clicks)
    given = {"base": "tiny", "device": "cpu", "out": str(tmp_path / "mine.safetensors")}
    settings = FEW_STEPS | {"learning_rate": 1e-2}
    (folder / "job.json").write_text(json.dumps(given | {"settings": settings}))
    return folder


def run(job: Path, before: str = "", end: bool = False) -> tuple[int, list[dict[str, Any]], str]:
    """Run it; returns the exit status, what it said, and the last line. `end`: close its input."""
    with subprocess.Popen(
        [sys.executable, "-c", before + RUN, str(job)],
        stdin=subprocess.DEVNULL if end else subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        *said, last = process.stdout.read().splitlines()
    return process.returncode, [json.loads(line) for line in said], last


@pytest.mark.timeout(400)
def test_it_reports_and_ends_without_compilers(job: Path, tmp_path: Path) -> None:
    code, said, modules = run(job)
    assert code == 0
    assert [line["steps"] for line in said[:-1]] == [1, 2, 3, 4, 5, 6]
    outcome = said[-1]["outcome"]
    assert outcome["path"] == str(tmp_path / "mine.safetensors")
    assert outcome["after"] > outcome["before"]
    assert (tmp_path / "mine.safetensors").exists()
    assert not job.exists()
    assert modules == "", "triton's LLVM crashes a process that draws with Mesa"


@pytest.mark.timeout(400)
def test_it_ends_when_nobody_listens_any_more(job: Path) -> None:
    code, said, _ = run(job, end=True)
    assert code == 0
    assert len(said) <= 3, "it ended early"
    assert "outcome" in said[-1]
    assert not job.exists()


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
def test_a_disk_that_fills_leaves_nothing_behind(job: Path, tmp_path: Path) -> None:
    code, said, _ = run(job, FULL)
    assert code == 2
    assert "mine.safetensors cannot be written: File too large" in said[-1]["error"]
    assert list(tmp_path.iterdir()) == []
