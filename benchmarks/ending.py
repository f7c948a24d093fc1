"""Fit the rules by which objects end to the part of real stacks that is trained on.

`python -m benchmarks.ending --data FOLDER --out FILE` propagates objects to the ends of their
stacks, as if they never ended, records the evidence on each plane, and fits the weights of
`EndRules` to it: those that narrow masks first, then those that end objects. Which masks are found
depends on how those before were narrowed; so do it again until little changes.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.propagation import planes_of, prompts_of
from benchmarks.stacks import Stack, read_stacks
from napari_sam3.core.masks import PlaneMask
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.evidence import FEATURES, look_of
from napari_sam3.inference.tracking.propagate import propagate
from sam3 import Predictor, load_predictor

Floats = npt.NDArray[np.float64]
Above = Callable[[float], PlaneMask]
_COLUMNS = ("stack", "object", "plane", "prompted", "true", "volume", "specimen")
_LOGITS = np.arange(0, 13)
# Then pixels shared with the truth, and of the mask, at each logit; then the features.
_FEATURES = len(_COLUMNS) + 2 * len(_LOGITS)
# Planes past an end that are recorded, and that narrowing is fitted to; good rules never reach
# later ones.
_BEYOND, _NARROWED_BEYOND = 6, 2
_LEAST_IOU = 0.35  # of a mask that counts as the object
_RIDGE = 0.01
_CACHE_BYTES = 256_000_000
_USUAL_IOU = 0.72  # of a volume; a found pixel is worth it if it is in the object more often
_NARROWING_RIDGE = 3e-5
_START = 5.0  # logit of an object without brightness, from which the fit starts
_MOST_BEYOND = 0.8  # planes too many; the bar is one
_THRESHOLDS = np.arange(0.2, 0.75, 0.05)


@dataclass(frozen=True)
class Recorder(EndRules):
    """Rules by which nothing ends; they keep in order each mask at each logit, and its features."""

    seen: deque[tuple[list[PlaneMask], Floats]] = field(default_factory=deque)

    def narrowed(self, mask: PlaneMask, above: Above, features: Floats) -> PlaneMask:
        """Keep them, and narrow the mask, but not away."""
        self.seen.append(([above(float(logit)) for logit in _LOGITS], features))
        smaller = super().narrowed(mask, above, features)
        return smaller if smaller.area >= self.min_area else mask


def collect(number: int, specimen: int, stack: Stack, predictor: Predictor) -> Floats:
    """Return a row for each mask: its place, pixels of it and of the truth, and the features."""
    planes, cache = planes_of(stack), EmbeddingCache(_CACHE_BYTES)
    rows = []
    for prompt in prompts_of(stack):
        truth = stack.labels == prompt.object_id
        there = np.flatnonzero(truth.any((1, 2)))
        first = max(0, int(there[0]) - _BEYOND)
        part = planes[first : int(there[-1]) + 1 + _BEYOND]
        rules = Recorder(narrowing=EndRules.calibrated().narrowing)
        shown = replace(prompt, plane=prompt.plane - first)
        for result in propagate(part, [shown], predictor, rules=rules, cache=cache):
            if result.mask.is_empty:
                continue
            masks, features = [result.mask] * len(_LOGITS), np.zeros(len(FEATURES))
            if not result.prompted:
                masks, features = rules.seen.popleft()
            elif not look_of(result.mask, part[result.plane]).stands_out:
                break  # it ends by other rules, and is not narrowed
            plane = first + result.plane
            shared = [(mask.to_array(truth.shape[1:]) & truth[plane]).sum() for mask in masks]
            sizes = truth[plane].sum(), truth.sum()
            place = number, prompt.object_id, plane, prompt.plane, *sizes, specimen
            rows.append([*place, *shared, *(mask.area for mask in masks), *features])
    return np.array(rows, float).reshape(-1, _FEATURES + len(FEATURES))


def fit_narrowing(rows: Floats) -> Floats:
    """Fit the logit from which pixels are taken, so that volumes agree best with the truth."""
    from scipy.optimize import minimize

    chosen = _near(rows, _NARROWED_BEYOND)
    x, each = _with_one(chosen), np.arange(len(chosen))
    shared, found = _tables(chosen)
    # What a pixel that is shared, and one that is found, do to the IoU of a volume.
    gain = ((1 + _USUAL_IOU) * shared - _USUAL_IOU * found) / chosen[:, 5:6]
    count = len(list(objects(rows)))

    def loss(weights: Floats) -> tuple[float, Floats]:
        logit = x @ weights
        low, part = _between(logit)
        here, next_one = gain[each, low], gain[each, low + 1]
        slope = (next_one - here) * ((logit > 0) & (logit < _LOGITS[-1]))
        penalty = _NARROWING_RIDGE * np.append(weights[:-1], 0)
        value = -(here + part * (next_one - here)).sum() / count + (penalty * weights).sum()
        return float(value), -(slope @ x) / count + 2 * penalty

    start = np.zeros(x.shape[1])
    start[[FEATURES.index("brightness"), -1]] = -_START, _START
    return np.asarray(minimize(loss, start, jac=True).x)


def fit(rows: Floats, narrowing: Floats) -> Floats:
    """Fit weights and offset of the logit that the object is there, by ridge regression."""
    from scipy.optimize import minimize

    chosen = _near(rows, _BEYOND)
    shared, found = counts(chosen, narrowing)
    there = shared / np.maximum(found + chosen[:, 4] - shared, 1) > _LEAST_IOU
    x = _with_one(chosen)
    sign = np.where(there, 1.0, -1.0)
    share = np.where(there, 0.5 / max(1, there.sum()), 0.5 / max(1, (~there).sum()))

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ weights)
        value = (share * np.logaddexp(0, -margin)).sum() + _RIDGE * (weights[:-1] ** 2).sum()
        slope = x.T @ (-share * sign / (1 + np.exp(margin)))
        return float(value), slope + 2 * _RIDGE * np.append(weights[:-1], 0)

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), jac=True).x)


def counts(rows: Floats, narrowing: Floats) -> tuple[Floats, Floats]:
    """Return pixels of the narrowed masks that are shared with the truth, and all of them."""
    each, (low, part) = np.arange(len(rows)), _between(_with_one(rows) @ narrowing)
    shared, found = ((1 - part) * table[each, low] + part * table[each, low + 1]
                     for table in _tables(rows))  # fmt: skip
    return shared, found


def _tables(rows: Floats) -> tuple[Floats, Floats]:
    first, last = len(_COLUMNS), _FEATURES
    shared, found = np.split(rows[:, first:last], 2, axis=1)
    return shared, found


def _between(logit: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the index of the logit below, and how far it is to the next."""
    limited = np.clip(logit, 0, _LOGITS[-1])
    low = np.minimum(limited.astype(np.intp), len(_LOGITS) - 2)
    return low, limited - low


