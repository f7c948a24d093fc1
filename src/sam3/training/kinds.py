"""Generators of scenes by kind of object; each paints a scalar field and its labels."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from sam3.training.shapes import (
    Field,
    Labels,
    Patch,
    blob,
    haze,
    log_uniform,
    noise,
    rod,
    scatter,
    tile,
    warped_grid,
)


def nuclei(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint fluorescent nuclei or blobs, separate or touching."""
    diameter = log_uniform(rng, 12, 100)
    touching = rng.random() < 0.4
    spacing = diameter * (rng.uniform(0.78, 0.98) if touching else rng.uniform(1.0, 1.9))
    field = np.full((size, size), rng.uniform(0, 0.1), np.float32)
    texture = noise(rng, size, diameter * rng.uniform(0.08, 0.3), octaves=3)
    grain = rng.uniform(0, 0.25)
    dome, spread = rng.uniform(0, 0.7), rng.uniform(0.05, 0.5)

    def paint(patch: Patch) -> Field:
        level = 0.55 * math.exp(rng.normal(0, spread))
        body = 1 - dome * patch.rho**2
        return np.asarray(level * body * (1 + grain * texture[patch.window]), np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0.02, 0.16), elongation=0.6)
    labels = scatter(rng, field, spacing, shape, paint)
    if rng.random() < 0.4:  # chromocentres or nucleoli
        spots = (noise(rng, size, max(3, diameter * 0.15)) > rng.uniform(1.0, 1.8)) & (labels > 0)
        field[spots] *= rng.choice([0.5, 1.5])
    if rng.random() < 0.5:
        field += np.float32(rng.uniform(0.05, 0.4)) * haze(field, diameter * 0.6)
    return field, labels


def rings(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint membranes: bright rings, with the interior part of the object."""
    diameter = log_uniform(rng, 18, 140)
    field = np.full((size, size), rng.uniform(0, 0.15), np.float32)
    thickness = max(rng.uniform(0.05, 0.22), 2.2 / diameter)
    hollow, spread = rng.uniform(-0.1, 0.35), rng.uniform(0, 0.4)
    texture = noise(rng, size, diameter * 0.15, octaves=2)
    uneven = noise(rng, size, diameter * 0.5)
    dot = rng.random() < 0.4

    def paint(patch: Patch) -> Field:
        level = 0.7 * math.exp(rng.normal(0, spread))
        ring = np.exp(-(((patch.rho - 1 + thickness) / thickness) ** 2))
        value = ring * (1 + 0.25 * uneven[patch.window]) + hollow * (
            1 + 0.25 * texture[patch.window]
        )
        if dot:
            x, y = rng.uniform(-0.3, 0.3, 2)
            value = value + 0.6 * np.exp(-((patch.x - x) ** 2 + (patch.y - y) ** 2) / 0.06)
        return np.asarray(level * value + field[0, 0] * 0.5, np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0, 0.12), elongation=0.4)
    return field, scatter(rng, field, diameter * rng.uniform(0.85, 1.7), shape, paint)


def discs(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint coins, beads and bubbles: opaque, lit from one side."""
    diameter = log_uniform(rng, 18, 140)
    texture = noise(rng, size, diameter * rng.uniform(0.05, 0.25), octaves=3)
    ground = rng.uniform(0.05, 0.6)
    field = ground * (1 + rng.uniform(0, 0.2) * noise(rng, size, rng.uniform(3, 40), octaves=3))
    field = field.astype(np.float32)
    light = np.exp(1j * rng.uniform(0, 6.28))
    bubble, relief = rng.random() < 0.35, rng.uniform(0.1, 0.4)
    grain = rng.uniform(0.02, 0.2)
    away = rng.uniform(0.2, 0.5) * (1 if ground < 0.45 else -1)

    def paint(patch: Patch) -> Field:
        side = patch.x * light.real + patch.y * light.imag
        if bubble:
            rim = np.exp(-(((patch.rho - 0.93) / 0.1) ** 2))
            spark = np.exp(
                -((patch.x + 0.4 * light.real) ** 2 + (patch.y + 0.4 * light.imag) ** 2) / 0.02
            )
            return np.asarray(ground * (1.05 - 0.7 * rim + relief * side) + 0.5 * spark, np.float32)
        level = ground + away * rng.uniform(0.7, 1.3)
        rim = 0.5 * np.exp(-(((patch.rho - 0.9) / 0.06) ** 2))
        value = level * (1 + relief * side + grain * texture[patch.window]) + relief * rim * side
        return np.asarray(value, np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0, 0.03), elongation=0.12)
    spacing = diameter * rng.uniform(0.8, 1.6)
    return field, scatter(rng, field, spacing, shape, paint, opaque=True)


