"""Find everything in this build and in another, image by image in turn.

`python -m benchmarks.finding --base ../other-checkout --data real.npz` prints the ratio of the
processor time, of the whole set and of the image that took the other build longest, and the F1 of
both. Each build has a process of its own with one thread, which other programs disturb least, and
its own weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.model_card import chosen_samples, product_plane
from sam3.training.data import load_real

__all__ = ["compare", "main"]

ROOT = Path(__file__).parent.parent


def compare(base: Path, data: Path, every: int = 1) -> Iterator[tuple[list[float], list[float]]]:
    """Yield (seconds, F1, IoU) in the other build and in this one for each held-out image."""
    samples = [sample for _, sample in chosen_samples(load_real(data)[1], every)]
    arrays: dict[str, Any] = {
        f"{n}_pixels": product_plane(sample) for n, sample in enumerate(samples)
    }
    arrays |= {f"{n}_labels": sample.labels for n, sample in enumerate(samples)}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        np.savez(images, **arrays)
        workers = [_start(tree.resolve(), images) for tree in (base, ROOT)]
        try:
            for _ in samples:
                before, now = (_next(worker) for worker in workers)
                yield before, now
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()


def _start(tree: Path, images: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(tree / "src"), str(tree)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("finding_part.py")
    # Without -P, the folder of the script would come before the standard library.
    worker = subprocess.Popen(
        [sys.executable, "-P", str(script), str(images)],
        cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    worker.stdout.readline()
    return worker


def _next(worker: subprocess.Popen[str]) -> list[float]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    values: list[float] = json.loads(worker.stdout.readline())
    return values


def main(argv: list[str] | None = None) -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="checkout of the other build")
    parser.add_argument("--data", type=Path, required=True, help="npz of images, or a folder")
    parser.add_argument("--every", type=int, default=2, help="take every n-th validation image")
    arguments = parser.parse_args(argv)
    pairs = np.array(list(compare(arguments.base, arguments.data, arguments.every)))
    before, now = pairs[:, 0], pairs[:, 1]
    longest = int(before[:, 0].argmax())
    print(f"{len(pairs)} images, processor time, this build / the other")
    print(f"all: {now[:, 0].sum() / before[:, 0].sum():.3f}")
    print(f"longest: {now[longest, 0] / before[longest, 0]:.3f}")
    for name, column in (("F1", 1), ("mean matched IoU", 2)):
        print(f"{name}: {now[:, column].mean():.4f}, the other {before[:, column].mean():.4f}")


if __name__ == "__main__":
    main()
