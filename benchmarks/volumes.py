"""Synthetic stacks with known labels, for measuring how well objects are followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["KINDS", "Kind", "Volume", "make_volume", "middle_boxes"]

Kind = Literal["spheres", "tubes", "branching", "touching"]
KINDS: tuple[Kind, ...] = ("spheres", "tubes", "branching", "touching")

FloatArray = npt.NDArray[np.float32]
#: Distance of planes over the size of a pixel.
ANISOTROPY = 2.0
# Enough balls along a path that it looks smooth.
_STEPS = 40
_ATTEMPTS = 60


@dataclass(frozen=True, eq=False)
class Volume:
    """An image and its true labels.

    Parameters
    ----------
    image : ndarray of uint16, planes x rows x columns
        Noisy, with textured objects on an uneven ground.
    labels : ndarray of uint16, planes x rows x columns
        1 to n, 0 outside.
    """

    image: npt.NDArray[np.uint16]
    labels: npt.NDArray[np.uint16]

    @property
    def count(self) -> int:
        """Number of objects."""
        return int(self.labels.max())


def make_volume(
    kind: Kind, *, seed: int, shape: tuple[int, int, int] = (24, 160, 160), count: int = 6
) -> Volume:
    """Make a stack.

    Parameters
    ----------
    kind : {"spheres", "tubes", "branching", "touching"}
        Balls apart from each other; bent tubes that run through the planes; tubes that part in
        two; pairs of balls that touch.
    seed : int
        The same seed gives the same volume.
    shape : tuple of int
        (planes, rows, columns) in px.
    count : int
        Objects tried; one that would meet another one is left out.
    """
    rng = np.random.default_rng((KINDS.index(kind), seed))
    distances: list[FloatArray] = []
    taken = np.zeros(shape, bool)
    for _ in range(_ATTEMPTS):
        if len(distances) >= count:
            break
        found = _objects(kind, shape, rng)
        reach = np.minimum.reduce(found) <= 1.25
        if not (reach & taken).any():
            taken |= reach
            distances += found
    return _render(distances, shape, rng)


def middle_boxes(labels: npt.NDArray[Any]) -> dict[int, tuple[int, tuple[float, ...]]]:
    """Return for each label its plane of largest area, and the box (x0, y0, x1, y1) around it."""
    boxes = {}
    for label in np.unique(labels[labels > 0]).tolist():
        mask = labels == label
        plane = int(mask.sum(axis=(1, 2)).argmax())
        rows, columns = np.nonzero(mask[plane])
        box = columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5
        boxes[int(label)] = plane, tuple(float(value) for value in box)
    return boxes


def _objects(kind: Kind, shape: tuple[int, int, int], rng: np.random.Generator) -> list[FloatArray]:
    """Distances (1 on the rim) of one object, or of two that touch."""
    depth, height = shape[:2]
    largest = min(depth * ANISOTROPY / 2.6, height / 8)
    radius = rng.uniform(0.55 * largest, largest)
    inner = np.array([radius / ANISOTROPY, radius, radius]) + 1
    centre = rng.uniform(inner, np.array(shape) - inner)
    if kind == "spheres":
        return [_balls([centre], radius, shape)]
    if kind == "touching":
        turn = rng.uniform(0, 2 * np.pi)
        aside = radius * np.array([0, np.sin(turn), np.cos(turn)])
        return [_balls([centre + sign * aside], radius, shape) for sign in (-1, 1)]
    radius = rng.uniform(0.05, 0.075) * height
    paths = [_path(centre, depth, height, rng)]
    if kind == "branching":
        fork = paths[0][: _STEPS // 2 + 1]
        aside = _path(centre, depth, height, rng)[_STEPS // 2 :]
        drift = np.linspace(0, 1, len(aside))[:, None] * [0, *rng.choice([-1, 1], 2) * height / 7]
        paths = [paths[0], np.concatenate([fork, aside - aside[0] + fork[-1] + drift])]
    return [_balls(np.concatenate(paths), radius, shape)]


def _path(
    centre: npt.NDArray[Any], depth: int, height: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return a bent line from the third plane to the third last."""
    t = np.linspace(0, 1, _STEPS)
    z = 2 + t * (depth - 5)
    bends = [
        rng.uniform(-1, 1) * height / 8 * (t - 0.5)
        + height / 24 * np.sin(2 * np.pi * (t * rng.uniform(0.4, 1.0) + rng.uniform()))
        for _ in range(2)
    ]
    return np.stack([z, centre[1] + bends[0], centre[2] + bends[1]], axis=1)


def _balls(
    centres: Sequence[Any] | npt.NDArray[Any], radius: float, shape: tuple[int, int, int]
) -> FloatArray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    nearest = np.full(shape, np.inf, np.float32)
    for centre in centres:
        squares = sum(
            ((axis - c) * size) ** 2
            for axis, c, size in zip(axes, centre, (ANISOTROPY, 1, 1), strict=True)
        )
        np.minimum(nearest, squares, out=nearest)
    return np.asarray(np.sqrt(nearest) / radius, np.float32)


def _render(
    distances: list[FloatArray], shape: tuple[int, int, int], rng: np.random.Generator
) -> Volume:
    from scipy import ndimage

    labels = np.zeros(shape, np.uint16)
    light = np.zeros(shape, np.float32)
    if distances:
        together = np.stack(distances)
        nearest = together.argmin(axis=0)
        labels = np.where(together.min(axis=0) <= 1, nearest + 1, 0).astype(np.uint16)
        for number, distance in enumerate(distances):
            mine = nearest == number
            glow = rng.uniform(0.5, 1.0) * np.clip(1.6 * (1 - distance**4), 0, 1)
            light = np.maximum(light, np.where(mine, glow, 0))
    texture = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (1, 2.5, 2.5))
    light *= 1 + 0.2 * texture / texture.std()
    uneven = np.linspace(0.1, 0.2, shape[2], dtype=np.float32)
    photons = rng.poisson(
        np.clip(ndimage.gaussian_filter(light, (0.4, 1, 1)) + uneven, 0, None) * 90
    )
    return Volume(np.clip(photons * 40.0 + 400, 0, 65535).astype(np.uint16), labels)
