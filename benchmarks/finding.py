"""Find everything in this build and in another, image by image in turn.

`python -m benchmarks.finding --base ../other-checkout --data real.npz` prints the ratio of the
processor time, of the whole set and of the image that took the other build longest, and the F1 of
both. Each build has a process of its own with one thread, which other programs disturb least.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.automatic import label_plane, match_labels
from benchmarks.model_card import chosen_samples, product_plane
from napari_sam3.inference.automatic.find import AutomaticSettings
from sam3 import load_predictor
from sam3.training.data import load_real

__all__ = ["compare", "main"]

ROOT = Path(__file__).parent.parent


def compare(base: Path, data: Path, every: int = 1) -> Iterator[tuple[list[float], list[float]]]:
    """Yield (seconds, F1, IoU) in the other build and in this one for each held-out image."""
    workers = [_start(tree, data, every) for tree in (base, ROOT)]
    try:
        for _ in range(int(workers[0][1])):
            before, now = (_next(worker) for worker, _ in workers)
            yield before, now
    finally:
        for worker, _ in workers:
            worker.kill()
            worker.communicate()


def _start(tree: Path, data: Path, every: int) -> tuple[subprocess.Popen[str], str]:
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.finding", "--data", str(data.resolve())]
    worker = subprocess.Popen(
        [*command, "--every", str(every)],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    return worker, worker.stdout.readline()


def _next(worker: subprocess.Popen[str]) -> list[float]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    values: list[float] = json.loads(worker.stdout.readline())
    return values


def _serve(data: Path, every: int) -> None:
    """Measure an image for each line on the standard input."""
    import torch

    torch.set_num_threads(1)
    samples = chosen_samples(load_real(data)[1], every)
    predictor = load_predictor(device="cpu")
    label_plane(product_plane(samples[0][1]), predictor, AutomaticSettings())
    print(len(samples), flush=True)
    for (_, sample), _line in zip(samples, sys.stdin, strict=False):
        pixels = product_plane(sample)
        start = time.process_time()
        labels = label_plane(pixels, predictor, AutomaticSettings())
        seconds = time.process_time() - start
        matched = match_labels(sample.labels, labels)
        print(json.dumps([seconds, matched.f1, matched.mean_iou]), flush=True)


def main(argv: list[str] | None = None) -> None:
    """Print the ratios, or measure for the process that compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="checkout of the other build")
    parser.add_argument("--data", type=Path, required=True, help="npz of images, or a folder")
    parser.add_argument("--every", type=int, default=2, help="take every n-th validation image")
    arguments = parser.parse_args(argv)
    if arguments.base is None:
        _serve(arguments.data, arguments.every)
        return
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
