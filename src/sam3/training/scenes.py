"""Procedurally generated scenes that resemble microscopy, with exact instance labels.

A scene is one scalar field (brightness, or stain density) on which objects of one kind are
painted, followed by optics and camera: uneven light, blur, noise, contrast, colour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam3.training import kinds, structures
from sam3.training.shapes import (
    Field,
    Labels,
    add_debris,
    keep_largest_components,
    log_uniform,
    noise,
)

__all__ = ["KINDS", "SCENE_VERSION", "make_scene", "make_scenes"]

#: Increased whenever a seed would yield different scenes, which invalidates cached pools.
SCENE_VERSION = 3


def _stain(rng: np.random.Generator, density: Field) -> Field:
    """Colour a stain density as haematoxylin on an eosin background (H, W, 3), by Beer's law."""
    size = density.shape[0]
    purple = np.array([0.65, 0.70, 0.29]) + rng.normal(0, 0.07, 3)
    pink = np.array([0.10, 0.85, 0.25]) + rng.normal(0, 0.07, 3)
    stroma = noise(rng, size, rng.uniform(4, 14), octaves=3, stretch=rng.uniform(1, 5))
    if rng.random() < 0.5:
        stroma = stroma.T
    ground = np.clip(rng.uniform(0.15, 0.6) * (1 + rng.uniform(0.1, 0.5) * stroma), 0, None)
    if rng.random() < 0.4:  # lumen and tears are clear
        ground = ground * (noise(rng, size, size / 6, octaves=2) < rng.uniform(0.6, 1.4))
    strength = rng.uniform(0.6, 1.6)
    optical = strength * np.clip(density, 0, None)[..., None] * purple
    optical = optical + (ground * rng.uniform(0.4, 1.2))[..., None] * pink
    return np.asarray(rng.uniform(0.82, 1.0) * np.exp(-np.clip(optical, 0, None)), np.float32)


def _develop(rng: np.random.Generator, field: Field) -> NDArray[np.uint8]:
    """Simulate light, optics and camera: (H, W) or (H, W, 3), about 0..1, to (H, W, 3) uint8."""
    size = field.shape[0]
    planes = field[..., None] if field.ndim == 2 else field
    grey = planes.shape[2] == 1
    if rng.random() < 0.5:
        light = 1 + rng.uniform(0.05, 0.35) * 0.5 * noise(rng, size, size / rng.uniform(1, 2))
        planes = planes * np.clip(light, 0.2, None)[..., None]
    if rng.random() < 0.75:
        sigma = log_uniform(rng, 0.4, 2.2 if grey else 1.3)
        planes = ndimage.gaussian_filter(planes, (sigma, sigma, 0), truncate=3)
    planes = np.clip(planes, 0, 1)
    if grey and rng.random() < 0.22:
        planes = 1 - planes
    if grey and rng.random() < 0.15:  # false colour, or a coloured dye under white light
        ends = rng.uniform(0, 1, (2, 3)) * np.array([[0.25], [1.0]])
        ends = ends[::-1] if rng.random() < 0.3 else ends
        planes = ends[0] + planes * (ends[1] - ends[0])
    if rng.random() < 0.6:  # shot and read noise; the former grows with the signal
        deviation = log_uniform(rng, 0.006, 0.08)
        draw = rng.standard_normal(planes.shape, dtype=np.float32)
        planes = planes + draw * deviation * np.sqrt(0.15 + planes)
    gain = 1.0 if rng.random() < 0.5 else log_uniform(rng, 0.15, 1.0)
    offset = rng.uniform(0, 1 - gain) * (rng.random() < 0.6)
    pixels = np.clip((planes * gain + offset) * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (size, size, 3)))


#: Kinds of scenes and their probabilities.
KINDS: dict[str, tuple[Callable[[np.random.Generator, int], tuple[Field, Labels]], float]] = {
    "nuclei": (kinds.nuclei, 0.12),
    "sheet": (kinds.sheet, 0.07),
    "rings": (kinds.rings, 0.06),
    "discs": (kinds.discs, 0.06),
    "tissue": (kinds.tissue, 0.10),
    "rods": (kinds.rods, 0.05),
    "phase": (kinds.phase, 0.08),
    "neurites": (structures.neurites, 0.10),
    "organelles": (structures.organelles, 0.08),
    "hollow": (structures.hollow, 0.05),
    "crowd": (structures.crowd, 0.10),
    "grains": (structures.grains, 0.06),
    "branched": (structures.branched, 0.09),
    "smear": (structures.smear, 0.06),
}

_PACKED = ("sheet", "neurites", "grains")  # no space for debris


def make_scene(
    rng: np.random.Generator, size: int = 320, kind: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Generate one scene.

    Parameters
    ----------
    rng
        Source of all randomness; its state determines the scene.
    size
        Side in pixels; object diameters are about 12 to 140 px for any size.
    kind
        One of `KINDS`, drawn by its probability if None.

    Returns
    -------
    image
        (size, size, 3) uint8, contiguous.
    labels
        (size, size) uint16, 0 is background; every label is one 8-connected component of at
        least 20 px, the visible part of its object.

    Raises
    ------
    ValueError
        If `kind` is unknown.
    """
    if kind is None:
        weights = np.array([weight for _, weight in KINDS.values()])
        kind = str(rng.choice(list(KINDS), p=weights / weights.sum()))
    if kind not in KINDS:
        raise ValueError(
            f"unknown scene kind: {kind!r}. Expected one of {', '.join(KINDS)}. Choose one."
        )
    field, labels = KINDS[kind][0](rng, size)
    if kind not in _PACKED and field.ndim == 2 and rng.random() < 0.4:
        add_debris(rng, field, labels, 0.3)
    image = _develop(rng, _stain(rng, field) if kind == "tissue" else field)
    return image, keep_largest_components(labels).astype(np.uint16)


def make_scenes(
    seed: int, start: int, stop: int, size: int = 320
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Generate the scenes `start` to `stop` of the pool `seed`, each with its own generator.

    Returns
    -------
    images (n, size, size, 3) uint8 and labels (n, size, size) uint16.
    """
    scenes = [
        make_scene(np.random.default_rng((seed, index)), size) for index in range(start, stop)
    ]
    return np.stack([image for image, _ in scenes]), np.stack([labels for _, labels in scenes])
