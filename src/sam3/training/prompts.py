"""Simulated prompts: clicks, corrective clicks and boxes, drawn from true masks.

Points are (x, y) in pixels of the mask, with pixel centres at integers. Boxes are (x0, y0, x1, y1)
with inclusive pixel indices: a one-pixel object at (3, 5) has (3, 5, 3, 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

__all__ = [
    "POINT_SLOTS",
    "PROMPT_KINDS",
    "Prompt",
    "append_clicks",
    "background_points",
    "box_with_slack",
    "central_point",
    "next_click",
    "next_clicks",
    "random_point",
    "sample_prompt",
    "tight_box",
]

#: Number of clicks in a training prompt; unused slots have the label -1.
POINT_SLOTS = 7

#: Kinds of prompts and their probabilities.
PROMPT_KINDS: dict[str, float] = {
    "centre": 0.30,
    "click": 0.20,
    "clicks": 0.15,
    "box": 0.20,
    "box+clicks": 0.15,
}

Mask = NDArray[np.bool_]
Point = NDArray[np.float32]


@dataclass(frozen=True)
class Prompt:
    """One prompt for one object.

    Attributes
    ----------
    coords
        (POINT_SLOTS, 2) float32 clicks, zeros where unused.
    labels
        (POINT_SLOTS,) int64: 1 on the object, 0 on the background, -1 unused.
    box
        (4,) float32, zeros without a box.
    has_box
        Whether the prompt has a box.
    """

    coords: NDArray[np.float32]
    labels: NDArray[np.int64]
    box: NDArray[np.float32]
    has_box: bool


def tight_box(mask: Mask) -> NDArray[np.float32]:
    """Return (x0, y0, x1, y1), the inclusive pixel indices that bound a mask (H, W).

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    rows = np.flatnonzero(mask.any(1))
    if len(rows) == 0:
        raise ValueError("the mask is empty. Expected at least one true pixel. Leave it out.")
    columns = np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float32)


def box_with_slack(mask: Mask, rng: np.random.Generator, slack: float = 0.1) -> NDArray[np.float32]:
    """Return the box of a mask as drawn by hand, with each side off by up to `slack` of its length.

    Hand-drawn boxes tend to be too large, so a side moves inwards by at most a third of that. The
    box stays inside the image.
    """
    box = tight_box(mask)
    extent = np.tile(box[2:] - box[:2] + 1, 2)
    outwards = rng.uniform(-slack / 3, slack, 4) * extent
    height, width = mask.shape
    moved = box + outwards * np.array([-1, -1, 1, 1])
    limits = np.array([width - 1, height - 1, width - 1, height - 1])
    return np.asarray(np.clip(moved, 0, limits), np.float32)


def _crop_to(mask: Mask) -> tuple[Mask, int, int]:
    """Crop a mask to its bounding box; also return the crop's (row, column)."""
    x0, y0, x1, y1 = tight_box(mask).astype(int)
    return mask[y0 : y1 + 1, x0 : x1 + 1], int(y0), int(x0)


def central_point(mask: Mask) -> Point:
    """Return the (x, y) pixel farthest from the mask's edge, which includes the image border."""
    cut, row, column = _crop_to(mask)
    depth = ndimage.distance_transform_edt(np.pad(cut, 1))[1:-1, 1:-1]
    place = np.unravel_index(int(depth.argmax()), depth.shape)
    return np.array([place[1] + column, place[0] + row], np.float32)


