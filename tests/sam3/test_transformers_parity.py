"""The model agrees with transformers' `Sam3TrackerModel` at the same random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from skimage import data

from sam3.predictor import ImageFeatures, Predictor
from sam3.preprocess.transforms import image_to_model
from sam3.weights import load as checkpoint
from tests.sam3.golden_model import relative_difference
from tests.sam3.oracle import (
    CONFIG,
    oracle_embeddings,
    oracle_predict,
    save_as_released,
    transformers_model,
)

TOLERANCE = 1e-5


class Pair(NamedTuple):
    predictor: Predictor
    features: ImageFeatures
    peer: Any
    embeddings: list[torch.Tensor]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    peer = transformers_model()
    path = Path(tmp_path_factory.mktemp("oracle")) / "model.safetensors"
    save_as_released(peer, path)
    predictor = Predictor(checkpoint.load(path, config=CONFIG), device="cpu")
    image = data.coffee()
    embeddings = oracle_embeddings(peer, image_to_model(image, CONFIG.resolution))
    return Pair(predictor, predictor.encode(image), peer, embeddings)


def test_image_features_agree(pair: Pair) -> None:
    fine, middle, coarse = pair.embeddings[:3]
    ours = pair.features.encoded
    no_memory = pair.predictor.model.no_memory_embed.transpose(1, 2)[..., None]
    assert relative_difference(ours.fine.numpy(), fine.numpy()) < TOLERANCE
    assert relative_difference(ours.middle.numpy(), middle.numpy()) < TOLERANCE
    assert relative_difference((ours.embedding + no_memory).numpy(), coarse.numpy()) < TOLERANCE


PROMPTS: dict[str, dict[str, Any]] = {
    "point": {"point_coords": [[300, 200]], "point_labels": [1]},
    "points": {"point_coords": [[300, 200], [30, 350]], "point_labels": [1, 0]},
    "box": {"box": [100, 50, 500, 350]},
    "boxes": {"box": [[100, 50, 500, 350], [20, 20, 120, 220]]},
    "box and points": {
        "box": [100, 50, 500, 350],
        "point_coords": [[220, 150], [300, 200]],
        "point_labels": [0, 1],
    },
    "padded points": {
        "point_coords": [[[300, 200], [0, 0]], [[30, 350], [450, 120]]],
        "point_labels": [[1, -1], [1, 0]],
    },
}


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
def test_masks_agree(pair: Pair, prompts: dict[str, Any], multimask: bool) -> None:
    ours = pair.predictor.predict(pair.features, **prompts, multimask_output=multimask)
    inputs = _inputs(prompts, pair.features.size)
    logits, scores = oracle_predict(
        pair.peer, pair.embeddings, **inputs, multimask_output=multimask
    )
    logits = np.clip(logits, -32, 32).reshape(ours.logits.shape)
    assert relative_difference(ours.logits, logits) < TOLERANCE
    np.testing.assert_allclose(ours.scores, scores.reshape(ours.scores.shape), atol=TOLERANCE)


def test_masks_with_a_previous_mask_agree(pair: Pair) -> None:
    prompts = PROMPTS["points"]
    previous = pair.predictor.predict(pair.features, **PROMPTS["point"])
    mask = previous.logits[previous.scores.argmax()][None]
    ours = pair.predictor.predict(pair.features, **prompts, mask_input=mask)
    logits, _ = oracle_predict(
        pair.peer,
        pair.embeddings,
        **_inputs(prompts, pair.features.size),
        input_masks=torch.from_numpy(mask)[None],
        multimask_output=True,
    )
    assert relative_difference(ours.logits, np.clip(logits[0], -32, 32)) < TOLERANCE
    unprompted = pair.predictor.predict(pair.features, **prompts)
    assert relative_difference(unprompted.logits, ours.logits) > 0.01


def _inputs(prompts: dict[str, Any], size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Prompts as transformers takes them: in the model's frame, with leading image axis."""
    scale = np.array([CONFIG.resolution / size[1], CONFIG.resolution / size[0]])
    inputs = {}
    if "box" in prompts:
        boxes = np.reshape(prompts["box"], (-1, 2, 2)) * scale
        inputs["input_boxes"] = torch.tensor(boxes.reshape(1, -1, 4), dtype=torch.float32)
    if "point_coords" in prompts:
        points = np.asarray(prompts["point_coords"]) * scale
        labels = np.asarray(prompts["point_labels"])
        points, labels = points.reshape(-1, *points.shape[-2:]), np.atleast_2d(labels)
        inputs["input_points"] = torch.tensor(points, dtype=torch.float32)[None]
        inputs["input_labels"] = torch.tensor(labels)[None]
    return inputs
