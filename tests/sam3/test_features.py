"""Features that move and are saved, cropped masks, other resolutions and precisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from sam3 import ImageFeatures, Predictor, load_predictor
from sam3.config import get_preset
from sam3.errors import ConfigError, FeaturesError, PromptError
from sam3.model_builder import build_click_model, random_predictor
from sam3.preprocess.masks import crop_mask, upsample
from sam3.weights import load as checkpoint

PROMPTS: dict[str, Any] = {"point_coords": [[150, 90]], "point_labels": [1]}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return random_predictor()


@pytest.fixture(scope="module")
def features(predictor: Predictor) -> ImageFeatures:
    return predictor.encode(data.coffee())


def test_saved_features_give_identical_masks(
    predictor: Predictor, features: ImageFeatures, tmp_path: Path
) -> None:
    features.save(tmp_path / "image.safetensors")
    loaded = ImageFeatures.load(tmp_path / "image.safetensors")
    assert (loaded.size, loaded.fingerprint) == (features.size, features.fingerprint)
    assert all(torch.equal(a, b) for a, b in zip(loaded.encoded, features.encoded, strict=True))
    ours, theirs = (predictor.predict(f, **PROMPTS) for f in (loaded, features))
    assert (ours.logits == theirs.logits).all()
    assert (ours.masks == theirs.masks).all()


def test_size_in_memory(features: ImageFeatures) -> None:
    channels, grid = 128, 32
    values = channels * grid**2 * (1 + 4 / 4 + 16 / 8)
    assert features.nbytes == 4 * values
    assert features.to("cpu").nbytes == features.nbytes


def test_files_that_are_no_features(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    checkpoint.save(build_click_model(get_preset("tiny")), weights)
    (tmp_path / "text").write_text("no")
    for path in (weights, tmp_path / "text", tmp_path / "absent"):
        with pytest.raises(FeaturesError, match="holds no image features"):
            ImageFeatures.load(path)


def test_a_batch_of_images_equals_them_one_by_one(predictor: Predictor) -> None:
    images = [data.coffee(), data.camera()[:100, :180], np.ones((20, 30), bool)]
    together = predictor.encode_batch(images)
    assert [f.size for f in together] == [(400, 600), (100, 180), (20, 30)]
    for image, found in zip(images, together, strict=True):
        for ours, theirs in zip(found.encoded, predictor.encode(image).encoded, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_cropped_masks_are_the_full_ones(predictor: Predictor, features: ImageFeatures) -> None:
    prompts: dict[str, Any] = {"box": [[100, 50, 500, 350], [20, 20, 120, 220]]}
    full = predictor.predict(features, **prompts)
    cropped = predictor.predict(features, **prompts, crop=True)
    assert (full.scores == cropped.scores).all()
    assert (full.logits == cropped.logits).all()
    assert cropped.masks.shape == full.masks.shape[:2] == (2, 3)
    assert predictor.predict(features, box=[10, 10, 90, 90], crop=True).masks.shape == (3,)
    with pytest.raises(PromptError, match="exclude each other"):
        predictor.predict(features, **prompts, crop=True, return_logits=True)
    for masks, crops in zip(full.masks, cropped.masks, strict=True):
        for mask, crop in zip(masks, crops, strict=True):
            pasted = np.zeros_like(mask)
            height, width = crop.pixels.shape
            pasted[crop.row : crop.row + height, crop.column : crop.column + width] = crop.pixels
            assert (pasted != mask).sum() <= 2
            assert crop.pixels[0].any()
            assert crop.pixels[:, -1].any()


@settings(max_examples=60, deadline=None)
@given(
    cells=st.integers(2, 24),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    threshold=st.floats(-1, 2.5),
    seed=st.integers(0, 99),
)
def test_any_crop_equals_the_upsampled_mask(
    cells: int, height: int, width: int, threshold: float, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=(cells, cells)) - threshold
    logits = torch.tensor(values, dtype=torch.float32)
    full = upsample(logits[None, None], (height, width))[0, 0].numpy()
    crop = crop_mask(logits, (height, width))
    pasted = np.zeros((height, width), bool)
    rows, columns = crop.pixels.shape
    pasted[crop.row : crop.row + rows, crop.column : crop.column + columns] = crop.pixels
    differing = pasted != (full > 0)
    assert np.abs(full[differing]).max(initial=0) < 1e-5


def test_a_small_object_on_a_huge_plane_makes_no_huge_array() -> None:
    logits = torch.full((128, 128), -20.0)
    logits[5:8, 60:64] = 20
    side = 100_000  # the whole plane as float32 would take 40 GB
    crop = crop_mask(logits, (side, side))
    cell = side / 128
    assert crop.pixels.shape == pytest.approx((3 * cell, 4 * cell), rel=0.05)
    assert (crop.row, crop.column) == pytest.approx((5 * cell, 60 * cell), rel=0.02)
    assert crop.pixels.mean() > 0.95


@pytest.mark.parametrize("resolution", [252, 336, 700])
def test_other_resolutions(resolution: int, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    checkpoint.save(build_click_model(get_preset("tiny")), path)
    predictor = load_predictor(path, device="cpu", resolution=resolution)
    features = predictor.encode(data.coffee())
    prediction = predictor.predict(features, **PROMPTS)
    side = 4 * resolution // 14
    assert prediction.logits.shape == (3, side, side)
    assert prediction.masks.shape == (3, 400, 600)
    with pytest.raises(FeaturesError, match=f"at {resolution} px"):
        load_predictor(path, device="cpu").predict(features, **PROMPTS)


@pytest.mark.parametrize("resolution", [0, 100, 238, 2030])
def test_impossible_resolutions(resolution: int) -> None:
    with pytest.raises(ConfigError, match=f"resolution is not supported: {resolution}"):
        get_preset("sam3").with_resolution(resolution)


def test_bfloat16_is_close_and_returns_float32(predictor: Predictor) -> None:
    half = Predictor(build_click_model(get_preset("tiny")).eval(), "cpu", "bfloat16")
    assert half.fingerprint == predictor.fingerprint
    exact = predictor.predict(predictor.encode(data.coffee()), **PROMPTS)
    coarse = half.predict(half.encode(data.coffee()), **PROMPTS)
    assert coarse.logits.dtype == coarse.scores.dtype == np.float32
    difference = np.linalg.norm(coarse.logits - exact.logits) / np.linalg.norm(exact.logits)
    assert 0 < difference < 0.1
    with pytest.raises(ConfigError, match="unknown precision: 'int3'"):
        Predictor(build_click_model(get_preset("tiny")), "cpu", "int3")  # type: ignore[arg-type]
