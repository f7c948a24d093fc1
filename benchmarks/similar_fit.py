"""Fit the numbers of the search for similar objects on training images, and print them.

`python -m benchmarks.similar_fit --data dsb2018_train.npz --domains domains` prints what stands in
`napari_sam3.inference.similar.weights`, without the coefficients of the second step. These
(CONTRAST, PRIOR), LEVEL and USUAL, the shift of the bias, the calibration, and the constants of
`matching` were chosen by the F1 on training images, and hardly matter within a factor of 1.5. With
`--metric metric.csv` it fits the metric of features first, and writes it: the rest is to be fitted
anew with it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.optimize import minimize

from benchmarks.model_card import Undisturbed, product_plane
from benchmarks.similar import EXAMPLES, Case, cases, true_objects
from napari_sam3.core.masks import PlaneMask
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.similar.examples import Example, learn_concept
from napari_sam3.inference.similar.matching import Quality, columns, values
from napari_sam3.inference.similar.search import SimilarSearch, search_settings
from sam3 import Predictor, load_predictor
from sam3.training.data import Sample, load_real

__all__ = ["Measured", "fit", "fit_metric", "fit_soundness", "main", "measure", "spreads"]

Table = npt.NDArray[np.float64]

SEED = 5
HIT, GOOD = 0.5, 0.7
#: Weight of an image of one kind of object beside one of two kinds, which come twice.
ONE_KIND = 3.0
RIDGE = 1e-3
#: Added to the bias: the F1 is largest at a score of 0.5 with it.
SHIFT = -0.3
QUALITIES = 2
#: Qualities, and how much the examples differ: columns that raise the score.
RISING = QUALITIES + 1
#: Images of a set, objects of an image and side in px of the part of it for the metric.
IMAGES, OBJECTS, FEWEST, PART = 25, 24, 3, 400
#: Discriminants, and share of a common variance in that within images.
DISCRIMINANTS, SHRINKAGE = 12, 0.02


@dataclass(frozen=True, eq=False)
class Measured:
    """Candidates of a case.

    Parameters
    ----------
    columns, values : ndarray
        Columns of the regression, and values of the contrast.
    iou, any_iou : ndarray
        IoU with the wanted objects, and with those of either kind.
    weight : float
        Weight of the case.
    """

    columns: Table
    values: Table
    iou: Table
    any_iou: Table
    weight: float


def measure(case: Case, predictor: Predictor, seed: int) -> Measured | None:
    """Describe all candidates of a case; None if there are none."""
    objects = true_objects(case.wanted)
    if not objects:
        return None
    order = np.random.default_rng(seed).permutation(len(objects))[:EXAMPLES]
    cache, control = EmbeddingCache(), Undisturbed()
    examples = [Example(objects[i]) for i in order]
    concept = learn_concept(examples, case.plane, predictor, cache, control)
    assert concept is not None, "nobody cancels it"
    region = slice(0, case.plane.shape[0]), slice(0, case.plane.shape[1])
    settings = search_settings(concept)
    search = SimilarSearch(case.plane, predictor, cache, control, settings, region, concept)
    candidates = search.candidates()
    if not candidates:
        return None
    looks = [one.look for one in candidates]
    qualities = [Quality(one.found.score, one.found.stability) for one in candidates]
    masks = [one.found.mask for one in candidates]
    iou = _best_ious(masks, case.wanted)
    return Measured(
        columns(looks, qualities, concept.wanted),
        values(looks),
        iou,
        iou if case.other is None else np.maximum(iou, _best_ious(masks, case.other)),
        1.0 if case.name.startswith("mixed") else ONE_KIND,
    )


def fit(parts: Sequence[Measured]) -> tuple[Table, float]:
    """Fit the logistic regression: coefficients and bias.

    Differences must not raise the score, and neither differences among the examples nor qualities
    must lower it.
    """
    coefficients, bias = _regression(
        [one.columns for one in parts], [one.iou for one in parts], [one.weight for one in parts]
    )
    return coefficients, bias + SHIFT


def fit_soundness(parts: Sequence[Measured]) -> tuple[Table, float]:
    """Fit the logistic regression of the qualities that tells objects of any kind."""
    return _regression(
        [one.columns[:, -QUALITIES:] for one in parts],
        [one.any_iou for one in parts],
        [one.weight for one in parts],
    )


def _regression(
    tables: Sequence[Table], ious: Sequence[Table], shares: Sequence[float]
) -> tuple[Table, float]:
    table = np.concatenate(tables)
    truth = (np.concatenate(ious) > HIT).astype(np.float64)
    weights = np.concatenate(
        [np.full(len(iou), share / len(iou)) for iou, share in zip(ious, shares, strict=True)]
    )
    weights /= weights.sum()
    middle, spread = weights @ table, table.std(axis=0) + 1e-6
    rows = np.column_stack(((table - middle) / spread, np.ones(len(table))))
    ridge = np.full(rows.shape[1], RIDGE)
    ridge[-1] = 0

    def loss(solution: Table) -> tuple[float, Table]:
        logits = rows @ solution
        error = weights * (1 / (1 + np.exp(-logits)) - truth)
        value = weights @ (np.logaddexp(0, logits) - truth * logits)
        return float(value + ridge @ solution**2), rows.T @ error + 2 * ridge * solution

    rising = min(RISING, table.shape[1])
    limits = [(None, 0.0)] * (table.shape[1] - rising) + [(0.0, None)] * rising
    start = np.zeros(rows.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[*limits, (None, None)]).x
    coefficients = found[:-1] / spread
    return coefficients, float(found[-1] - coefficients @ middle)


def fit_metric(groups: Sequence[Table]) -> Table:
    """Return a matrix (C, K) to compare features (N, C) with: their linear discriminants.

    Each group is the objects of one image. Within groups, the discriminants vary by 1.
    """
    everything = np.concatenate(groups)
    spread = everything.std(axis=0) + 1e-4
    scaled = [(rows - everything.mean(axis=0)) / spread for rows in groups]
    within = np.mean([np.cov(rows.T) for rows in scaled], axis=0)
    size = len(within)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / size * np.eye(size)
    between = np.cov(np.array([rows.mean(axis=0) for rows in scaled]).T)
    vectors = eigh(between, within)[1][:, ::-1]
    return np.asarray(vectors[:, :DISCRIMINANTS] / spread[:, None])


def spreads(parts: Iterable[Measured]) -> Table:
    """Return the standard deviations of the values among the objects of one image."""
    variances = [
        one.values[one.iou > GOOD].var(axis=0)
        for one in parts
        if np.count_nonzero(one.iou > GOOD) > 1
    ]
    return np.asarray(np.sqrt(np.mean(variances, axis=0)))


def main(argv: list[str] | None = None) -> None:
    """Measure the candidates of training images, fit, and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz of real images")
    parser.add_argument("--domains", type=Path, required=True, help="folder of other sets")
    parser.add_argument("--model", default="tiny", help="weights file, or tiny")
    parser.add_argument("--every", type=int, default=17, help="take every n-th training image")
    parser.add_argument("--mixed", type=int, default=40, help="number of mixed images")
    parser.add_argument("--metric", type=Path, help="write the metric there, and end")
    arguments = parser.parse_args(argv)
    samples = load_real(arguments.data)[0][:: arguments.every]
    domains = load_real(arguments.domains)[0]
    predictor = load_predictor(arguments.model)
    if arguments.metric is not None:
        groups = list(_object_features([*samples, *domains], predictor))
        np.savetxt(arguments.metric, fit_metric(groups), fmt="%.4f", delimiter=",")
        print(f"{len(groups)} images")
        return
    parts = list(_measured(cases(samples, domains, arguments.mixed, SEED), predictor))
    coefficients, bias = fit(parts)
    print(f"{len(parts)} cases")
    print("WEIGHTS =", tuple(np.round(coefficients, 3).tolist()))
    print("BIAS =", round(bias, 3))
    print("SOUND =", tuple(np.round(np.append(*fit_soundness(parts)), 2).tolist()))
    print("SPREADS =", tuple(np.round(spreads(parts), 4).tolist()))


