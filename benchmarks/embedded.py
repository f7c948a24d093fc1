"""How fast the model in the package answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import skimage.data

from benchmarks.measure import Row, measure
from sam3 import Predictor

__all__ = ["embedded_rows"]

OBJECTS = 64


def embedded_rows(predictor: Predictor, *, repeats: int) -> Iterator[Row]:
    """Measure encoding, clicks and a batch of boxes on skimage's coins (303 x 384 px)."""
    image = skimage.data.coins()
    name, side = predictor.config.name, predictor.config.resolution
    yield Row(
        f"encode an image, model *{name}* ({side} x {side} px)",
        measure(lambda: predictor.encode(image), repeats=repeats),
    )
    features = predictor.encode(image)
    point, label = [[154, 127]], [1]
    yield Row(
        "one click, three masks at the image's size",
        measure(lambda: predictor.predict(features, point, label), repeats=4 * repeats),
    )
    before = predictor.predict(features, point, label)
    logits = before.logits[int(np.argmax(before.scores))][None]
    points, labels = [*point, [154, 160]], [*label, 0]
    yield Row(
        "a second click, with the mask before as a prompt",
        measure(
            lambda: predictor.predict(
                features, points, labels, mask_input=logits, multimask_output=False
            ),
            repeats=4 * repeats,
        ),
    )
    corners = np.random.default_rng(0).uniform((5, 5), (320, 240), (OBJECTS, 2))
    boxes = np.concatenate([corners, corners + 50], axis=1)
    yield Row(
        f"{OBJECTS} boxes in one call",
        measure(
            lambda: predictor.predict(features, box=boxes, multimask_output=False),
            repeats=max(repeats // 2, 3),
        ),
    )
