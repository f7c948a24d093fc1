"""The tracker agrees with transformers' `Sam3TrackerVideoModel` at the same random weights.

For prompts, and for plain propagation of one object once its memory encoder is put right: it
thresholds or squashes masks after resizing them, the original before, and it keeps memories in
bfloat16. Elsewhere it departs from the original; there the recorded numbers decide.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from skimage import data
from torch.nn import functional as F
from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
    Sam3TrackerVideoInferenceSession,
)

from sam3.predictor import Predictor
from sam3.preprocess.transforms import image_to_model
from sam3.tracking.tracker import FramePrompt, Tracker
from sam3.weights import load as checkpoint
from sam3.weights.memory import load_memory
from tests.sam3.golden_model import relative_difference
from tests.sam3.oracle import CONFIG as ORACLE
from tests.sam3.oracle import save_as_released

CONFIG = replace(ORACLE, resolution=168)
TOLERANCE = 3e-5
SIDE, GRID = CONFIG.resolution, CONFIG.grid
# Wider than the window of memories, shorter than that of pointers, and longer than both.
FRAMES = [np.roll(data.coffee()[::2, ::2], (3 * i, 5 * i), axis=(0, 1)) for i in range(18)]


class PutRight(cast(Any, Sam3TrackerVideoModel)):  # type: ignore[misc]
    """Encodes memories as the original does, in float32."""

    def _encode_new_memory(
        self,
        current_vision_feats: torch.Tensor,
        pred_masks_high_res: torch.Tensor,
        object_score_logits: torch.Tensor,
        is_mask_from_pts: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        objects = current_vision_feats.size(1)
        logits = F.interpolate(pred_masks_high_res, (SIDE, SIDE), mode="bilinear")
        masks = (logits > 0).float() if is_mask_from_pts else logits.sigmoid()
        masks = F.interpolate(20 * masks - 10, (16 * GRID,) * 2, mode="bilinear", antialias=True)
        pixels = current_vision_feats.permute(1, 2, 0).view(objects, -1, GRID, GRID)
        memory, positions = self.memory_encoder(pixels, masks)
        absent = (object_score_logits <= 0).float().reshape(-1, 1, 1, 1)
        memory = memory + absent * self.occlusion_spatial_embedding_parameter[..., None, None]
        return memory.flatten(2).permute(2, 0, 1), positions.flatten(2).permute(2, 0, 1)


def video_model(score: float) -> Any:
    trunk, side = CONFIG.trunk, CONFIG.mask_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PutRight(
            cast(Any, Sam3TrackerVideoConfig)(
                vision_config={
                    "model_type": "sam3_vision_model",
                    "backbone_config": {
                        "model_type": "sam3_vit_model",
                        "hidden_size": trunk.width,
                        "intermediate_size": trunk.mlp_hidden,
                        "num_hidden_layers": trunk.depth,
                        "num_attention_heads": trunk.heads,
                        "image_size": SIDE,
                        "window_size": trunk.window,
                        "pretrain_image_size": trunk.pretrain_grid * trunk.patch_size,
                        "global_attn_indexes": list(trunk.global_blocks),
                        "layer_norm_eps": trunk.layer_norm_eps,
                    },
                    "backbone_feature_sizes": [[side // k] * 2 for k in (1, 2, 4)],
                    "fpn_hidden_size": CONFIG.channels,
                },
                prompt_encoder_config={"image_size": SIDE},
                mask_decoder_config={"mlp_dim": CONFIG.decoder.mlp_hidden},
                image_size=SIDE,
            )
        )
        for parameter in model.parameters():  # make every parameter matter
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(score)
        shared = model.prompt_encoder.shared_embedding.positional_embedding
        model.shared_image_embedding.positional_embedding.data.copy_(shared.data)
    return model.eval()


def theirs(model: Any, frame: int, reverse: bool, points: Any, labels: Any) -> dict[int, Any]:
    """Low-resolution logits and object logits of every frame, from transformers."""
    video = torch.cat([image_to_model(image, SIDE) for image in FRAMES])
    session = cast(Any, Sam3TrackerVideoInferenceSession)(
        video, *FRAMES[0].shape[:2], dtype=torch.float32, max_vision_features_cache_size=1
    )
    height, width = FRAMES[0].shape[:2]
    scale = torch.tensor([SIDE / width, SIDE / height])
    inputs = {
        "point_coords": torch.tensor([[points]]) * scale,
        "point_labels": torch.tensor([[labels]], dtype=torch.int32),
    }
    session.add_point_inputs(session.obj_id_to_idx(1), frame, inputs)
    session.obj_with_new_inputs = [1]
    with torch.inference_mode():
        model(session, frame_idx=frame)
        found = model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=reverse)
        return {one.frame_idx: (one.pred_masks, one.object_score_logits) for one in found}


@pytest.mark.parametrize(
    ("frame", "reverse", "points", "labels", "score"),
    [
        (0, False, [[150.0, 100.0]], [1], 3.0),
        (9, True, [[150.0, 100.0], [225.0, 60.0]], [1, 0], 3.0),
        (11, False, [[150.0, 100.0]], [1], -9.0),
    ],
    ids=["one click, forward", "two clicks, backward", "absent"],
)
@pytest.mark.usefixtures("one_torch_thread")
def test_propagation_agrees(
    tmp_path: Path, frame: int, reverse: bool, points: Any, labels: Any, score: float
) -> None:
    model = video_model(score)
    save_as_released(model, tmp_path / "model.safetensors")
    click = checkpoint.load(tmp_path / "model.safetensors", config=CONFIG)
    memory = load_memory(tmp_path / "model.safetensors", config=CONFIG)
    tracker = Tracker(Predictor(click, device="cpu"), memory)
    prompt = FramePrompt(frame=frame, object_id=1, points=points, labels=labels)
    direction: Any = "backward" if reverse else "forward"
    ours = {one.frame: one for one in tracker.track(FRAMES, [prompt], direction=direction)}
    expected = theirs(model, frame, reverse, points, labels)
    assert ours.keys() == expected.keys()
    for number, (masks, object_logits) in expected.items():
        found = ours[number]
        assert (found.object_logits[0] > 0) == (score > 0)
        difference = relative_difference(found.logits[0], masks[0, 0].numpy())
        assert difference < TOLERANCE, f"frame {number}: {difference:.1e}"
        assert abs(found.object_logits[0] - float(object_logits)) < TOLERANCE * 10
