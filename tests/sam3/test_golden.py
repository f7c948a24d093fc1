"""The model returns what the original implementation returned for the same weights."""

from __future__ import annotations

import numpy as np
import pytest

from sam3.config import ModelConfig
from sam3.predictor import ImageFeatures, Prediction, Predictor
from tests.sam3.golden_model import (
    BATCH_PROMPTS,
    FULL,
    GOLDEN,
    IMAGES,
    PROMPTS,
    SMALL,
    golden_predictor,
    relative_difference,
)

TOLERANCE = 1e-4
MASK_AGREEMENT = 0.999


class Golden:
    """A filled model, its encoded images, and the recorded numbers."""

    def __init__(self, config: ModelConfig, file: str) -> None:
        self.predictor: Predictor = golden_predictor(config)
        self.recorded = np.load(GOLDEN / file)
        self._features: dict[str, ImageFeatures] = {}

    def features(self, image: str) -> ImageFeatures:
        if image not in self._features:
            self._features[image] = self.predictor.encode(IMAGES[image])
        return self._features[image]

    def predict(self, case: str) -> Prediction:
        image, prompts = BATCH_PROMPTS.get(case, ("a", PROMPTS.get(case, {})))
        prompts = dict(prompts)
        if case.endswith("mask_input"):
            first = self.predictor.predict(self.features("a"), **PROMPTS["one_point_multimask"])
            prompts["mask_input"] = first.logits[first.scores.argmax()][None]
        return self.predictor.predict(self.features(image), **prompts, return_logits=True)

    def check_maps(self) -> None:
        encoded = self.features("a").encoded
        for name, tensor, step in (
            ("a.fpn0", encoded.fine, 8),
            ("a.fpn1", encoded.middle, 4),
            ("a.fpn2", encoded.embedding, 2),
        ):
            ours = tensor[..., ::step, ::step].numpy().reshape(self.recorded[name].shape)
            assert relative_difference(ours, self.recorded[name]) < TOLERANCE, name

    def check_case(self, case: str) -> None:
        ours = self.predict(case)
        masks, scores, logits = (
            self.recorded[f"{case}.{part}"] for part in ("masks", "scores", "logits")
        )
        assert relative_difference(ours.logits[..., ::4, ::4], logits) < TOLERANCE
        assert np.abs(ours.scores - scores).max() < TOLERANCE
        sampled = ours.masks[..., ::8, ::8]
        assert sampled.shape == masks.shape
        assert ((sampled > 0) == (masks > 0)).mean() >= MASK_AGREEMENT


@pytest.fixture(scope="module")
def small() -> Golden:
    return Golden(SMALL, "official_small.npz")


def test_encoder_maps_agree(small: Golden) -> None:
    small.check_maps()


@pytest.mark.parametrize("case", [*PROMPTS, *BATCH_PROMPTS])
def test_prediction_agrees(small: Golden, case: str) -> None:
    small.check_case(case)


def test_every_recorded_case_is_checked(small: Golden) -> None:
    recorded = {k.rsplit(".", 1)[0] for k in small.recorded.files} - {"a"}
    assert recorded == {*PROMPTS, *BATCH_PROMPTS}


def test_wrong_numbers_would_be_noticed(small: Golden) -> None:
    """The tolerance is tight enough to see one changed bias in one block."""
    bias = small.predictor.model.get_parameter("trunk.blocks.2.mlp.fc2.bias")
    before = bias.clone()
    features = dict(small._features)
    try:
        bias.add_(0.05)
        small._features.clear()
        with pytest.raises(AssertionError):
            small.check_maps()
    finally:
        bias.copy_(before)
        small._features = features


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes several minutes for an image
def test_full_size_model_agrees() -> None:
    full = Golden(FULL, "official_full.npz")
    full.check_maps()
    for case in sorted({k.rsplit(".", 1)[0] for k in full.recorded.files} - {"a"}):
        full.check_case(case)
