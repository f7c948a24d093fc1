"""The same masks on an accelerator as on the CPU; skipped where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from sam3 import Predictor, load_predictor
from sam3.runtime.devices import Precision

DEVICES = ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
PROMPTS: dict[str, dict[str, Any]] = {
    "a click": {"point_coords": [[154, 127]], "point_labels": [1]},
    "boxes": {"box": [[314, 102, 359, 148], [130, 100, 180, 150]], "multimask_output": False},
}

pytestmark = pytest.mark.skipif(not DEVICES, reason="neither CUDA nor MPS is here")


@pytest.fixture(scope="module")
def reference() -> Predictor:
    return load_predictor(device="cpu")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize(("precision", "error"), [("float32", 2e-3), ("bfloat16", 5e-2)])
def test_masks_are_those_of_the_cpu(
    reference: Predictor, device: str, prompts: dict[str, Any], precision: Precision, error: float
) -> None:
    predictor = load_predictor(device=device, precision=precision)
    found = predictor.predict(predictor.encode(data.coins()), **prompts)
    expected = reference.predict(reference.encode(data.coins()), **prompts)
    assert found.logits.dtype == np.float32
    distance = np.linalg.norm(found.logits - expected.logits)
    assert distance / np.linalg.norm(expected.logits) < error
    assert (found.masks != expected.masks).mean() < error


@pytest.mark.parametrize("device", DEVICES)
def test_features_go_to_the_device_and_back(device: str) -> None:
    predictor = load_predictor(device=device)
    features = predictor.encode(data.coins())
    assert features.encoded.embedding.device.type == device
    away = features.to("cpu")
    prompts = PROMPTS["a click"]
    np.testing.assert_array_equal(
        predictor.predict(away, **prompts).logits, predictor.predict(features, **prompts).logits
    )
