"""The same small random detector in transformers, in a file that is named as the released one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import Sam3Config, Sam3Model

from sam3.config import DetectorConfig
from tests.sam3.oracle import CONFIG, save_as_released, transformers_model

SIZES = DetectorConfig(
    text_width=64,
    text_depth=2,
    text_heads=4,
    text_mlp_hidden=96,
    geometry_depth=2,
    encoder_depth=2,
    decoder_depth=3,
    heads=8,
    mlp_hidden=128,
    queries=20,
)
DETECTOR_CONFIG = replace(CONFIG, name="detector-oracle", detector=SIZES)


def transformers_detector(seed: int = 0) -> Sam3Model:
    """Random `Sam3Model` of the small sizes, in evaluation mode."""
    layers = {"hidden_size": CONFIG.channels, "intermediate_size": SIZES.mlp_hidden}
    layers |= {"num_attention_heads": SIZES.heads}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam3Model(
            Sam3Config(
                vision_config=transformers_model().config.vision_config,
                text_config={
                    "model_type": "clip_text_model",
                    "vocab_size": SIZES.vocabulary,
                    "hidden_size": SIZES.text_width,
                    "intermediate_size": SIZES.text_mlp_hidden,
                    "projection_dim": 16,
                    "num_hidden_layers": SIZES.text_depth,
                    "num_attention_heads": SIZES.text_heads,
                    "max_position_embeddings": SIZES.context,
                    "hidden_act": "gelu",
                },
                geometry_encoder_config={**layers, "num_layers": SIZES.geometry_depth},
                detr_encoder_config={**layers, "num_layers": SIZES.encoder_depth},
                detr_decoder_config={
                    **layers,
                    "num_layers": SIZES.decoder_depth,
                    "num_queries": SIZES.queries,
                },
                mask_decoder_config={
                    "hidden_size": CONFIG.channels,
                    "num_attention_heads": SIZES.heads,
                },
            )
        )
        for parameter in model.parameters():  # make every parameter matter
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        for name in ("query_embed", "reference_points"):  # or queries hardly differ
            weight = getattr(model.detr_decoder, name).weight
            weight.data.copy_(torch.randn_like(weight))
    model.eval()
    return model


def save_detector_as_released(model: Sam3Model, path: Path) -> None:
    """Write the detector, and a tracker beside it, in the naming of ``model.safetensors``."""
    save_as_released(transformers_model(), path)
    state = load_file(path)
    state |= {f"detector_model.{k}": v.clone() for k, v in model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, path)