def _measured(some: Iterable[Case], predictor: Predictor) -> Iterator[Measured]:
    for seed, case in enumerate(some):
        measured = measure(case, predictor, seed)
        if measured is not None:
            print(f"{case.name}: {len(measured.iou)} candidates", flush=True)
            yield measured


def _object_features(samples: Iterable[Sample], predictor: Predictor) -> Iterator[Table]:
    """Yield the features (N, C) of some true objects of each image."""
    rng = np.random.default_rng(SEED)
    images: Counter[str] = Counter()
    for sample in samples:
        images[sample.domain] += 1
        sides = [min(PART, length) for length in sample.labels.shape]
        top, left = (
            rng.integers(n - side + 1) for n, side in zip(sample.labels.shape, sides, strict=True)
        )
        view = slice(top, top + sides[0]), slice(left, left + sides[1])
        part = Sample(sample.image[view], sample.labels[view].astype(np.int32), "", sample.group)
        objects = true_objects(part.labels)
        if images[sample.domain] > IMAGES or len(objects) < FEWEST:
            continue
        examples = [Example(objects[i]) for i in rng.permutation(len(objects))[:OBJECTS]]
        plane, cache = ArrayPlane(product_plane(part)), EmbeddingCache()
        concept = learn_concept(examples, plane, predictor, cache, Undisturbed())
        assert concept is not None, "nobody cancels it"
        print(f"{sample.group}: {len(examples)} objects", flush=True)
        yield np.stack([look.features for look in concept.wanted]).astype(np.float64)


def _best_ious(masks: Sequence[PlaneMask], labels: npt.NDArray[np.integer]) -> Table:
    areas = np.bincount(labels.ravel())
    best = []
    for mask in masks:
        shared = np.bincount(labels[mask.region][mask.crop], minlength=len(areas))
        iou = shared / np.maximum(1, areas + mask.area - shared)
        best.append(float(iou[1:].max(initial=0)))
    return np.array(best)


if __name__ == "__main__":
    main()
