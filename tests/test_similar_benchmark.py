"""The measuring of Find similar, not what it measures."""

import numpy as np
import pytest

from benchmarks.mixed_images import SMALLEST_AREA
from benchmarks.similar import Case, _match_others, true_objects
from benchmarks.similar_fit import (
    DISCRIMINANTS,
    Measured,
    fit,
    fit_metric,
    fit_soundness,
    measure,
    spreads,
)
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.similar.weights import SPREADS, WEIGHTS
from sam3 import load_predictor


def test_objects_too_small_to_show_are_left_out() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[2:22, 3:23], labels[30, 30] = 4, 9
    (mask,) = true_objects(labels)
    assert mask.bbox == (2, 3, 22, 23)
    assert mask.area == 400 >= SMALLEST_AREA


def test_examples_and_what_lies_on_them_do_not_count() -> None:
    truth = np.zeros((60, 60), np.int32)
    truth[:20, :20], truth[30:50, 30:50] = 1, 2
    example, other = true_objects(truth)
    # The example found again, and the other one, too.
    both = _match_others(truth, truth, [example])
    assert both is not None
    assert (both.hits, both.true, both.found) == (1, 1, 1)
    # One beside the example is a fault though it touches it a little.
    wrong = truth.copy()
    wrong[15:29, 15:29] = 3
    faulty = _match_others(truth, wrong, [example])
    assert faulty is not None
    assert (faulty.hits, faulty.found) == (1, 2)
    assert _match_others(truth, truth, [example, other]) is None


def test_the_fit_finds_coefficients_of_the_right_sign() -> None:
    rng = np.random.default_rng(0)
    # The first column lowers the odds, the second would raise them, which a difference must not.
    columns = rng.normal(size=(2000, 5))
    odds = -3 * columns[:, 0] + 2 * columns[:, 1] + columns[:, 3]
    iou = np.where(rng.random(2000) < 1 / (1 + np.exp(-odds)), 0.9, 0.1)
    part = Measured(columns, 2 * columns, iou, np.where(columns[:, 4] > 0.5, 0.9, iou), 1.0)
    coefficients, _ = fit([part])
    assert coefficients[0] == pytest.approx(-2, abs=0.5)  # smaller than 3, for what is left out
    assert coefficients[1] == 0
    assert coefficients[3] > 0.4
    assert abs(coefficients[2:5:2]).max() < 0.2
    sound, _ = fit_soundness([part])
    assert sound[1] > 0.7, "objects of the other kind are objects"
    assert spreads([part])[3] == pytest.approx(2, abs=0.1)


def test_the_metric_keeps_what_tells_kinds_apart() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(60, 32)) * np.where(np.arange(32) < 4, 3, 0.1)
    # The last half varies the most, but within an image.
    spread = np.where(np.arange(32) < 16, 0.5, 8)
    groups = [kind + spread * rng.normal(size=(20, 32)) for kind in kinds]
    matrix = fit_metric(groups)
    assert matrix.shape == (32, DISCRIMINANTS)
    within = np.mean([np.var(group @ matrix, axis=0, ddof=1) for group in groups], axis=0)
    assert 0.5 < within.min() <= within.max() < 1.05  # 1 but for the shrinkage
    weight = np.abs(matrix[:, :4] * spread[:, None])
    assert weight[:4].max(axis=0).min() > 4 * weight[4:].max()


def test_candidates_are_measured_for_the_fit() -> None:
    rows, columns = np.mgrid[:128, :128]
    labels = np.zeros((128, 128), np.int32)
    for number, (row, column) in enumerate([(30, 30), (30, 90), (90, 60)], start=1):
        labels[(rows - row) ** 2 + (columns - column) ** 2 < 12**2] = number
    light = np.random.default_rng(0).normal(30, 4, labels.shape) + 150 * (labels > 0)
    pixels = np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    part = measure(Case("discs", ArrayPlane(pixels), labels), load_predictor("tiny"), 0)
    assert part is not None
    assert part.columns.shape == (len(part.iou), len(WEIGHTS))
    assert part.values.shape == (len(part.iou), len(SPREADS))
    assert np.count_nonzero(part.iou > 0.8) >= 3
    assert part.iou.max() <= 1
