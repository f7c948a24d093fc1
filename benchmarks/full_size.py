"""The full-size model, with random weights, beside the one in transformers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Row, Skipped, take_turns
from sam3 import Predictor
from sam3.config import ModelConfig, get_preset
from sam3.errors import ConfigError, UnsupportedError
from sam3.features import ImageFeatures
from sam3.model.click_model import ClickModel
from sam3.model_builder import build_click_model

__all__ = [
    "OTHER",
    "click_row",
    "full_size_rows",
    "shallow",
    "shortened",
    "transformers_model",
    "vision_of",
    "wait",
]

OTHER = "transformers"
_LEAST_RESOLUTION = 252


def shallow() -> ModelConfig:
    """Return the full-size model with 2 of its 32 blocks and a third of its resolution."""
    short = shortened(get_preset("sam3"), 2)
    return dataclasses.replace(short, name="sam3-shallow").with_resolution(336)


def shortened(config: ModelConfig, depth: int = 1) -> ModelConfig:
    """Return the model with so many blocks in the image encoder, the last one global."""
    trunk = dataclasses.replace(config.trunk, depth=depth, global_blocks=(depth - 1,))
    return dataclasses.replace(config, trunk=trunk)


def full_size_rows(
    config: ModelConfig, *, repeats: int, device: str = "cpu"
) -> Iterator[Row | Skipped]:
    """Measure encoding and one click, both models in the same process, turn by turn."""
    ours = Predictor(build_click_model(config).eval(), device=device)
    other = transformers_model(config).to(ours.device)
    side = config.resolution
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    pixels = torch.tensor(image).permute(2, 0, 1)[None].float().div(127.5).sub(1).to(ours.device)
    label = f"*{config.name}*, {side} x {side} px, random weights"
    with torch.inference_mode():
        yield Row(
            f"encode an image, {label}",
            *take_turns(
                lambda: wait(ours.encode(image)),
                lambda: wait(other.get_image_embeddings(pixels)),
                repeats=repeats,
            ),
            other_name=OTHER,
        )
        yield from _other_ways_to_encode(
            ours, image, lambda: other.get_image_embeddings(pixels), label, repeats
        )
        features, embeddings = ours.encode(image), other.get_image_embeddings(pixels)
        yield click_row(ours, other, features, embeddings, label, repeats=4 * repeats)


def click_row(
    ours: Predictor,
    other: Any,
    features: ImageFeatures,
    embeddings: list[torch.Tensor],
    label: str,
    *,
    repeats: int,
) -> Row:
    """Measure a click in the middle of an image as large as the input, both by turns."""
    side = ours.config.resolution
    point = [[side / 2, side / 2]]
    return Row(
        f"one click, three masks at the image's size, {label}",
        *take_turns(
            lambda: ours.predict(features, point, [1]),
            lambda: _click_by_other(other, embeddings, point, side),
            repeats=repeats,
        ),
        other_name=OTHER,
    )


def _other_ways_to_encode(
    ours: Predictor, image: Any, by_other: Callable[[], object], label: str, repeats: int
) -> Iterator[Row | Skipped]:
    """Encode with 8-bit layers beside the other implementation, and at half the input's side."""
    what = f"encode an image with precision int8, {label}"
    try:
        rounded = Predictor(ours.model, ours.device, "int8")
    except (ConfigError, UnsupportedError) as error:
        yield Skipped(what, str(error))
    else:
        turns = take_turns(lambda: rounded.encode(image), by_other, repeats=repeats)
        yield Row(what, *turns, other_name=OTHER)
        del rounded
    small = ours.config.with_resolution(max(ours.config.resolution // 2, _LEAST_RESOLUTION))
    model = ClickModel(small)
    model.load_state_dict(ours.model.state_dict(), assign=True)  # the same tensors, held once
    halved = Predictor(model, ours.device, ours.precision)
    yield Row(
        f"encode an image with resolution={small.resolution}, {label}",
        *take_turns(
            lambda: wait(halved.encode(image)), lambda: wait(ours.encode(image)), repeats=repeats
        ),
        other_name=f"at {ours.config.resolution} px",
    )


def _click_by_other(
    other: Any, embeddings: list[torch.Tensor], point: list[list[float]], side: int
) -> Any:
    """Answer one click and bring the masks to the image's size, as `Predictor.predict` does."""
    device = embeddings[0].device
    answer = other(
        input_points=torch.tensor([[point]], device=device),
        input_labels=torch.tensor([[[1]]], device=device),
        image_embeddings=list(embeddings),
        multimask_output=True,
    )
    masks = torch.nn.functional.interpolate(answer.pred_masks[0], (side, side), mode="bilinear")
    return (masks > 0).cpu().numpy()


def wait(result: Any) -> Any:
    """Let a GPU finish: it works on after a call has come back."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def transformers_model(config: ModelConfig) -> Any:
    """Build the model of transformers with the same sizes, and random weights."""
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    model: Any = Sam3TrackerModel(
        Sam3TrackerConfig(
            vision_config=vision_of(config),
            prompt_encoder_config={"image_size": config.resolution},
        )
    )
    return model.eval()


def vision_of(config: ModelConfig) -> dict[str, Any]:
    """Return the sizes of the image encoder as transformers names them."""
    grid, trunk = config.grid, config.trunk
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": trunk.width,
        "intermediate_size": trunk.mlp_hidden,
        "num_hidden_layers": trunk.depth,
        "num_attention_heads": trunk.heads,
        "global_attn_indexes": list(trunk.global_blocks),
        "window_size": trunk.window,
        "image_size": config.resolution,
    }
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "backbone_feature_sizes": [[grid * k, grid * k] for k in (4, 2, 1)],
    }
