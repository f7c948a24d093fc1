"""Clicks as a user made them, in the order they were made, as prompts of training crops.

Clicks are (n, 3) float32: x and y in px of the image, pixel centres at integers, and polarity, 1 on
the object and 0 on the background.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sam3.training.augment import View
from sam3.training.prompts import POINT_SLOTS, Prompt

__all__ = ["in_crop", "recorded_prompt", "starts_in"]

Clicks = NDArray[np.float32]
Mask = NDArray[np.bool_]


def in_crop(clicks: Clicks, view: View, crop: int, turns: int, mirrored: bool) -> Clicks:
    """Return where clicks of an image are in a crop of it.

    Parameters
    ----------
    clicks
        (n, 3), in px of the image.
    view
        The part of the image that was cut out.
    crop
        Side of the crop.
    turns, mirrored
        Quarter turns counterclockwise after cutting, and whether it was then mirrored.
    """
    x = (clicks[:, 0] - view.x) * (crop / view.width)
    y = (clicks[:, 1] - view.y) * (crop / view.height)
    cosine, sine = math.cos(view.angle), math.sin(view.angle)
    middle = crop / 2 - 0.5
    x, y = cosine * x + sine * y + middle, cosine * y - sine * x + middle
    for _ in range(turns % 4):
        x, y = y, crop - 1 - x
    if mirrored:
        x = crop - 1 - x
    return np.stack([x, y, clicks[:, 2]], axis=1).astype(np.float32)


def starts_in(clicks: Clicks, mask: Mask) -> bool:
    """Tell whether the first click is one on the object, and lies within a mask (H, W)."""
    if not len(clicks) or clicks[0, 2] != 1:
        return False
    column, row = np.rint(clicks[0, :2]).astype(int)
    height, width = mask.shape
    return bool(0 <= row < height and 0 <= column < width and mask[row, column])


def recorded_prompt(clicks: Clicks, mask: Mask, rng: np.random.Generator) -> Prompt | None:
    """Return the first of the clicks, or the first few; None if they do not begin on the mask.

    Parameters
    ----------
    clicks
        (n, 3), in px of the crop; those outside it are left out.
    mask
        The object (crop, crop).
    rng
        Draws how many.
    """
    if not starts_in(clicks, mask):
        return None
    inside = ((clicks[:, :2] > -0.5) & (clicks[:, :2] < len(mask) - 0.5)).all(1)
    made = clicks[inside][:POINT_SLOTS]
    made = made[: int(rng.integers(1, len(made) + 1))]
    coords, labels = np.zeros((POINT_SLOTS, 2), np.float32), np.full(POINT_SLOTS, -1, np.int64)
    coords[: len(made)], labels[: len(made)] = made[:, :2], made[:, 2]
    return Prompt(coords, labels, np.zeros(4, np.float32), has_box=False)
