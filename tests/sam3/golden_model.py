"""Models filled by the golden rule, and the cases that were recorded on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data

from sam3.config import ModelConfig, TrunkConfig, get_preset
from sam3.model.click_model import ClickModel
from sam3.predictor import Predictor
from sam3.weights.keys import official_table
from tests.golden.weights_rule import golden_tensor

GOLDEN = Path(__file__).parents[1] / "golden"

FULL = get_preset("sam3")
SMALL = replace(
    FULL,
    name="golden-small",
    trunk=TrunkConfig(width=64, depth=4, heads=2, mlp_hidden=296, global_blocks=(1, 3)),
)

BOXES = np.array([[100, 50, 500, 350], [20, 20, 120, 220], [300, 100, 580, 380], [0, 0, 599, 399]])
PROMPTS: dict[str, dict[str, Any]] = {
    "one_point_multimask": {"point_coords": [[300, 200]], "point_labels": [1]},
    "one_point_single": {
        "point_coords": [[300, 200]],
        "point_labels": [1],
        "multimask_output": False,
    },
    "two_points_mask_input": {
        "point_coords": [[300, 200], [450, 120]],
        "point_labels": [1, 1],
        "multimask_output": False,
    },
    "fg_bg_mask_input": {
        "point_coords": [[300, 200], [450, 120]],
        "point_labels": [1, 0],
        "multimask_output": False,
    },
    "box": {"box": BOXES[0], "multimask_output": False},
    "box_point": {
        "box": BOXES[0],
        "point_coords": [[220, 150]],
        "point_labels": [0],
        "multimask_output": False,
    },
    "four_boxes": {"box": BOXES, "multimask_output": False},
    "four_boxes_multimask": {"box": BOXES},
}
BATCH_PROMPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "batch_boxes.0": ("a", PROMPTS["four_boxes"]),
    "batch_boxes.1": (
        "b",
        {"box": [[50, 50, 300, 400], [200, 100, 400, 500]], "multimask_output": False},
    ),
    "batch_points.0": (
        "a",
        {"point_coords": [[[300, 200]], [[450, 120]]], "point_labels": [[1], [1]]},
    ),
    "batch_points.1": (
        "b",
        {"point_coords": [[[220, 120]], [[400, 300]]], "point_labels": [[1], [1]]},
    ),
}
IMAGES = {"a": data.coffee(), "b": data.astronaut()}


def golden_state(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Official tensors of a configuration, by the rule."""
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in ClickModel(config).state_dict().items()}
    state = {}
    for name, source in official_table(config).items():
        shape = shapes[name]
        if name == "trunk.pos_embed":
            shape = (1, shape[1] * shape[2] + 1, shape[3])
        elif len(source.keys) > 1:
            shape = (shape[0] // len(source.keys), *shape[1:])
        for key in source.keys:
            state[key] = torch.from_numpy(golden_tensor(key, shape, 1))
    return state


def golden_predictor(config: ModelConfig) -> Predictor:
    """Fill a model through the official key table."""
    state = golden_state(config)
    model = ClickModel(config)
    table = official_table(config)
    model.load_state_dict({n: s.build(*(state[k] for k in s.keys)) for n, s in table.items()})
    return Predictor(model.requires_grad_(False), device="cpu")


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Norm of the difference over the norm of the reference."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
