"""Generators of scenes with packed, membrane-bound, hollow and branched structures."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sam3.training.shapes import (
    Field,
    Labels,
    Patch,
    blob,
    haze,
    log_uniform,
    noise,
    scatter,
    tile,
    warped_grid,
)

_MOST_STEPS = 90  # per branch


def _tone(rng: np.random.Generator, labels: Labels, middle: float, spread: float) -> Field:
    """Draw a brightness for each label and map it to pixels (H, W)."""
    tones = middle * np.exp(rng.normal(0, spread, int(labels.max()) + 1))
    return tones.astype(np.float32)[labels]


def neurites(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint an electron micrograph of packed processes: dark membranes, unlabelled organelles."""
    diameter = log_uniform(rng, 16, 90)
    rows, columns = warped_grid(rng, size, diameter, rng.uniform(0.1, 0.35))
    sizes = rng.uniform(0.3, 0.8)
    gap, labels = tile(rng, rows, columns, diameter, jitter=rng.uniform(0.15, 0.35), sizes=sizes)
    width = max(1.0, min(diameter * rng.uniform(0.02, 0.06), 4.0))
    field = _tone(rng, labels, 0.7, rng.uniform(0.02, 0.15))
    field *= 1 + rng.uniform(0.02, 0.12) * noise(rng, size, rng.uniform(2, 8), octaves=3)
    membrane = np.exp(-((gap / (2 * width)) ** 2))
    dark = (noise(rng, size, diameter * rng.uniform(0.15, 0.4)) > rng.uniform(1.3, 2.2)) & (
        gap > 3 * width
    )
    field = field * (1 - 0.45 * dark) * (1 - rng.uniform(0.4, 0.85) * membrane)
    if rng.random() < 0.6:  # the membrane is background
        labels[gap < width * rng.uniform(0.5, 2)] = 0
    return field.astype(np.float32), labels


def organelles(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint mitochondria, granules or vacuoles in an electron micrograph's cytoplasm."""
    field = 0.4 + 0.4 * neurites(rng, size)[0]
    diameter = log_uniform(rng, 14, 90)
    level = rng.uniform(0.15, 0.4) if rng.random() < 0.7 else rng.uniform(0.8, 1.0)
    stripes, rim = rng.uniform(0, 0.3), rng.uniform(-0.25, 0.1)
    ridges = np.abs(noise(rng, size, max(3, diameter * 0.12), stretch=rng.uniform(1, 4)))
    grain = noise(rng, size, 3, octaves=2)

    def paint(patch: Patch) -> Field:
        edge = np.exp(-(((patch.rho - 0.92) / 0.09) ** 2))
        value = level * math.exp(rng.normal(0, 0.1)) + rim * edge
        value = value + stripes * (ridges[patch.window] - 0.7) * (patch.rho < 0.85)
        return np.asarray(value * (1 + 0.08 * grain[patch.window]), np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0.03, 0.2), elongation=1.3, spread=0.35)
    spacing = diameter * rng.uniform(1.2, 3)
    return field, scatter(rng, field, spacing, shape, paint, opaque=True)


