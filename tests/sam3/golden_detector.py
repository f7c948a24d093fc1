"""Detectors filled by the golden rule, and the cases that were recorded on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from sam3.concepts.detector import Detector
from sam3.config import DetectorConfig, ModelConfig
from sam3.model.detector_model import DetectorModel
from sam3.model.unfilled import unfilled
from sam3.weights.detector_keys import official_detector_table
from tests.golden.weights_rule_ext import golden_tensor_ext
from tests.sam3.golden_model import FULL, SMALL, golden_predictor

DETECTOR_SMALL = replace(SMALL, detector=DetectorConfig(text_depth=2))
DETECTOR_FULL = FULL

_FIRST, _SECOND, _NOT = (150, 60, 450, 340), (20, 20, 120, 220), (400, 250, 590, 390)
#: Image, and text and examples as :meth:`Detector.find` takes them.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a_text": ("a", {"text": "cup"}),
    "a_text_box": ("a", {"text": "cup", "boxes": _FIRST}),
    "a_box": ("a", {"boxes": _FIRST}),
    "a_boxes": ("a", {"boxes": [_FIRST, _SECOND, _NOT], "labels": [True, True, False]}),
    "a_text_neg": ("a", {"text": "cup", "boxes": _NOT, "labels": [False]}),
    "b_text": ("b", {"text": "a person's hat"}),
    "b_box": ("b", {"boxes": (170, 60, 290, 210)}),
}


def golden_detector_state(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Official tensors of a detector, by the rule."""
    shapes = {k: tuple(v.shape) for k, v in unfilled(DetectorModel, config).state_dict().items()}
    return {
        key: torch.from_numpy(golden_tensor_ext(key, shapes[name], 1))
        for name, source in official_detector_table(config).items()
        for key in source.keys
    }


def golden_detector(config: ModelConfig) -> Detector:
    """Fill a detector, and the predictor beside it, through the official key tables."""
    state, table = golden_detector_state(config), official_detector_table(config)
    model = unfilled(DetectorModel, config)
    model.load_state_dict(
        {name: source.build(*(state[k] for k in source.keys)) for name, source in table.items()},
        assign=True,
    )
    return Detector(model.requires_grad_(False), golden_predictor(config))