def rods(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint rods, such as bacteria."""
    width = log_uniform(rng, 8, 26)
    aspect = rng.uniform(1.6, 5.5)
    field = np.full((size, size), rng.uniform(0.02, 0.2), np.float32)
    texture = noise(rng, size, width * 0.5, octaves=2)
    hollow, spread = rng.uniform(0, 0.9), rng.uniform(0.05, 0.35)

    def paint(patch: Patch) -> Field:
        level = 0.65 * math.exp(rng.normal(0, spread))
        body = 1 - hollow * (1 - patch.rho**2) if hollow > 0.6 else 1 - hollow * patch.rho**2
        return np.asarray(level * body * (1 + 0.1 * texture[patch.window]), np.float32)

    spacing = width * math.sqrt(aspect) * rng.uniform(0.85, 2.0)
    shape = rod(rng, size, width, aspect)
    return field, scatter(rng, field, spacing, shape, paint)


def phase(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint cells in brightfield or phase contrast: close to the background, with a halo."""
    diameter = log_uniform(rng, 20, 120)
    fine = noise(rng, size, rng.uniform(2.5, 6), octaves=2)
    field = (0.45 + 0.02 * noise(rng, size, rng.uniform(6, 60), octaves=2)).astype(np.float32)
    shift, grain = rng.uniform(-0.15, 0.08), rng.uniform(0.1, 0.3)
    nucleus = rng.uniform(0.05, 0.2) if rng.random() < 0.6 else 0.0

    def paint(patch: Patch) -> Field:
        rim = np.exp(-(((patch.rho - 0.93) / 0.12) ** 2))
        value = 0.45 + shift + grain * 0.35 * fine[patch.window] - 0.15 * rim
        x, y = rng.uniform(-0.2, 0.2, 2)
        inner = np.hypot(patch.x - x, patch.y - y)
        value = value - nucleus * (inner < 0.42) + nucleus * (inner < 0.34) * 0.6
        return np.asarray(value, np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0.03, 0.2), elongation=0.9)
    labels = scatter(rng, field, diameter * rng.uniform(0.9, 1.8), shape, paint)
    solid = (labels > 0).astype(np.float32)
    halo = ndimage.gaussian_filter(solid, rng.uniform(1.5, 4.0), truncate=2.5)
    field += np.float32(rng.uniform(0.15, 0.6)) * halo * (1 - solid)
    return field, labels


def sheet(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint confluent cell layers: a warped Voronoi tiling with bright or dark borders."""
    diameter = log_uniform(rng, 26, 120)
    rows, columns = warped_grid(rng, size, diameter, rng.uniform(0.02, 0.12))
    gap, labels = tile(rng, rows, columns, diameter, jitter=rng.uniform(0.1, 0.28), sizes=0)
    tiles = int(labels.max()) + 1
    width = max(1.2, diameter * rng.uniform(0.02, 0.07))
    border = np.exp(-((gap / (2 * width)) ** 2))
    tone = rng.uniform(0.1, 0.5) * np.exp(rng.normal(0, 0.25, tiles))
    field = tone.astype(np.float32)[labels] * (
        1 + rng.uniform(0.05, 0.25) * noise(rng, size, diameter * 0.12, octaves=3)
    )
    bright = rng.random() < 0.6
    field = field * (1 - border) + border * (rng.uniform(0.6, 1.0) if bright else 0.03)
    if not bright or rng.random() < 0.3:
        labels[gap < width * rng.uniform(0.5, 1.5)] = 0
    if rng.random() < 0.5:  # gaps in the layer
        gone = rng.random(tiles) < rng.uniform(0.05, 0.4)
        gone[0] = True
        away = gone[labels] & (border < 0.3)
        field[away] = rng.uniform(0, 0.06)
        labels[gone[labels]] = 0
    return field.astype(np.float32), labels


def tissue(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint the density of a nuclear stain, which `_stain` colours."""
    diameter = log_uniform(rng, 12, 60)
    field = np.full((size, size), rng.uniform(0, 0.12), np.float32)
    field += 0.05 * np.abs(noise(rng, size, diameter * 0.6, octaves=3))
    texture = noise(rng, size, max(2, diameter * rng.uniform(0.08, 0.2)), octaves=2)
    rim, spread = rng.uniform(0, 0.5), rng.uniform(0.1, 0.4)
    grain = rng.uniform(0.1, 0.35)

    def paint(patch: Patch) -> Field:
        level = 0.8 * math.exp(rng.normal(0, spread))
        edge = rim * np.exp(-(((patch.rho - 0.88) / 0.15) ** 2))
        body = 1 - 0.6 * rim + edge + grain * texture[patch.window]
        return np.asarray(level * body, np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0.04, 0.15), elongation=0.8)
    return field, scatter(rng, field, diameter * rng.uniform(0.95, 2.0), shape, paint)
