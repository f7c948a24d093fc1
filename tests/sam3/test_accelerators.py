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


@pytest.mark.parametrize("device", DEVICES)
def test_crops_are_the_masks(device: str) -> None:
    predictor = load_predictor(device=device, precision="float32")
    features = predictor.encode(data.coins())
    for prompts in PROMPTS.values():
        whole = predictor.predict(features, **prompts).masks
        crops: Any = predictor.predict(features, **prompts, crop=True).masks
        later = predictor.predict(features, **prompts, crop="later")
        for index in np.ndindex(*crops.shape):
            undrawn: Any = later.masks[index]
            for crop in (crops[index], undrawn.draw(later.logits[index])):
                height, width = crop.pixels.shape
                drawn = np.zeros_like(whole[index])
                drawn[crop.row :, crop.column :][:height, :width] = crop.pixels
                assert (drawn != whole[index]).mean() < 1e-4


@pytest.mark.skipif("cuda" not in DEVICES, reason="CUDA is not here")
@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_graphs_decode_as_without_them(
    precision: Precision, error: float, caplog: pytest.LogCaptureFixture
) -> None:
    usual = load_predictor(device="cuda", precision=precision)
    graphs = load_predictor(device="cuda", precision=precision, fixed_shapes=True)
    images = [usual.encode(image) for image in (data.coins(), data.coins()[::-1].copy())]
    for features in (images[0], images[1], images[0]):  # the first records, the others replay
        for prompts in PROMPTS.values():
            found, expected = (p.predict(features, **prompts) for p in (graphs, usual))
            distance = np.linalg.norm(found.logits - expected.logits)
            assert distance / np.linalg.norm(expected.logits) < error
    assert not caplog.records, "nothing fell back to decoding without graphs"