def _with_one(rows: Floats) -> Floats:
    return np.column_stack([rows[:, _FEATURES:], np.ones(len(rows))])


def objects(rows: Floats) -> Iterator[Floats]:
    """Yield the rows of each object."""
    for key in np.unique(rows[:, :2], axis=0):
        yield rows[(rows[:, :2] == key).all(1)]


def sides(rows: Floats) -> Iterator[Floats]:
    """Yield the planes of an object after its prompt, and those before it, the nearest first."""
    plane, prompted = rows[:, 2], rows[0, 3]
    for part in (rows[plane > prompted], rows[plane < prompted]):
        yield part[np.abs(part[:, 2] - prompted).argsort()]


def _near(rows: Floats, beyond: int) -> Floats:
    """Return the rows of all objects up to so many planes past their ends."""
    parts = [part for one in objects(rows) for part in sides(one)]
    return np.concatenate([part[np.cumsum(part[:, 4] == 0) <= beyond] for part in parts])


def volumes(rows: Floats, narrowing: Floats, weights: Floats, least: float) -> tuple[float, float]:
    """Mean IoU of whole volumes, and planes too many of each, if objects end by the rules."""
    rules = EndRules(tuple(weights))
    contrast = _FEATURES + FEATURES.index("contrast")
    found = []
    for one in objects(rows):
        prompted = one[one[:, 2] == one[:, 3]]
        kept = []
        for part in sides(one):
            chance = np.array([rules.probability(row[_FEATURES:]) for row in part])
            ended = (chance < least) | (part[:, contrast] < rules.least_contrast)
            ended |= counts(part, narrowing)[1] < rules.min_area
            kept.append(part[: int(ended.argmax())] if ended.any() else part)
        ours = np.concatenate(kept)
        pairs = zip(counts(ours, narrowing), _tables(prompted), strict=True)
        shared, predicted = (float(of.sum() + table[0, 0]) for of, table in pairs)
        found.append((shared / (predicted + one[0, 5] - shared), (ours[:, 4] == 0).sum()))
    iou, beyond = np.mean(found, axis=0)
    return float(iou), float(beyond)


