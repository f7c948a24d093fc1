"""Published values on the released weights, run wherever these and the two pictures are at hand.

``SAM3_CHECKPOINT`` names the weights file, ``SAM3_TEST_IMAGES`` a folder with ``truck.jpg`` and
``groceries.jpg`` of the public notebooks. Values: transformers' own tests for ``facebook/sam3``,
float32, LayerNorm eps 1e-6, logits neither clamped nor filled.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sam3 import ImageFeatures, Predictor
from sam3.config import get_preset
from sam3.prompts import check_prompts
from sam3.weights import load as checkpoint

TOLERANCE = 1e-4
WEIGHTS, IMAGES = os.environ.get("SAM3_CHECKPOINT"), os.environ.get("SAM3_TEST_IMAGES")
pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(
        not (WEIGHTS and IMAGES), reason="SAM3_CHECKPOINT and SAM3_TEST_IMAGES are not set"
    ),
]

POINT: dict[str, Any] = {"point_coords": [[500, 375]], "point_labels": [1]}
TRUCK_BOXES = {
    (75, 275, 1725, 850): (0.9862, [[-12.5972, -19.5327], [-12.4126, -18.3935]]),
    (425, 600, 700, 875): (0.9666, [[-20.2715, -31.6163], [-22.3341, -27.6888]]),
    (1375, 550, 1650, 800): (0.9588, [[-20.9112, -31.4296], [-22.9174, -26.5892]]),
    (1240, 675, 1400, 750): (0.9331, [[-23.6995, -37.8614], [-26.3752, -31.1497]]),
}
GROCERIES_BOXES = {
    (450, 170, 520, 350): 0.9757,
    (350, 190, 450, 350): 0.9838,
    (500, 170, 580, 350): 0.9785,
    (580, 170, 640, 350): 0.9755,
}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    full = get_preset("sam3")
    config = replace(full, trunk=replace(full.trunk, layer_norm_eps=1e-6))
    assert WEIGHTS is not None
    return Predictor(checkpoint.load(WEIGHTS, config=config), device="cpu")


@pytest.fixture(scope="module")
def truck(predictor: Predictor) -> ImageFeatures:
    return predictor.encode(_picture("truck.jpg"))


def _picture(name: str) -> Image.Image:
    assert IMAGES is not None
    return Image.open(Path(IMAGES) / name)


def _raw(
    predictor: Predictor, features: ImageFeatures, *, multimask: bool, **prompts: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Logits before clamping, as transformers returns them, and scores."""
    given = (prompts.get(name) for name in ("point_coords", "point_labels", "box", "mask_input"))
    side, cells = features.size, predictor.config.mask_size
    checked = check_prompts(*given, size=side, mask_size=cells)
    with torch.inference_mode():
        image = predictor.model.image_side(features.encoded)
        logits, scores = predictor._decode(image, checked, side, multimask)
    return logits.numpy(), scores.numpy()


def test_a_point_with_three_masks(predictor: Predictor, truck: ImageFeatures) -> None:
    logits, scores = _raw(predictor, truck, multimask=True, **POINT)
    order = scores[0].argsort()[::-1]
    np.testing.assert_allclose(scores[0][order], [0.9106, 0.5326, 0.0379], atol=TOLERANCE)
    expected = [
        [-18.9093, -31.1757, -23.6851],
        [-20.3388, -31.0213, -29.8815],
        [-20.7554, -29.4530, -30.1776],
    ]
    np.testing.assert_allclose(logits[0, order[0], :3, :3], expected, atol=1e-3)


def test_a_point_with_one_mask(predictor: Predictor, truck: ImageFeatures) -> None:
    logits, scores = _raw(predictor, truck, multimask=False, **POINT)
    assert scores[0, 0] == pytest.approx(0.9474, abs=TOLERANCE)
    expected = [
        [-8.1500, -12.3282, -9.6828],
        [-9.0512, -11.6470, -11.6363],
        [-9.2391, -11.9863, -12.4858],
    ]
    np.testing.assert_allclose(logits[0, 0, :3, :3], expected, atol=1e-3)


@pytest.mark.parametrize("box", TRUCK_BOXES)
def test_boxes_on_the_truck(
    predictor: Predictor, truck: ImageFeatures, box: tuple[int, ...]
) -> None:
    logits, scores = _raw(predictor, truck, multimask=False, box=box)
    score, corner = TRUCK_BOXES[box]  # type: ignore[index]
    assert scores[0, 0] == pytest.approx(score, abs=TOLERANCE)
    np.testing.assert_allclose(logits[0, 0, :2, :2], corner, atol=1e-3)


def test_boxes_on_the_groceries(predictor: Predictor) -> None:
    features = predictor.encode(_picture("groceries.jpg"))
    _, scores = _raw(predictor, features, multimask=False, box=list(GROCERIES_BOXES))
    np.testing.assert_allclose(scores[:, 0], list(GROCERIES_BOXES.values()), atol=TOLERANCE)


@pytest.mark.parametrize(
    ("label", "score", "row"),
    [(1, 0.9809, [-5.3111, -7.4920, -5.5444]), (0, 0.9625, [-13.4726, -19.9250, -16.3620])],
)
def test_a_second_point_with_the_previous_mask(
    predictor: Predictor, truck: ImageFeatures, label: int, score: float, row: list[float]
) -> None:
    first, quality = _raw(predictor, truck, multimask=True, **POINT)
    logits, scores = _raw(
        predictor,
        truck,
        multimask=False,
        point_coords=[[500, 375], [1125, 625]],
        point_labels=[1, label],
        mask_input=first[0, quality[0].argmax()][None],
    )
    assert scores[0, 0] == pytest.approx(score, abs=TOLERANCE)
    np.testing.assert_allclose(logits[0, 0, 0, :3], row, atol=1e-3)