def random_point(mask: Mask, rng: np.random.Generator) -> Point:
    """Return an (x, y) pixel of the mask: near its centre, anywhere, or near its edge."""
    cut, row, column = _crop_to(mask)
    where = rng.random()
    if where < 0.45:
        allowed = cut
    else:
        depth = ndimage.distance_transform_cdt(np.pad(cut, 1))[1:-1, 1:-1]
        deepest = int(depth.max())
        if where < 0.8:
            allowed = depth >= 0.6 * deepest
        else:
            allowed = (depth >= min(2, deepest)) & (depth <= max(2.0, 0.35 * deepest))
    choices = np.flatnonzero(allowed)
    place = int(choices[rng.integers(len(choices))])
    return np.array([place % cut.shape[1] + column, place // cut.shape[1] + row], np.float32)


def background_points(
    mask: Mask, labels: NDArray[np.integer], rng: np.random.Generator, n: int
) -> NDArray[np.float32]:
    """Return up to n (x, y) background clicks near an object, half of them on neighbours.

    Parameters
    ----------
    mask
        The object (H, W).
    labels
        Instance map (H, W) with the neighbours.
    rng
        Source of randomness.
    n
        Number of clicks.

    Returns
    -------
    (n, 2) float32, or (0, 2) if there is no background.
    """
    x0, y0, x1, y1 = tight_box(mask).astype(int)
    reach = int(3 + 0.35 * max(x1 - x0, y1 - y0))
    row, column = max(0, y0 - reach), max(0, x0 - reach)
    window = (slice(row, y1 + reach + 1), slice(column, x1 + reach + 1))
    free = ~ndimage.binary_dilation(mask[window])
    if not free.any():
        window, row, column = (slice(None), slice(None)), 0, 0
        free = ~mask
    anywhere = np.flatnonzero(free)
    if len(anywhere) == 0:
        return np.zeros((0, 2), np.float32)
    neighbours = np.flatnonzero(free & (labels[window] > 0))
    points = np.zeros((n, 2), np.float32)
    for point in points:
        choices = neighbours if len(neighbours) and rng.random() < 0.5 else anywhere
        place = int(choices[rng.integers(len(choices))])
        point[:] = place % free.shape[1] + column, place // free.shape[1] + row
    return points


def next_click(prediction: Mask, mask: Mask, rng: np.random.Generator) -> tuple[Point, int]:
    """Return the click that corrects the largest connected error, and its label.

    Parameters
    ----------
    prediction, mask
        Predicted and true object (H, W).
    rng
        Source of randomness: the click is a random pixel of the region's inner half.

    Returns
    -------
    point
        (x, y).
    label
        1 on a missed part of the object, 0 on background predicted as object, -1 without error
        (the point is then (0, 0)).
    """
    prediction, mask = prediction.astype(bool), mask.astype(bool)
    best: tuple[int, Mask, int] | None = None
    for error, label in ((mask & ~prediction, 1), (prediction & ~mask, 0)):
        regions, count = ndimage.label(error)
        if count:
            areas = np.bincount(regions.ravel())[1:]
            if best is None or int(areas.max()) > best[0]:
                best = int(areas.max()), regions == int(areas.argmax()) + 1, label
    if best is None:
        return np.zeros(2, np.float32), -1
    cut, row, column = _crop_to(best[1])
    depth = ndimage.distance_transform_edt(np.pad(cut, 1))[1:-1, 1:-1]
    choices = np.flatnonzero(depth > 0.5 * depth.max())
    place = int(choices[rng.integers(len(choices))])
    point = np.array([place % cut.shape[1] + column, place // cut.shape[1] + row], np.float32)
    return point, best[2]


def next_clicks(
    prediction: Tensor,
    mask: Tensor,
    generator: torch.Generator | None = None,
    *,
    scale: float = 1.0,
    depth: int = 4,
) -> tuple[Tensor, Tensor]:
    """Return a corrective click for each of many objects, without distance transforms.

    The click is a random pixel among those of the error that survive most of `depth` erosions by
    one pixel, so it lies well inside a thick error region. Its polarity follows from its position.

    Parameters
    ----------
    prediction, mask
        (..., h, w), true where above 0: logits, booleans or 0/1 alike.
    generator
        Source of randomness, on any device.
    scale
        Pixels of the target frame per mask pixel: 3.5 maps a mask of crop / 3.5 to the crop.
    depth
        Number of erosions.

    Returns
    -------
    coords
        (..., 2) float32 (x, y) in the target frame.
    labels
        (...) int64: 1 or 0, and -1 where prediction and mask agree (coords are then 0).
    """
    shape, (height, width) = prediction.shape[:-2], prediction.shape[-2:]
    truth = (mask > 0).reshape(-1, height, width)
    error = (prediction > 0).reshape(-1, height, width) ^ truth
    # Missed and false pixels are eroded separately, so that their common border is an edge.
    layers = torch.stack([error & truth, error & ~truth], 1)
    where = error.device if generator is None else generator.device
    score = torch.rand(error.shape, generator=generator, device=where).to(error.device) * 0.99
    score = torch.where(error, score, torch.full_like(score, -1.0))
    for _ in range(depth):
        framed = functional.pad(layers, (1, 1, 1, 1))
        layers = (
            layers
            & framed[..., :-2, 1:-1]
            & framed[..., 2:, 1:-1]
            & framed[..., 1:-1, :-2]
            & framed[..., 1:-1, 2:]
        )
        score = score + layers.any(1)
    place = score.flatten(1).argmax(1)
    wrong = error.flatten(1).any(1)
    label = truth.flatten(1).gather(1, place[:, None])[:, 0].long()
    x, y = place % width, place // width
    coords = (torch.stack([x, y], -1).float() + 0.5) * scale - 0.5
    coords = torch.where(wrong[:, None], coords, torch.zeros_like(coords))
    label = torch.where(wrong, label, torch.full_like(label, -1))
    return coords.reshape(*shape, 2), label.reshape(shape)


def append_clicks(
    coords: Tensor, labels: Tensor, new_coords: Tensor, new_labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Add one click in the first unused slot of each prompt; full prompts are unchanged.

    Parameters
    ----------
    coords, labels
        (..., K, 2) and (..., K), -1 where unused.
    new_coords, new_labels
        (..., 2) and (...), -1 for no click.

    Returns
    -------
    New coords and labels of the same shapes.
    """
    unused = labels == -1
    first = unused & (unused.cumsum(-1) == 1) & (new_labels != -1)[..., None]
    coords = torch.where(first[..., None], new_coords[..., None, :].to(coords.dtype), coords)
    return coords, torch.where(first, new_labels[..., None], labels)


def sample_prompt(
    mask: Mask, labels: NDArray[np.integer], rng: np.random.Generator, kind: str | None = None
) -> Prompt:
    """Draw a prompt for one object.

    Parameters
    ----------
    mask
        The object (H, W), not empty.
    labels
        Instance map (H, W).
    rng
        Source of randomness.
    kind
        One of `PROMPT_KINDS`, drawn by its probability if None.

    Raises
    ------
    ValueError
        If `kind` is unknown or the mask is empty.
    """
    if kind is None:
        kind = str(rng.choice(list(PROMPT_KINDS), p=list(PROMPT_KINDS.values())))
    if kind not in PROMPT_KINDS:
        raise ValueError(
            f"unknown prompt kind: {kind!r}. Expected {', '.join(PROMPT_KINDS)}. Choose one."
        )
    points: list[Point] = []
    signs: list[int] = []
    if kind == "centre":
        points, signs = [central_point(mask)], [1]
    elif kind != "box":
        points, signs = [random_point(mask, rng)], [1]
        clicks = {"click": 0, "clicks": int(rng.integers(1, 3)), "box+clicks": int(rng.integers(2))}
        for _ in range(clicks[kind]):
            background = background_points(mask, labels, rng, int(rng.random() < 0.45))
            points.append(background[0] if len(background) else random_point(mask, rng))
            signs.append(0 if len(background) else 1)
    coords, slots = np.zeros((POINT_SLOTS, 2), np.float32), np.full(POINT_SLOTS, -1, np.int64)
    coords[: len(points)] = np.array(points, np.float32).reshape(-1, 2)
    slots[: len(signs)] = signs
    has_box = "box" in kind
    box = box_with_slack(mask, rng) if has_box else np.zeros(4, np.float32)
    return Prompt(coords, slots, box, has_box)
