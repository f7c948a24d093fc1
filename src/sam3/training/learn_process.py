"""Learning in a process of its own: ``python -m sam3.training.learn_process FOLDER``.

`FOLDER` holds ``job.json`` (base, device, out, and settings by name) and npz files with ``image``,
``labels`` and ``clicks``. Each line of the standard output is a JSON object: progress, and at the
end ``outcome`` or ``error``. Learning stops early, and keeps its best state, when the standard
input ends, as it does when the parent process is gone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sam3.errors import Sam3Error
from sam3.training.learn import LearnProgress, LearnSettings, learn
from sam3.training.sources import Sample

__all__ = ["main", "read_samples"]

_POLITE = 10  # niceness, so that the viewer stays responsive


def main(folder: Path) -> int:
    """Learn, report on the standard output, and remove the folder; return the exit status."""
    stopped = threading.Event()
    threading.Thread(target=_await_end, args=(stopped,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(_POLITE)

    def report(progress: LearnProgress) -> bool:
        _say(asdict(progress))
        return not stopped.is_set()

    try:
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        outcome = learn(
            read_samples(folder),
            Path(job["out"]),
            base=job["base"],
            device=job["device"],
            settings=LearnSettings(**job["settings"]),
            progress=report,
        )
    except Sam3Error as error:
        _say({"error": str(error)})
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _say({"outcome": {**asdict(outcome), "path": outcome.path and os.fspath(outcome.path)}})
    return 0


def read_samples(folder: Path) -> list[Sample]:
    """Read the npz files of a folder.

    Each has ``image`` (H, W, 3) uint8, ``labels`` (H, W) and ``clicks`` (N, 4): label, x, y and
    polarity, in the order of clicking.
    """
    samples = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            image, labels, made = file["image"], file["labels"], file["clicks"]
        clicks = {
            int(label): np.asarray(made[made[:, 0] == label, 1:], np.float32)
            for label in np.unique(made[:, 0])
        }
        samples.append(Sample(image, labels, path.stem, "learnt", "learnt", False, clicks))
    return samples


def _await_end(stopped: threading.Event) -> None:
    # Not through a buffer, whose lock would be held while the interpreter shuts down.
    while os.read(sys.stdin.fileno(), 1):
        pass
    stopped.set()


def _say(content: dict[str, Any]) -> None:
    try:
        print(json.dumps(content), flush=True)
    except OSError:  # the parent process is gone, and with it the standard input
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