def hollow(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint cross-sections of tubes, with either the lumen or the wall as the object."""
    diameter = log_uniform(rng, 16, 130)
    inner = rng.uniform(0.5, 0.85)
    wall, inside = rng.uniform(0.7, 1.0), rng.uniform(0.2, 0.5)
    ground = rng.uniform(0.15, 0.6)
    field = ground * (1 + rng.uniform(0, 0.3) * noise(rng, size, rng.uniform(3, 30), octaves=3))
    field = field.astype(np.float32)
    texture = noise(rng, size, max(3, diameter * 0.1), octaves=2)
    rho = np.full((size, size), 2, np.float32)

    def paint(patch: Patch) -> Field:
        nearer = np.minimum(rho[patch.window], patch.rho)
        rho[patch.window] = nearer
        value = np.where(patch.rho < inner, inside, wall * math.exp(rng.normal(0, 0.05)))
        return np.asarray(value * (1 + 0.1 * texture[patch.window]), np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0.03, 0.15), elongation=0.6, spread=0.4)
    labels = scatter(rng, field, diameter * rng.uniform(0.85, 1.8), shape, paint)
    enclosed = rho < inner
    labels[~enclosed if rng.random() < 0.75 else enclosed] = 0
    return field, labels


def crowd(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint colonies of adjacent cells in phase contrast or fluorescence."""
    width = log_uniform(rng, 7, 32)
    aspect = rng.uniform(1.5, 5) if rng.random() < 0.7 else rng.uniform(1.0, 1.6)
    rows, columns = warped_grid(rng, size, 6 * width, rng.uniform(0.03, 0.25))
    turn = rng.uniform(0, math.pi)
    along = np.asarray((rows * math.cos(turn) + columns * math.sin(turn)) / aspect, np.float32)
    across = np.asarray(columns * math.cos(turn) - rows * math.sin(turn), np.float32)
    gap, labels = tile(rng, along, across, width, jitter=rng.uniform(0.1, 0.25), sizes=0.15)
    near = noise(rng, size, size / rng.uniform(1.5, 5), octaves=2) > rng.uniform(-1.5, 0.3)
    kept = np.bincount(labels.ravel(), near.ravel()) > 0.5 * np.bincount(labels.ravel()).clip(1)
    kept &= rng.random(len(kept)) > rng.uniform(0, 0.15)
    depth = gap / width
    solid = kept[labels] & (depth > rng.uniform(0.05, 0.25))
    labels = np.where(solid, labels, 0)
    edge = np.clip(depth / rng.uniform(0.2, 0.6), 0, 1)
    body = _tone(rng, labels, 1, rng.uniform(0.03, 0.25)) * edge
    body *= 1 + rng.uniform(0, 0.2) * noise(rng, size, width * rng.uniform(0.2, 0.6), octaves=2)
    if rng.random() < 0.4:  # fluorescence
        field = rng.uniform(0.02, 0.15) + 0.6 * body * solid
        field = field + rng.uniform(0, 0.4) * haze(field.astype(np.float32), width)
        return field.astype(np.float32), labels
    ground = 0.55 + 0.03 * noise(rng, size, rng.uniform(4, 60), octaves=2)
    mask = solid.astype(np.float32)
    halo = ndimage.gaussian_filter(mask, width * rng.uniform(0.1, 0.4), truncate=2.5) * (1 - mask)
    field = ground + rng.uniform(0.1, 0.9) * halo - rng.uniform(0.12, 0.45) * body * solid
    # shade-off: the middle of a large crowd returns to the grey of the ground
    field += rng.uniform(0, 0.15) * haze(mask, 4 * width) * mask
    return field.astype(np.float32), labels


def grains(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint gravel, powder or crystals: opaque, packed, lit from one side, sometimes coloured."""
    diameter = log_uniform(rng, 14, 120)
    rows, columns = warped_grid(rng, size, diameter, rng.uniform(0, 0.12))
    sizes, jitter = rng.uniform(0.2, 0.7), rng.uniform(0.15, 0.35)
    gap, labels = tile(rng, rows, columns, diameter, jitter=jitter, sizes=sizes)
    depth = gap / diameter
    edge = rng.uniform(0.03, 0.12)
    light = ndimage.gaussian_filter(np.minimum(depth, 4 * edge), max(1.0, diameter * 0.03))
    slope = np.gradient(light * diameter)
    turn = rng.uniform(0, 2 * math.pi)
    relief = slope[0] * math.cos(turn) + slope[1] * math.sin(turn)
    rough = noise(rng, size, rng.uniform(2, 10), octaves=3)
    shade = 1 + rng.uniform(0.1, 0.5) * relief + rng.uniform(0.03, 0.2) * rough
    shade *= 1 - rng.uniform(0.5, 0.95) * np.exp(-((depth / edge) ** 2))
    labels[depth < edge * rng.uniform(0.3, 0.9)] = 0
    missing = rng.random(int(labels.max()) + 1) < rng.uniform(0, 0.3)
    shade = np.where(
        missing[labels] & (labels > 0), rng.uniform(0.1, 0.5) * (1 + 0.2 * rough), shade
    )
    tone = _tone(rng, labels, 0.5, rng.uniform(0.05, 0.35))
    labels[missing[labels]] = 0
    field = np.asarray(tone * shade, np.float32)
    if rng.random() < 0.5:
        return field, labels
    tints = 1 + rng.normal(0, 0.12, (len(missing), 3)) + rng.normal(0, 0.1, 3)
    return np.asarray(field[..., None] * tints[labels], np.float32), labels


def branched(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint branched cells such as neurons or glia, or a few thick fibres."""
    thickness = log_uniform(rng, 2, 9)
    bright = rng.random() < 0.6
    depth = np.zeros((size, size), np.float32)
    labels = np.zeros((size, size), np.int32)
    for index in range(1, int(rng.integers(2, 8))):
        place = rng.uniform(0.1, 0.9, 2) * size
        soma = thickness * rng.uniform(1, 5)
        own = np.zeros((size, size), np.float32)
        _stamp(own, place, soma)
        first = rng.uniform(0, 2 * math.pi)
        count = int(rng.integers(2, 7))
        for branch in range(count):
            angle = first + 2 * math.pi * branch / count + rng.normal(0, 0.3)
            _grow(rng, own, place, angle, thickness * rng.uniform(0.6, 1.2), 2)
        inside = (own > 0) & (labels == 0)
        labels[inside] = index
        depth = np.maximum(depth, own * math.exp(rng.normal(0, 0.2)))
    texture = 1 + rng.uniform(0, 0.2) * noise(rng, size, rng.uniform(2, 10), octaves=2)
    body = np.clip(depth, 0, 1) * texture
    if bright:
        field = rng.uniform(0.03, 0.2) + rng.uniform(0.3, 0.8) * body
    else:  # bright field or phase contrast
        mask = (labels > 0).astype(np.float32)
        halo = ndimage.gaussian_filter(mask, rng.uniform(1.5, 4)) * (1 - mask)
        ground = 0.55 + 0.04 * noise(rng, size, rng.uniform(3, 60), octaves=3)
        field = ground + rng.uniform(0.1, 0.7) * halo - rng.uniform(0.05, 0.35) * body
    return np.asarray(field, np.float32), labels


def _grow(
    rng: np.random.Generator,
    own: Field,
    start: NDArray[np.float64],
    angle: float,
    thickness: float,
    forks: int,
) -> None:
    """Draw a winding, thinning and forking branch into `own` in place."""
    place = np.array(start)
    steps = int(rng.integers(15, _MOST_STEPS))
    wander = rng.uniform(0.05, 0.25)
    for step in range(steps):
        angle += rng.normal(0, wander)
        width = max(1.0, thickness * (1 - 0.6 * step / steps))
        place = place + np.array([math.sin(angle), math.cos(angle)]) * max(1.0, 0.8 * width)
        _stamp(own, place, width)
        if forks and rng.random() < 0.03:
            _grow(rng, own, place, angle + rng.choice([-1, 1]) * 0.8, 0.8 * width, forks - 1)


def _stamp(own: Field, place: NDArray[np.float64], radius: float) -> None:
    """Raise `own` in place to a dome of `radius` px at (row, column), 1 at its centre."""
    low = np.maximum(np.floor(place - radius).astype(int), 0)
    high = np.ceil(place + radius).astype(int) + 1
    window = (slice(low[0], max(low[0], high[0])), slice(low[1], max(low[1], high[1])))
    part = own[window]
    y = np.arange(part.shape[0])[:, None] + low[0] - place[0]
    x = np.arange(part.shape[1])[None, :] + low[1] - place[1]
    dome = 1 - (y * y + x * x) / (radius * radius)
    np.maximum(part, np.sqrt(np.clip(dome, 0, 1)), out=part)


def smear(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Paint a stained smear in colour: cells with purple nuclei among unlabelled pale ones."""
    pale = log_uniform(rng, 16, 60)
    paper = rng.uniform(0.8, 1.0, 3) * np.array([1.0, 0.97, 0.97])
    density = np.zeros((size, size), np.float32)

    def paint_pale(patch: Patch) -> Field:
        return np.asarray(
            0.35 * (0.5 + 0.8 * patch.rho**2) * math.exp(rng.normal(0, 0.1)), np.float32
        )

    roundish = blob(rng, size, pale, roughness=0.04, elongation=0.2)
    scatter(rng, density, pale * rng.uniform(0.9, 2), roundish, paint_pale)
    pink = np.array([0.15, 0.55, 0.35]) + rng.normal(0, 0.06, 3)
    optical = density[..., None] * pink
    diameter = pale * rng.uniform(1.2, 2.2)
    purple = np.array([0.75, 0.85, 0.25]) + rng.normal(0, 0.08, 3)
    cell = rng.uniform(0.15, 0.7) * (0.5 * purple + 0.5 * pink + rng.normal(0, 0.06, 3))
    lobes = noise(rng, size, diameter * rng.uniform(0.25, 0.5))
    grain = noise(rng, size, rng.uniform(2, 5), octaves=2)
    body = np.zeros((size, size), np.float32)
    nucleus = np.zeros((size, size), np.float32)

    def paint(patch: Patch) -> Field:
        core = (patch.rho + 0.25 * lobes[patch.window] < rng.uniform(0.5, 0.85)) & (
            patch.rho < 0.93
        )
        nucleus[patch.window] = np.where(patch.rho < 1, core, nucleus[patch.window])
        return np.asarray(1 + 0.2 * grain[patch.window], np.float32)

    shape = blob(rng, size, diameter, roughness=rng.uniform(0.03, 0.12), elongation=0.3)
    labels = scatter(rng, body, diameter * rng.uniform(1.1, 3), shape, paint, opaque=True)
    inside = (labels > 0)[..., None]
    stained = body[..., None] * cell + nucleus[..., None] * purple * rng.uniform(0.7, 1.5)
    optical = np.where(inside, stained, optical)
    return np.asarray(paper * np.exp(-np.clip(optical, 0, None)), np.float32), labels
