"""The concept detector returns what the original implementation returned for the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sam3.concepts.detections import Detections
from sam3.concepts.detector import Detector
from sam3.config import ModelConfig
from sam3.features import ImageFeatures
from sam3.preprocess.masks import upsample
from tests.sam3.golden_detector import CASES, DETECTOR_FULL, DETECTOR_SMALL, golden_detector
from tests.sam3.golden_model import GOLDEN, IMAGES, relative_difference

TOLERANCE = 1e-4
#: The others differ from these in the prompt alone, and each takes several seconds.
QUICK = ("a_text", "a_boxes", "b_box")
LONG = (pytest.mark.slow, pytest.mark.golden)


class Golden:
    """A filled detector, its encoded images, and the recorded numbers."""

    def __init__(self, config: ModelConfig, file: str) -> None:
        self.detector: Detector = golden_detector(config)
        self.recorded = np.load(GOLDEN / file)
        self._features: dict[str, ImageFeatures] = {}

    def features(self, image: str) -> ImageFeatures:
        if image not in self._features:
            self._features[image] = self.detector.encode(IMAGES[image])
        return self._features[image]

    def check(self, name: str, ours: torch.Tensor) -> None:
        recorded = self.recorded[name]
        found = ours.numpy().reshape(recorded.shape)
        assert relative_difference(found, recorded) < TOLERANCE, name

    def check_maps(self) -> None:
        trunk = self.features("a").trunk
        with torch.inference_mode():
            levels = self.detector.model.neck(trunk)
        for level, found in enumerate(levels):
            step = 48 >> level
            self.check(f"a.fpn{level}", found[..., ::step, ::step])

    def check_texts(self) -> None:
        texts, masks = self.recorded["texts"], self.recorded["text_mask"]
        for text, mask, features in zip(texts, masks, self.recorded["text_features"], strict=False):
            ours = self.detector.encode_text(str(text)).numpy()
            assert relative_difference(ours, features[~mask]) < TOLERANCE, text

    def check_case(self, case: str) -> None:
        image, prompts = CASES[case]
        features, model = self.features(image), self.detector.model
        maps, prompt = self.detector.image(features), self.detector.prompt(features, **prompts)
        with torch.inference_mode():
            raw = model.detect(maps, prompt)
            pixels = model.pixels(maps, raw, prompt)
            tops = model.masks(raw.queries[self.recorded[f"{case}.top"]], pixels)
            semantic = model.masks.semantic(pixels)
        valid = ~self.recorded[f"{case}.prompt_mask"]
        expected = self.recorded[f"{case}.prompt"][valid]
        assert relative_difference(prompt.numpy(), expected) < TOLERANCE
        self.check(f"{case}.geo", prompt[-len(self.recorded[f"{case}.geo"]) :])
        self.check(f"{case}.encoder", raw.encoded[0, ::61])
        self.check(f"{case}.queries_last", raw.queries[::8])
        self.check(f"{case}.presence_logit", raw.presence)
        self.check(f"{case}.logits", raw.logits)
        self.check(f"{case}.boxes", raw.boxes)
        self.check(f"{case}.masks_top", tops[..., ::6, ::6])
        self.check(f"{case}.semantic", semantic[..., ::6, ::6])
        candidates = self.detector.candidates(maps, raw, prompt, features.size)
        self.check_results(case, candidates.above(float(self.recorded[f"{case}.threshold"])))

    def check_results(self, case: str, found: Detections) -> None:
        scores = self.recorded[f"{case}.post_scores"]
        assert len(found) == len(scores) == 10
        np.testing.assert_allclose(found.scores, scores, rtol=TOLERANCE)
        np.testing.assert_array_equal(found.scores.argsort(), scores.argsort())
        boxes = self.recorded[f"{case}.post_boxes"]
        assert relative_difference(found.boxes, boxes) < TOLERANCE
        shape = self.recorded[f"{case}.post_masks_shape"]
        masks = np.unpackbits(self.recorded[f"{case}.post_masks"])[: shape.prod()].reshape(shape)
        assert (found.masks()[:, ::8, ::8] == masks).mean() > 0.9999
        large = upsample(torch.from_numpy(found.logits[:1])[None], found.size)[0, 0]
        self.check(f"{case}.post_prob0", large.sigmoid()[::8, ::8])


@pytest.fixture(scope="module")
def small() -> Golden:
    return Golden(DETECTOR_SMALL, "official_detector_small.npz")


def test_neck_and_texts_agree(small: Golden) -> None:
    small.check_maps()
    small.check_texts()


@pytest.mark.parametrize("case", [c if c in QUICK else pytest.param(c, marks=LONG) for c in CASES])
def test_detections_agree(small: Golden, case: str) -> None:
    small.check_case(case)


def test_every_recorded_case_is_checked(small: Golden) -> None:
    assert {name.split(".")[0] for name in small.recorded.files if "." in name} == {"a", *CASES}


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.timeout(1800)  # a busy machine takes several minutes for an image
def test_full_size_model_agrees() -> None:
    full = Golden(DETECTOR_FULL, "official_detector_full.npz")
    full.check_maps()
    full.check_texts()
    for case in sorted({n.split(".")[0] for n in full.recorded.files if "." in n} - {"a"}):
        full.check_case(case)