def best_threshold(rows: Floats, narrowing: Floats, weights: Floats) -> float:
    """Return the threshold of the probability with the best volumes and few planes too many."""
    tried = {least: volumes(rows, narrowing, weights, least) for least in _THRESHOLDS}
    few = [least for least, (_, beyond) in tried.items() if beyond <= _MOST_BEYOND]
    return float(max(few or _THRESHOLDS[-1:], key=lambda least: tried[least][0]))


def left_out(rows: Floats) -> tuple[float, float]:
    """Return the same as `volumes`, for each specimen with rules fitted to the others."""
    found = []
    for number in np.unique(rows[:, 6]):
        others, own = rows[rows[:, 6] != number], rows[rows[:, 6] == number]
        narrowing = fit_narrowing(others)
        weights = fit(others, narrowing)
        result = volumes(own, narrowing, weights, best_threshold(others, narrowing, weights))
        found += [result] * len(np.unique(own[:, :2], axis=0))
    iou, beyond = np.mean(found, axis=0)
    return float(iou), float(beyond)


def main(argv: list[str] | None = None) -> None:
    """Collect, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="npy of the evidence; read again")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--stacks", type=int, default=3, help="at most so many of each set")
    arguments = parser.parse_args(argv)
    if not arguments.out.exists():
        predictor = load_predictor(arguments.model, device="cpu")
        seen: dict[str, int] = {}
        specimens: dict[str, int] = {}  # a volume is one point in time of a specimen
        parts: list[Floats] = []
        for stack in read_stacks(arguments.data, "train", arguments.objects):
            if arguments.sets and stack.domain not in arguments.sets:
                continue
            seen[stack.domain] = seen.get(stack.domain, 0) + (len(stack.objects) >= 6)
            if seen[stack.domain] <= arguments.stacks and len(stack.objects) >= 6:
                specimen = specimens.setdefault(
                    stack.name.rpartition("_t")[0] or stack.name, len(specimens)
                )
                parts.append(collect(len(parts), specimen, stack, predictor))
                print(stack.name, len(parts[-1]), flush=True)
                np.save(arguments.out, np.concatenate(parts))
    rows = np.load(arguments.out)
    narrowing = fit_narrowing(rows)
    weights = fit(rows, narrowing)
    least = best_threshold(rows, narrowing, weights)
    now = EndRules.calibrated()
    shipped = np.array(now.narrowing), np.array(now.weights), now.least
    for name, result in (
        ("rules as they are", volumes(rows, *shipped)),
        ("fitted", volumes(rows, narrowing, weights, least)),
        ("fitted to the other specimens", left_out(rows)),
    ):
        print(f"{name}: volume IoU {result[0]:.3f}, {result[1]:.2f} planes too many")
    weights[-1] -= np.log(least / (1 - least))  # so that the threshold is an even chance
    for what, values in (("weights", weights), ("narrowing", narrowing)):
        print(what, tuple(round(float(value), 3) for value in values))


if __name__ == "__main__":
    main()
