"""Collect the evidence by which objects end, on the part of real stacks that is trained on.

`python -m benchmarks.ending --data FOLDER --out FILE` follows objects to the ends of their stacks,
as if they never ended, and fits the weights of `EndRules` to what is seen.
"""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.propagation import overlap, planes_of, prompts_of
from benchmarks.stacks import Stack, read_stacks
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.evidence import FEATURES
from napari_sam3.inference.tracking.propagate import propagate
from sam3 import Predictor, load_predictor
from sam3.model.memory import Memory
from sam3.weights.memory import load_memory

Floats = npt.NDArray[np.float64]
_BEYOND = 6  # planes past an end; what comes later is never reached by good rules


@dataclass(frozen=True)
class Recorder(EndRules):
    """Rules by which nothing ends; they keep what they are shown, in order."""

    seen: deque[Floats] = field(default_factory=deque)

    def probability(self, features: Floats) -> float:
        """Keep the features."""
        self.seen.append(features)
        return 1.0


def collect(stack: Stack, predictor: Predictor, memory: Memory | None) -> Floats:
    """Return rows of: object, plane, planes past its end, IoU with it there, features."""
    rules = Recorder()
    rows = []
    for one in propagate(
        planes_of(stack), prompts_of(stack), predictor, memory=memory, rules=rules
    ):
        if one.prompted or one.mask.is_empty:
            continue
        features = rules.seen.popleft()
        truth = stack.labels == one.object_id
        there = np.flatnonzero(truth.any((1, 2)))
        beyond = max(there[0] - one.plane, one.plane - there[-1], 0)
        if beyond <= _BEYOND:
            iou = overlap(one.mask.to_array(truth.shape[1:]), truth[one.plane])
            rows.append([one.object_id, one.plane, beyond, iou, *features])
    return np.array(rows).reshape(-1, 4 + len(FEATURES))


def fit(rows: Floats, *, presence: bool) -> Floats:
    """Fit weights and offset of the logit that the object is there, by ridge regression."""
    from scipy.optimize import minimize

    there = (rows[:, 2] == 0) & (rows[:, 3] > 0.2)
    x = np.column_stack([rows[:, 4:], np.ones(len(rows))])
    if not presence:
        x[:, len(FEATURES) - 1] = 0
    sign = np.where(there, 1.0, -1.0)
    share = np.where(there, 0.5 / max(1, there.sum()), 0.5 / max(1, (~there).sum()))

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ weights)
        value = (share * np.logaddexp(0, -margin)).sum() + 1e-3 * (weights[:-1] ** 2).sum()
        slope = x.T @ (-share * sign / (1 + np.exp(margin)))
        return float(value), slope + 2e-3 * np.append(weights[:-1], 0)

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True).x)


def main(argv: list[str] | None = None) -> None:
    """Collect, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="npy of what was seen; read again")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--stacks", type=int, default=3, help="at most so many of each set")
    arguments = parser.parse_args(argv)
    if not arguments.out.exists():
        predictor = load_predictor(arguments.model, device="cpu")
        memory = load_memory(arguments.model) if arguments.memory else None
        counts: dict[str, int] = {}
        rows = []
        for stack in read_stacks(arguments.data, "train", arguments.objects):
            if arguments.sets and stack.domain not in arguments.sets:
                continue
            counts[stack.domain] = counts.get(stack.domain, 0) + (len(stack.objects) >= 6)
            if counts[stack.domain] <= arguments.stacks and len(stack.objects) >= 6:
                rows.append(collect(stack, predictor, memory))
                print(stack.name, len(rows[-1]), flush=True)
        np.save(arguments.out, np.concatenate(rows))
    everything = np.load(arguments.out)
    weights = fit(everything, presence=arguments.memory)
    for name, value in zip((*FEATURES, "1"), weights, strict=True):
        print(f"{value:8.3f}  {name}")
    print(tuple(round(float(value), 3) for value in weights))


if __name__ == "__main__":
    main()
