"""Fit the rules by which objects end to the part of real stacks that is trained on.

`python -m benchmarks.ending --data FOLDER --out FILE` propagates objects to the ends of their
stacks, as if they never ended, records the evidence on each plane, and fits the weights of
`EndRules` to it.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.propagation import boxes, planes_of, prompts_of
from benchmarks.stacks import Stack, read_stacks
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.evidence import FEATURES
from napari_sam3.inference.tracking.propagate import propagate
from sam3 import Predictor, load_predictor
from sam3.model.memory import Memory
from sam3.weights.load import embedded_weights
from sam3.weights.memory import load_memory

Floats = npt.NDArray[np.float64]
_COLUMNS = ("stack", "object", "plane", "prompted", "shared", "predicted", "true", "volume")
_BEYOND = 6  # planes past an end that weights are fitted to; good rules never reach later ones
_LEAST_IOU = 0.35  # of a mask that counts as the object
_RIDGE = 0.01
_THRESHOLDS = np.arange(0.2, 0.75, 0.05)


@dataclass(frozen=True)
class Recorder(EndRules):
    """Rules by which nothing ends; they keep the features in order."""

    seen: deque[Floats] = field(default_factory=deque)

    def probability(self, features: Floats, *, recalled: bool = False) -> float:
        """Keep the features."""
        self.seen.append(features)
        return 1.0


def collect(number: int, stack: Stack, predictor: Predictor, memory: Memory | None) -> Floats:
    """Return a row for each mask: pixels shared with the truth, of both, and the features."""
    rules = Recorder()
    prompted = {label: plane for label, (plane, _) in boxes(stack).items()}
    rows = []
    for result in propagate(
        planes_of(stack), prompts_of(stack), predictor, memory=memory, rules=rules
    ):
        label, plane, mask = result.object_id, result.plane, result.mask
        if mask.is_empty:
            continue
        features = np.zeros(len(FEATURES)) if result.prompted else rules.seen.popleft()
        truth = stack.labels == label
        shared = mask.to_array(truth.shape[1:]) & truth[plane]
        counts = shared.sum(), mask.area, truth[plane].sum(), truth.sum()
        rows.append([number, label, plane, prompted[label], *counts, *features])
    return np.array(rows, float).reshape(-1, len(_COLUMNS) + len(FEATURES))


def fit(rows: Floats, *, presence: bool) -> Floats:
    """Fit weights and offset of the logit that the object is there, by ridge regression."""
    from scipy.optimize import minimize

    chosen = np.concatenate([part[_near(part)] for one in objects(rows) for part in sides(one)])
    _, _, _, _, shared, predicted, true, _ = chosen.T[: len(_COLUMNS)]
    there = shared / (predicted + true - shared) > _LEAST_IOU
    x = np.column_stack([chosen[:, len(_COLUMNS) :], np.ones(len(chosen))])
    if not presence:
        x[:, FEATURES.index("presence")] = 0
    sign = np.where(there, 1.0, -1.0)
    share = np.where(there, 0.5 / max(1, there.sum()), 0.5 / max(1, (~there).sum()))

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ weights)
        value = (share * np.logaddexp(0, -margin)).sum() + _RIDGE * (weights[:-1] ** 2).sum()
        slope = x.T @ (-share * sign / (1 + np.exp(margin)))
        return float(value), slope + 2 * _RIDGE * np.append(weights[:-1], 0)

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True).x)


def objects(rows: Floats) -> Iterator[Floats]:
    """Yield the rows of each object."""
    for key in np.unique(rows[:, :2], axis=0):
        yield rows[(rows[:, :2] == key).all(1)]


def sides(rows: Floats) -> Iterator[Floats]:
    """Yield the planes of an object after its prompt, and those before it, the nearest first."""
    plane, prompted = rows[:, 2], rows[0, 3]
    for part in (rows[plane > prompted], rows[plane < prompted]):
        yield part[np.abs(part[:, 2] - prompted).argsort()]


def _near(rows: Floats) -> npt.NDArray[np.bool_]:
    """Rows up to a few planes past the object's end."""
    return np.asarray(np.cumsum(rows[:, 6] == 0) <= _BEYOND)


def volume_iou(rows: Floats, weights: Floats, least: float) -> float:
    """Mean IoU of whole volumes, if objects end where the rules say."""
    rules = EndRules(tuple(weights))
    contrast = len(_COLUMNS) + FEATURES.index("contrast")
    found = []
    for one in objects(rows):
        kept = [one[one[:, 2] == one[:, 3]]]
        for part in sides(one):
            chance = np.array([rules.probability(row[len(_COLUMNS) :]) for row in part])
            ended = (chance < least) | (part[:, contrast] < rules.least_contrast)
            kept.append(part[: int(ended.argmax())] if ended.any() else part)
        shared, predicted = np.concatenate(kept)[:, 4:6].sum(0)
        found.append(shared / (predicted + one[0, 7] - shared))
    return float(np.mean(found))


def best_threshold(rows: Floats, weights: Floats) -> float:
    """Return the threshold of the probability with the best volumes."""
    return float(max(_THRESHOLDS, key=lambda least: volume_iou(rows, weights, least)))


def left_out(rows: Floats, *, presence: bool) -> float:
    """Mean IoU of the volumes of each stack, with rules fitted to the other stacks."""
    found = []
    for number in np.unique(rows[:, 0]):
        others, stack = rows[rows[:, 0] != number], rows[rows[:, 0] == number]
        weights = fit(others, presence=presence)
        iou = volume_iou(stack, weights, best_threshold(others, weights))
        found += [iou] * len(np.unique(stack[:, 1]))
    return float(np.mean(found))


def main(argv: list[str] | None = None) -> None:
    """Collect, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="npy of the evidence; read again")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--stacks", type=int, default=3, help="at most so many of each set")
    arguments = parser.parse_args(argv)
    if not arguments.out.exists():
        predictor = load_predictor(arguments.model, device="cpu")
        path = embedded_weights() if arguments.model == "tiny" else arguments.model
        memory = load_memory(path) if arguments.memory else None
        counts: dict[str, int] = {}
        parts: list[Floats] = []
        for stack in read_stacks(arguments.data, "train", arguments.objects):
            if arguments.sets and stack.domain not in arguments.sets:
                continue
            counts[stack.domain] = counts.get(stack.domain, 0) + (len(stack.objects) >= 6)
            if counts[stack.domain] <= arguments.stacks and len(stack.objects) >= 6:
                parts.append(collect(len(parts), stack, predictor, memory))
                print(stack.name, len(parts[-1]), flush=True)
        np.save(arguments.out, np.concatenate(parts))
    rows = np.load(arguments.out)
    weights = fit(rows, presence=arguments.memory)
    least = best_threshold(rows, weights)
    print(f"volume IoU {volume_iou(rows, weights, least):.3f}; "
          f"left out {left_out(rows, presence=arguments.memory):.3f}")  # fmt: skip
    weights[-1] -= np.log(least / (1 - least))  # so that the threshold is an even chance
    for name, value in zip((*FEATURES, "1"), weights, strict=True):
        print(f"{value:8.3f}  {name}")
    print(tuple(round(float(value), 3) for value in weights))


if __name__ == "__main__":
    main()
