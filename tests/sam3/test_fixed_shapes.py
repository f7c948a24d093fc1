"""Padding that makes prompts alike changes no mask, and decoders see few shapes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from sam3 import ImageFeatures, Predictor
from sam3.config import get_preset
from sam3.model.fixed_shapes import FixedShapes, PaddedPrompts, decode_padded, pad_prompts
from sam3.model.mask_decoder import ImageSide, RawMasks
from sam3.model_builder import build_click_model

SMALL = replace(
    get_preset("sam3").with_resolution(336),
    trunk=replace(get_preset("tiny").trunk, depth=1, global_blocks=(0,)),
)
RENDERED = replace(get_preset("tiny").with_resolution(252), name="drawn prompts")
BOXES = np.array([[100, 50, 500, 350], [20, 20, 120, 220], [300, 100, 580, 380]])
DRAW = np.random.default_rng(0)
POINTS = {
    count: {
        "point_coords": DRAW.uniform(0, 399, (3, count, 2)),
        "point_labels": np.resize([1, 1, 0], (3, count)),
    }
    for count in (1, 2, 5, 13)
}
PROMPTS: dict[str, dict[str, Any]] = {
    "clicks": POINTS[1],
    "two clicks": POINTS[2],
    "more points than projections save work for": POINTS[13],
    "boxes": {"box": BOXES},
    "masks": {"mask": True},
    "boxes and clicks": {"box": BOXES, **POINTS[2]},
    "boxes, clicks and masks": {"box": BOXES, **POINTS[5], "mask": True},
}


@pytest.fixture(scope="module", params=[SMALL, RENDERED], ids=lambda config: str(config.name))
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return Predictor(build_click_model(request.param), device="cpu")


@pytest.fixture(scope="module")
def features(predictor: Predictor) -> ImageFeatures:
    return predictor.encode(data.coffee())


def with_masks(prompts: dict[str, Any], predictor: Predictor) -> dict[str, Any]:
    prompts = dict(prompts)
    if prompts.pop("mask", False):
        side = predictor.config.mask_size
        prompts["mask_input"] = np.random.default_rng(1).normal(size=(3, 1, side, side))
    return prompts


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
def test_padding_changes_no_mask(
    predictor: Predictor, features: ImageFeatures, prompts: dict[str, Any], multimask: bool
) -> None:
    prompts = with_masks(prompts, predictor)
    padded = Predictor(predictor.model, device="cpu", fingerprint=predictor.fingerprint)
    padded.fix_shapes()
    expected = predictor.predict(features, **prompts, multimask_output=multimask)
    found = padded.predict(features, **prompts, multimask_output=multimask)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=5e-5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert (found.masks != expected.masks).mean() < 1e-4


@torch.inference_mode()
def test_padding_that_is_not_hidden_would_show(
    predictor: Predictor, features: ImageFeatures
) -> None:
    """Without this, a decoder that takes no notice of its prompts would pass the test above."""
    model, side = predictor.model, predictor.model.image_side(features.encoded)
    coords, labels = torch.tensor([[[90.0, 50], [200, 150], [0, 0]]]), torch.tensor([[1, 0, -1]])
    expected = model.decode(side, coords, labels, None).logits
    padded = pad_prompts(coords, labels, None)
    shown = model.decode(side, padded.coords, padded.labels, None).logits
    hidden = decode_padded(model, side, padded, None).logits
    assert (shown - expected).abs().max() > 100 * (hidden - expected).abs().max()


@torch.inference_mode()
def test_objects_are_padded_too_and_not_returned(
    predictor: Predictor, features: ImageFeatures
) -> None:
    model, side = predictor.model, predictor.model.image_side(features.encoded)
    seen: list[PaddedPrompts] = []

    def run(side: ImageSide, prompts: PaddedPrompts, multimask: bool | None) -> RawMasks:
        seen.append(prompts)
        return decode_padded(model, side, prompts, multimask)

    coords = 200 * torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 0, -1]).expand(5, 3)
    mask = torch.randn(5, 1, *[predictor.config.mask_size] * 2)
    found = FixedShapes(run).decode(side, coords, labels, mask)
    assert seen[0].labels.shape == (8, 4)
    assert seen[0].valid.sum() == 5 * 3
    for ours, theirs in zip(found, model.decode(side, coords, labels, mask), strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=5e-5)


def test_a_hundred_requests_have_few_shapes() -> None:
    rng = np.random.default_rng(0)
    shapes, given = set(), set()
    for _ in range(100):
        objects, count = int(rng.integers(1, 33)), int(rng.integers(0, 17))
        labels = torch.ones(objects, count, dtype=torch.long)
        padded = pad_prompts(torch.zeros(objects, count, 2), labels, None)
        given.add(labels.shape)
        shapes.add(padded.labels.shape)
        assert padded.coords.shape[:2] == padded.valid.shape == padded.labels.shape
    assert len(given) > 80
    assert len(shapes) <= 6 * 4, "objects 1 to 32, prompts 2 to 16"
