"""A random detector answers as transformers does, its weights carried over by our key table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from sam3.concepts.detector import Detector
from sam3.features import ImageFeatures
from sam3.model.box_ops import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh
from sam3.predictor import Predictor
from sam3.preprocess.transforms import image_to_model
from sam3.weights import load as checkpoint
from sam3.weights.detector import load_detector_model
from tests.sam3.detector_oracle import (
    DETECTOR_CONFIG,
    save_detector_as_released,
    transformers_detector,
)
from tests.sam3.golden_model import relative_difference

pytestmark = pytest.mark.usefixtures("one_torch_thread")
IMAGE = data.coffee()
BOXES = [[150, 60, 450, 340], [20, 20, 120, 220], [400, 250, 590, 390]]
#: transformers leaves the last token of a prompt out where there is no box; a box with this label
#: counts as padding and brings the token back.
PADDING = -10


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Detector, ImageFeatures, Any]:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    peer = transformers_detector()
    save_detector_as_released(peer, path)
    predictor = Predictor(checkpoint.load(path, config=DETECTOR_CONFIG), device="cpu")
    detector = Detector(load_detector_model(path, config=DETECTOR_CONFIG), predictor)
    return detector, detector.encode(IMAGE), peer


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cup", []),
        (None, [1]),
        ("a person's hat", [1]),
        ("cup", [0]),
        (None, [1, 1, 0]),
        ("cell " * 50, [0, 1]),
    ],
)
def test_transformers_answers_the_same(
    pair: tuple[Detector, ImageFeatures, Any], text: str | None, labels: list[int]
) -> None:
    detector, features, peer = pair
    height, width = IMAGE.shape[:2]
    boxes = torch.tensor(BOXES[: len(labels)] or [[0, 0, 1, 1]]) / torch.tensor(
        [width, height, width, height]
    )
    with torch.inference_mode():
        theirs = peer(
            pixel_values=image_to_model(IMAGE, DETECTOR_CONFIG.resolution),
            input_ids=torch.tensor([detector.tokenizer.encode(text or "visual")]),
            input_boxes=box_xyxy_to_cxcywh(boxes)[None],
            input_boxes_labels=torch.tensor([labels or [PADDING]]),
        )
        examples: dict[str, Any] = (
            {"boxes": BOXES[: len(labels)], "labels": labels} if labels else {}
        )
        prompt = detector.prompt(features, text, **examples)
        image = detector.image(features)
        raw = detector.model.detect(image, prompt)
        pixels = detector.model.pixels(image, raw, prompt)
        masks = detector.model.masks(raw.queries, pixels)
        semantic = detector.model.masks.semantic(pixels)
    for ours, peers in (
        (raw.logits, theirs.pred_logits[0]),
        (box_cxcywh_to_xyxy(raw.boxes), theirs.pred_boxes[0]),
        (raw.presence, theirs.presence_logits[0, 0]),
        (masks, theirs.pred_masks[0]),
        (semantic, theirs.semantic_seg),
    ):
        assert ours.shape == peers.shape
        assert relative_difference(ours.numpy(), peers.numpy()) < 2e-5


def test_other_texts_give_other_answers(pair: tuple[Detector, ImageFeatures, Any]) -> None:
    detector, features, _ = pair
    cup, hat = (detector.find(features, text).scores for text in ("cup", "hat"))
    assert relative_difference(cup, hat) > 1e-3
    again = detector.find(features, " CUP ").scores
    np.testing.assert_array_equal(cup, again)


def test_examples_of_another_image(pair: tuple[Detector, ImageFeatures, Any]) -> None:
    detector, features, _ = pair
    tokens = detector.encode_examples(features, BOXES, [True, True, False])
    assert tokens.shape == (3, DETECTOR_CONFIG.channels)
    other = detector.encode(data.astronaut())
    found = detector.find(other, examples=[tokens])
    assert found.size == (512, 512)
    changed = detector.find(other, examples=[tokens[:1]])
    assert relative_difference(found.scores, changed.scores) > 1e-4
