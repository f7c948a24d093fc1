"""The full-size concept detector, with random weights, beside the one in transformers.

`python -m benchmarks.detecting` measures it on one encoded image, with a text and an example box.
The image encoder has one block and is not timed; the text, and what depends on the image alone, are
computed before. Both make the masks of all queries.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from benchmarks.full_size import OTHER, shortened, vision_of
from benchmarks.measure import Row, take_turns
from sam3 import Predictor
from sam3.concepts.detector import Detector
from sam3.config import ModelConfig, get_preset
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.detector_model import DetectorModel
from sam3.model_builder import build_click_model
from sam3.preprocess.transforms import image_to_model

__all__ = ["detector_row", "main"]

TEXT = "nucleus"
#: Shares of the side of the image: middle, width and height.
BOX = (0.36, 0.34, 0.12, 0.12)


def detector_row(config: ModelConfig, *, repeats: int) -> Row:
    """Measure both by turns, `repeats` times each."""
    from transformers import Sam3Config, Sam3Model

    config, side = shortened(config), config.resolution
    predictor = Predictor(build_click_model(config).eval(), device="cpu")
    ours = Detector(DetectorModel(config), predictor)
    other: Any = Sam3Model(Sam3Config(vision_config=vision_of(config))).eval()
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    box = torch.tensor([BOX])
    corners = side * box_cxcywh_to_xyxy(box)
    with torch.inference_mode():
        features = ours.encode(image)
        seen = other.get_vision_features(pixel_values=image_to_model(image, side))
        tokens = torch.tensor([ours.tokenizer.encode(TEXT)])
        text = other.get_text_features(input_ids=tokens)
        found = ours.image(features)

        def detect() -> Any:
            prompt = ours.prompt(features, TEXT, boxes=corners, labels=[1])
            raw = ours.model.detect(found, prompt)
            pixels = ours.model.pixels(found, raw, prompt)
            return ours.model.masks(raw.queries, pixels)

        def detect_there() -> Any:
            return other(
                vision_embeds=seen,
                text_embeds=text,
                input_boxes=box[None],
                input_boxes_labels=torch.tensor([[1]]),
            ).pred_masks

        assert detect().shape == detect_there()[0].shape
        return Row(
            f"find a concept by text and box on an encoded image, *{config.name}*, "
            f"{side} x {side} px, random weights",
            *take_turns(detect, detect_there, repeats=repeats),
            other_name=OTHER,
        )


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    print(detector_row(get_preset("sam3"), repeats=parser.parse_args().repeats).line)


if __name__ == "__main__":
    main()
