"""A small random detector and click model in one file of our own format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sam3.config import DetectorConfig, ModelConfig, get_preset
from sam3.model_builder import build_click_model, build_detector_model
from sam3.weights import load as checkpoint

DETECTOR_TINY: ModelConfig = replace(
    get_preset("tiny"),
    name="tiny-detector",
    resolution=252,
    detector=DetectorConfig(
        text_width=32,
        text_depth=1,
        text_heads=2,
        text_mlp_hidden=32,
        geometry_depth=1,
        encoder_depth=1,
        decoder_depth=2,
        mlp_hidden=64,
        queries=30,
    ),
)


def save_tiny_detector(path: Path) -> None:
    """Write random weights."""
    model = build_click_model(DETECTOR_TINY)
    checkpoint.save(model, path, detector=build_detector_model(DETECTOR_TINY))
