"""The same small random model in transformers, its weights carried over by our own key table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import Sam3TrackerConfig, Sam3TrackerModel

from sam3.config import ModelConfig, TrunkConfig, get_preset

CONFIG = replace(
    get_preset("sam3"),
    name="oracle",
    resolution=336,
    trunk=TrunkConfig(
        width=64,
        depth=3,
        heads=2,
        mlp_hidden=160,
        global_blocks=(1,),
        window=8,
        pretrain_grid=8,
        layer_norm_eps=1e-6,
    ),
)


def transformers_model(config: ModelConfig = CONFIG, seed: int = 0) -> Sam3TrackerModel:
    """Random `Sam3TrackerModel` of the given sizes, in evaluation mode."""
    trunk, size = config.trunk, config.mask_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Sam3TrackerModel(
            Sam3TrackerConfig(
                vision_config={
                    "model_type": "sam3_vision_model",
                    "backbone_config": {
                        "model_type": "sam3_vit_model",
                        "hidden_size": trunk.width,
                        "intermediate_size": trunk.mlp_hidden,
                        "num_hidden_layers": trunk.depth,
                        "num_attention_heads": trunk.heads,
                        "image_size": config.resolution,
                        "window_size": trunk.window,
                        "pretrain_image_size": trunk.pretrain_grid * trunk.patch_size,
                        "global_attn_indexes": list(trunk.global_blocks),
                        "layer_norm_eps": trunk.layer_norm_eps,
                    },
                    "backbone_feature_sizes": [[size // k] * 2 for k in (1, 2, 4)],
                    "fpn_hidden_size": config.channels,
                },
                prompt_encoder_config={"image_size": config.resolution},
                mask_decoder_config={"mlp_dim": config.decoder.mlp_hidden},
            )
        )
        for parameter in model.parameters():  # make every parameter matter
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        # Two copies of one matrix, which released weights fill alike.
        shared = model.prompt_encoder.shared_embedding.positional_embedding
        model.shared_image_embedding.positional_embedding.data.copy_(shared.data)
    model.eval()
    return model


def save_as_released(model: Sam3TrackerModel, path: Path) -> None:
    """Write the weights in the naming of the released ``model.safetensors``."""
    renames = {
        "vision_encoder.backbone.": "detector_model.vision_encoder.backbone.",
        "vision_encoder.neck.": "tracker_neck.",
    }
    state = {}
    for key, tensor in model.state_dict().items():
        for old, new in renames.items():
            if key.startswith(old):
                state[new + key.removeprefix(old)] = tensor
                break
        else:
            state[f"tracker_model.{key}"] = tensor
    save_file({k: v.clone().contiguous() for k, v in state.items()}, path)


def oracle_embeddings(model: Sam3TrackerModel, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Image embeddings with the no-memory vector on the level that is decoded.

    transformers adds it to a level that is then dropped, unlike the original implementation.
    """
    with torch.inference_mode():
        embeddings = list(model.get_image_embeddings(pixels))
        embeddings[2] = embeddings[2] + model.no_memory_embedding.transpose(1, 2)[..., None]
    return embeddings


def oracle_predict(
    model: Sam3TrackerModel, embeddings: list[torch.Tensor], **inputs: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Low-resolution logits (B, C, L, L) and scores (B, C) of transformers."""
    with torch.inference_mode():
        out = model(image_embeddings=embeddings, **inputs)
    return out.pred_masks[0].numpy(), out.iou_scores[0].numpy()
