"""Measure what learning from a few labels gains on the other images of a set.

`python -m benchmarks.learning --data DOMAINS --set phase_t98g --model WEIGHTS` learns from 30
objects on three training images of a set, and clicks on the objects of its validation images before
and after, in the way of the product. The weights should not have been trained on the set.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.model_card import ask_product, chosen_samples, mask_overlap, objects_of
from benchmarks.model_card import product_plane as plane_of
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.cache import EmbeddingCache
from sam3 import Predictor, load_predictor
from sam3.training.data import Sample, load_real
from sam3.training.learn import LearnProgress, LearnSettings, learn
from sam3.training.prompts import central_point

__all__ = ["few_objects", "main", "measure_learning"]

HEAD = (
    "| set, left out of the base's training | objects learnt from | other images, objects | "
    "click before | after | gain | best of three before | after | steps | "
    "seconds (of all cores) | load |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Clicks:
    """Mean IoU of one click on each object: of the mask scored best, and of the best of three."""

    objects: int
    scored: float
    best: float


def main(argv: Sequence[str] | None = None) -> None:
    """Learn and print a row for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz of real images, or a folder")
    parser.add_argument("--model", default="tiny", help="base weights")
    parser.add_argument("--set", nargs="+", required=True, dest="sets", help="sets to learn")
    parser.add_argument("--images", type=int, default=3, help="images to learn from")
    parser.add_argument("--objects", type=int, default=30, help="objects to learn from")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, help="fixed number of steps, whatever they take")
    parser.add_argument("--measured", type=int, default=8, help="objects measured in each image")
    parser.add_argument("--adapter", type=Path, help="where to keep the last adapter")
    arguments = parser.parse_args(argv)
    settings = LearnSettings(minutes=arguments.minutes, steps=arguments.steps)
    train, validation = load_real(arguments.data)
    print(HEAD, flush=True)
    for name in arguments.sets:
        chosen = [sample for _, sample in chosen_samples(train, 1, arguments.images, [name])]
        others = [sample for _, sample in chosen_samples(validation, 1, 8, [name])]
        samples = few_objects(chosen, arguments.objects)
        print(
            measure_learning(
                name, samples, others, arguments.model, settings, arguments.measured,
                arguments.adapter,
            ),
            flush=True,
        )  # fmt: skip


def few_objects(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Keep the labels of a few objects of each image, as somebody who has labelled a little."""
    kept = []
    for place, sample in enumerate(samples):
        share = count // len(samples) + (place < count % len(samples))
        areas = np.bincount(sample.labels.ravel())
        ids = [int(i) for i in np.flatnonzero(areas >= 80) if i > 0]
        step = max(1.0, len(ids) / share)
        some = [ids[int(i * step)] for i in range(min(share, len(ids)))]
        labels = np.where(np.isin(sample.labels, some), sample.labels, 0)
        kept.append(replace(sample, labels=labels.astype(np.int32)))
    return kept


def measure_learning(
    name: str,
    samples: Sequence[Sample],
    others: Sequence[Sample],
    base: str,
    settings: LearnSettings,
    measured: int,
    keep: Path | None = None,
) -> str:
    """Learn from samples, click on the objects of other images, and return a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = keep or Path(folder) / "learnt.safetensors"
        if base != "tiny" and not (path.parent / Path(base).name).exists():
            (path.parent / Path(base).name).symlink_to(Path(base).resolve())
        before = clicks(load_predictor(base), others, measured)
        started, worked = time.monotonic(), time.process_time()
        told = [0.0]

        def report(progress: LearnProgress) -> bool:
            if progress.best != told[0]:
                told[0] = progress.best
                print(
                    f"  step {progress.steps}: {progress.before:.3f} -> {progress.best:.3f}",
                    flush=True,
                )
            return True

        outcome = learn(samples, path, base=base, settings=settings, progress=report)
        seconds, work = time.monotonic() - started, time.process_time() - worked
        after = clicks(load_predictor(outcome.path), others, measured) if outcome.path else before
    learnt = outcome.objects + outcome.kept_aside
    return (
        f"| {name} | {learnt} on {len(samples)} images | {len(others)}, {before.objects} | "
        f"{before.scored:.3f} | {after.scored:.3f} | {after.scored - before.scored:+.3f} | "
        f"{before.best:.3f} | {after.best:.3f} | {outcome.steps} | {seconds:.0f} ({work:.0f}) | "
        f"{os.getloadavg()[0]:.1f} |"
    )


def clicks(predictor: Predictor, samples: Sequence[Sample], measured: int) -> Clicks:
    """Click once in the middle of objects of images, in the way of the product."""
    scored, best = [], []
    for sample in samples:
        plane, cache = plane_of(sample), EmbeddingCache()
        for mask in objects_of(sample, measured):
            prompts = PromptSet.from_arrays(central_point(mask)[None], [1])
            found = ask_product(plane, prompts, predictor, cache)
            scored.append(mask_overlap(found.mask.to_array(mask.shape), mask))
            best.append(
                max(mask_overlap(c.mask.to_array(mask.shape), mask) for c in found.candidates)
            )
    return Clicks(len(scored), float(np.mean(scored)), float(np.mean(best)))


if __name__ == "__main__":
    main()
