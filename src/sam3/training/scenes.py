"""Procedurally made microscopy-like scenes with exact instance labels.

A scene is one scalar field (brightness, or stain density) on which objects of one kind are
painted, followed by the optics and the camera: uneven light, blur, noise, contrast, colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as label_components

__all__ = ["KINDS", "SCENE_VERSION", "keep_largest_components", "make_scene", "make_scenes"]

#: Raised whenever the same seed would give other scenes, so that cached pools are made anew.
SCENE_VERSION = 1

_MAX_OBJECTS = 140  # bounds the time of a scene of small objects
_MIN_AREA = 20

Field = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class _Patch:
    """One object on its window: rho (h, w) is 0 at the centre and 1 on the outline.

    x and y (h, w) are offsets from the centre in units of the radius.
    """

    window: tuple[slice, slice]
    rho: Field
    x: Field
    y: Field


_Shape = Callable[[float, float], _Patch]
_Paint = Callable[[_Patch], Field]


def keep_largest_components(labels: NDArray[np.integer], min_area: int = _MIN_AREA) -> Labels:
    """Reduce every label to its largest 8-connected component; drop what stays small.

    Parameters
    ----------
    labels
        Instance map (H, W), 0 is background.
    min_area
        Objects of fewer pixels become background.

    Returns
    -------
    Instance map (H, W) int32, numbered 1..n without gaps.
    """
    parts, count = label_components(labels, connectivity=2, return_num=True)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, np.int64)
    owner[parts.ravel()] = labels.ravel()
    order = np.argsort(areas, kind="stable")
    largest = np.zeros(int(owner.max(initial=0)) + 1, np.int64)
    largest[owner[order]] = order  # the last one written, the largest, stays
    kept = np.unique(largest[1:])
    kept = kept[(kept > 0) & (areas[kept] >= min_area)]
    table = np.zeros(count + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1, dtype=np.int32)
    return table[parts]


@lru_cache(maxsize=64)
def _stretch_matrix(count: int, size: int) -> Field:
    """(size, count) smooth-step interpolation weights from `count` knots to `size` pixels."""
    position = np.linspace(0, count - 1.001, size)
    left = np.floor(position).astype(int)
    part = position - left
    part = part * part * (3 - 2 * part)
    matrix = np.zeros((size, count), np.float32)
    matrix[np.arange(size), left] = 1 - part
    matrix[np.arange(size), left + 1] += part
    return matrix


def _noise(
    rng: np.random.Generator, size: int, cell: float, octaves: int = 1, stretch: float = 1.0
) -> Field:
    """Smooth noise (size, size) of about zero mean and unit deviation, features of `cell` px.

    `stretch` > 1 draws the features out along the rows.
    """
    total = np.zeros((size, size), np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        rows = max(2, round(size / max(cell, 1.5)) + 1)
        columns = max(2, round(size / max(cell * stretch, 1.5)) + 1)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += weight * (_stretch_matrix(rows, size) @ grid @ _stretch_matrix(columns, size).T)
        power += weight * weight
        weight, cell = weight * 0.6, cell / 2
    return total * np.float32(1.4 / math.sqrt(power))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _haze(field: Field, sigma: float) -> Field:
    """Wide Gaussian blur, done on a quarter-size copy because the exact one is slow."""
    size = field.shape[0] // 4 * 4
    small = field[:size, :size].reshape(size // 4, 4, size // 4, 4).mean((1, 3))
    small = ndimage.gaussian_filter(small, max(sigma / 4, 0.5), truncate=2.5)
    matrix = _stretch_matrix(small.shape[0], field.shape[0])
    return np.asarray(matrix @ small @ matrix.T, np.float32)


def _window(size: int, row: float, column: float, reach: float) -> tuple[slice, slice]:
    return (
        slice(max(0, math.floor(row - reach)), max(0, min(size, math.ceil(row + reach) + 1))),
        slice(max(0, math.floor(column - reach)), max(0, min(size, math.ceil(column + reach) + 1))),
    )


def _offsets(window: tuple[slice, slice], row: float, column: float) -> tuple[Field, Field]:
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32) - np.float32(row)
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32) - np.float32(column)
    return x[None, :], y[:, None]


def _blob(
    rng: np.random.Generator,
    size: int,
    diameter: float,
    *,
    roughness: float = 0.1,
    elongation: float = 0.3,
    spread: float = 0.15,
) -> _Shape:
    """Make ellipses whose radius is modulated by random Fourier terms of orders 2 to 5."""

    def shape(row: float, column: float) -> _Patch:
        radius = 0.5 * diameter * math.exp(rng.normal(0, spread))
        aspect = math.exp(rng.uniform(0, elongation))
        turn = rng.uniform(0, 2 * math.pi)
        window = _window(size, row, column, radius * math.sqrt(aspect) * (1 + 2.5 * roughness) + 1)
        x, y = _offsets(window, row, column)
        point = (x + 1j * y) / np.complex64(radius * np.exp(1j * turn))
        point = point.real / math.sqrt(aspect) + 1j * (point.imag * math.sqrt(aspect))
        length = np.abs(point)
        unit = point / np.maximum(length, 1e-3)
        outline, power = np.ones_like(length), unit
        for order in range(2, 6):
            power = power * unit
            term = roughness * rng.normal() * 1.6 / order * np.exp(1j * rng.uniform(0, 6.28))
            outline += (power * np.complex64(term)).real
        rho = length / np.maximum(outline, 0.3)
        ones = np.ones_like(rho)
        return _Patch(window, rho, x / radius * ones, y / radius * ones)

    return shape


def _rod(rng: np.random.Generator, size: int, width: float, aspect: float) -> _Shape:
    """Make bent capsules, `width` px across, most of them pointing in one common direction."""
    common = rng.uniform(0, math.pi)
    order = rng.uniform(0, 1.5)

    def shape(row: float, column: float) -> _Patch:
        radius = 0.5 * width * math.exp(rng.normal(0, 0.08))
        half = radius * max(0.3, aspect * rng.uniform(0.5, 1.3) - 1)
        turn = common + order * rng.normal()
        window = _window(size, row, column, half + radius + 2)
        x, y = _offsets(window, row, column)
        along = x * math.cos(turn) + y * math.sin(turn)
        across = y * math.cos(turn) - x * math.sin(turn)
        bend = rng.normal(0, 0.11) / max(half, 1)
        across = across - bend * (along * along - half * half / 3)
        beyond = np.maximum(np.abs(along) - half, 0)
        rho = np.asarray(np.hypot(beyond, across) / radius, np.float32)
        return _Patch(window, rho, (along / radius).astype(np.float32), across / radius)

    return shape


def _positions(rng: np.random.Generator, size: int, spacing: float) -> NDArray[np.float64]:
    """Return (n, 2) row, column places: a jittered, thinned triangular grid, often clustered."""
    rows = np.arange(-0.3 * spacing, size + 0.3 * spacing, spacing * 0.87)
    columns = np.arange(-0.5 * spacing, size + 0.5 * spacing, spacing)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    grid[1::2, :, 1] += spacing / 2
    points = grid.reshape(-1, 2) + rng.uniform(0, spacing, 2) - spacing / 2
    points += rng.normal(0, rng.uniform(0.05, 0.22) * spacing, points.shape)
    points = points[((points > -0.2 * spacing) & (points < size + 0.2 * spacing)).all(1)]
    if rng.random() < 0.5:  # clusters: keep where a smooth map is high
        inside = np.clip(points.astype(int), 0, size - 1)
        density = _noise(rng, size, size / rng.uniform(2, 5))[inside[:, 0], inside[:, 1]]
        kept = points[density > rng.uniform(-0.9, 0.3)]
    else:
        kept = points[rng.random(len(points)) < _log_uniform(rng, 0.35, 1.0)]
    if len(kept) == 0:
        kept = points[rng.integers(len(points))][None]
    if len(kept) > _MAX_OBJECTS:
        near = np.linalg.norm(kept - rng.uniform(0, size, 2), axis=1)
        kept = kept[np.argsort(near)[:_MAX_OBJECTS]]
    return np.asarray(rng.permutation(kept))


def _scatter(
    rng: np.random.Generator,
    field: Field,
    spacing: float,
    shape: _Shape,
    paint: _Paint,
    *,
    opaque: bool = False,
) -> Labels:
    """Paint objects into `field` (in place) and return their labels, not yet cleaned.

    Opaque objects cover earlier ones; others share out the overlap by the smaller rho, which
    gives straight contact lines between touching neighbours.
    """
    size = field.shape[0]
    labels = np.zeros((size, size), np.int32)
    closest = np.ones((size, size), np.float32)
    for index, (row, column) in enumerate(_positions(rng, size, spacing), start=1):
        patch = shape(float(row), float(column))
        if patch.rho.size == 0:
            continue
        inside = patch.rho < (1.0 if opaque else closest[patch.window])
        field[patch.window][inside] = paint(patch)[inside]
        labels[patch.window][inside] = index
        closest[patch.window][inside] = patch.rho[inside]
    return labels


def _debris(rng: np.random.Generator, field: Field, labels: Labels, contrast: float) -> None:
    """Add unlabelled specks and fibres to the background."""
    size = field.shape[0]
    for _ in range(int(rng.integers(1, 25))):
        width = _log_uniform(rng, 2, 7)
        aspect = rng.uniform(1, 14) if rng.random() < 0.25 else rng.uniform(1, 2)
        patch = _rod(rng, size, width, aspect)(*rng.uniform(0, size, 2))
        if patch.rho.size:
            free = labels[patch.window] == 0
            glow = contrast * rng.uniform(0.2, 1) * np.exp(-2 * patch.rho**2)
            field[patch.window] += np.where(free, glow, 0).astype(np.float32)


def _nuclei(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    diameter = _log_uniform(rng, 12, 100)
    touching = rng.random() < 0.4
    spacing = diameter * (rng.uniform(0.78, 0.98) if touching else rng.uniform(1.0, 1.9))
    field = np.full((size, size), rng.uniform(0, 0.1), np.float32)
    texture = _noise(rng, size, diameter * rng.uniform(0.08, 0.3), octaves=3)
    grain = rng.uniform(0, 0.25)
    dome, spread = rng.uniform(0, 0.7), rng.uniform(0.05, 0.5)

    def paint(patch: _Patch) -> Field:
        level = 0.55 * math.exp(rng.normal(0, spread))
        body = 1 - dome * patch.rho**2
        return np.asarray(level * body * (1 + grain * texture[patch.window]), np.float32)

    shape = _blob(rng, size, diameter, roughness=rng.uniform(0.02, 0.16), elongation=0.6)
    labels = _scatter(rng, field, spacing, shape, paint)
    if rng.random() < 0.4:  # chromocentres or nucleoli
        spots = (_noise(rng, size, max(3, diameter * 0.15)) > rng.uniform(1.0, 1.8)) & (labels > 0)
        field[spots] *= rng.choice([0.5, 1.5])
    if rng.random() < 0.5:
        field += np.float32(rng.uniform(0.05, 0.4)) * _haze(field, diameter * 0.6)
    return field, labels


def _rings(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    diameter = _log_uniform(rng, 18, 140)
    field = np.full((size, size), rng.uniform(0, 0.15), np.float32)
    thickness = max(rng.uniform(0.05, 0.22), 2.2 / diameter)
    hollow, spread = rng.uniform(-0.1, 0.35), rng.uniform(0, 0.4)
    texture = _noise(rng, size, diameter * 0.15, octaves=2)
    uneven = _noise(rng, size, diameter * 0.5)
    dot = rng.random() < 0.4

    def paint(patch: _Patch) -> Field:
        level = 0.7 * math.exp(rng.normal(0, spread))
        ring = np.exp(-(((patch.rho - 1 + thickness) / thickness) ** 2))
        value = ring * (1 + 0.25 * uneven[patch.window]) + hollow * (
            1 + 0.25 * texture[patch.window]
        )
        if dot:
            x, y = rng.uniform(-0.3, 0.3, 2)
            value = value + 0.6 * np.exp(-((patch.x - x) ** 2 + (patch.y - y) ** 2) / 0.06)
        return np.asarray(level * value + field[0, 0] * 0.5, np.float32)

    shape = _blob(rng, size, diameter, roughness=rng.uniform(0, 0.12), elongation=0.4)
    return field, _scatter(rng, field, diameter * rng.uniform(0.85, 1.7), shape, paint)


def _discs(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Coins, beads and bubbles: opaque, lit from one side."""
    diameter = _log_uniform(rng, 18, 140)
    texture = _noise(rng, size, diameter * rng.uniform(0.05, 0.25), octaves=3)
    ground = rng.uniform(0.05, 0.6)
    field = ground * (1 + rng.uniform(0, 0.2) * _noise(rng, size, rng.uniform(3, 40), octaves=3))
    field = field.astype(np.float32)
    light = np.exp(1j * rng.uniform(0, 6.28))
    bubble, relief = rng.random() < 0.35, rng.uniform(0.1, 0.4)
    grain = rng.uniform(0.02, 0.2)
    away = rng.uniform(0.2, 0.5) * (1 if ground < 0.45 else -1)

    def paint(patch: _Patch) -> Field:
        side = patch.x * light.real + patch.y * light.imag
        if bubble:
            rim = np.exp(-(((patch.rho - 0.93) / 0.1) ** 2))
            spark = np.exp(-((patch.x + 0.4 * light.real) ** 2 + (patch.y + 0.4 * light.imag) ** 2)
                           / 0.02)
            return np.asarray(ground * (1.05 - 0.7 * rim + relief * side) + 0.5 * spark, np.float32)
        level = ground + away * rng.uniform(0.7, 1.3)
        rim = 0.5 * np.exp(-(((patch.rho - 0.9) / 0.06) ** 2))
        value = level * (1 + relief * side + grain * texture[patch.window]) + relief * rim * side
        return np.asarray(value, np.float32)

    shape = _blob(rng, size, diameter, roughness=rng.uniform(0, 0.03), elongation=0.12)
    spacing = diameter * rng.uniform(0.8, 1.6)
    return field, _scatter(rng, field, spacing, shape, paint, opaque=True)


def _rods(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    width = _log_uniform(rng, 8, 26)
    aspect = rng.uniform(1.6, 5.5)
    field = np.full((size, size), rng.uniform(0.02, 0.2), np.float32)
    texture = _noise(rng, size, width * 0.5, octaves=2)
    hollow, spread = rng.uniform(0, 0.9), rng.uniform(0.05, 0.35)

    def paint(patch: _Patch) -> Field:
        level = 0.65 * math.exp(rng.normal(0, spread))
        body = 1 - hollow * (1 - patch.rho**2) if hollow > 0.6 else 1 - hollow * patch.rho**2
        return np.asarray(level * body * (1 + 0.1 * texture[patch.window]), np.float32)

    spacing = width * math.sqrt(aspect) * rng.uniform(0.85, 2.0)
    shape = _rod(rng, size, width, aspect)
    return field, _scatter(rng, field, spacing, shape, paint)


def _phase(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Cells in brightfield or phase contrast: near the grey of the ground, with a halo."""
    diameter = _log_uniform(rng, 20, 120)
    fine = _noise(rng, size, rng.uniform(2.5, 6), octaves=2)
    field = (0.45 + 0.02 * _noise(rng, size, rng.uniform(6, 60), octaves=2)).astype(np.float32)
    shift, grain = rng.uniform(-0.15, 0.08), rng.uniform(0.1, 0.3)
    nucleus = rng.uniform(0.05, 0.2) if rng.random() < 0.6 else 0.0

    def paint(patch: _Patch) -> Field:
        rim = np.exp(-(((patch.rho - 0.93) / 0.12) ** 2))
        value = 0.45 + shift + grain * 0.35 * fine[patch.window] - 0.15 * rim
        x, y = rng.uniform(-0.2, 0.2, 2)
        inner = np.hypot(patch.x - x, patch.y - y)
        value = value - nucleus * (inner < 0.42) + nucleus * (inner < 0.34) * 0.6
        return np.asarray(value, np.float32)

    shape = _blob(rng, size, diameter, roughness=rng.uniform(0.03, 0.2), elongation=0.9)
    labels = _scatter(rng, field, diameter * rng.uniform(0.9, 1.8), shape, paint)
    solid = (labels > 0).astype(np.float32)
    halo = ndimage.gaussian_filter(solid, rng.uniform(1.5, 4.0), truncate=2.5)
    field += np.float32(rng.uniform(0.15, 0.6)) * halo * (1 - solid)
    return field, labels


def _sheet(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Closed cell layers: a warped Voronoi tiling with bright or dark borders."""
    diameter = _log_uniform(rng, 26, 120)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    warp = diameter * rng.uniform(0.02, 0.12)
    rows = rows + warp * _noise(rng, size, diameter * 0.5)
    columns = columns + warp * _noise(rng, size, diameter * 0.5)
    seeds = np.mgrid[-0.5 : size / diameter + 0.5, -0.5 : size / diameter + 0.5]
    places = seeds.reshape(2, -1).T * diameter + rng.uniform(0, diameter / 2)
    places += rng.normal(0, diameter * rng.uniform(0.1, 0.28), places.shape)
    first = np.full((size, size), 4 * diameter, np.float32)
    second, labels = first.copy(), np.zeros((size, size), np.int32)
    for index, (row, column) in enumerate(places, start=1):
        window = _window(size, row, column, 1.7 * diameter)
        distance = np.hypot(rows[window] - np.float32(row), columns[window] - np.float32(column))
        near = distance < first[window]
        second[window] = np.where(near, first[window], np.minimum(second[window], distance))
        labels[window][near] = index
        first[window][near] = distance[near]
    width = max(1.2, diameter * rng.uniform(0.02, 0.07))
    border = np.exp(-(((second - first) / (2 * width)) ** 2))
    tone = rng.uniform(0.1, 0.5) * np.exp(rng.normal(0, 0.25, len(places) + 1))
    field = tone.astype(np.float32)[labels] * (
        1 + rng.uniform(0.05, 0.25) * _noise(rng, size, diameter * 0.12, octaves=3)
    )
    bright = rng.random() < 0.6
    field = field * (1 - border) + border * (rng.uniform(0.6, 1.0) if bright else 0.03)
    if not bright or rng.random() < 0.3:
        labels[second - first < width * rng.uniform(0.5, 1.5)] = 0
    if rng.random() < 0.5:  # gaps in the layer
        gone = rng.random(len(places) + 1) < rng.uniform(0.05, 0.4)
        gone[0] = True
        away = gone[labels] & (border < 0.3)
        field[away] = rng.uniform(0, 0.06)
        labels[gone[labels]] = 0
    return field.astype(np.float32), labels


def _tissue(rng: np.random.Generator, size: int) -> tuple[Field, Labels]:
    """Return densities of a nuclear stain, to be coloured by `_stain`."""
    diameter = _log_uniform(rng, 12, 60)
    field = np.full((size, size), rng.uniform(0, 0.12), np.float32)
    field += 0.05 * np.abs(_noise(rng, size, diameter * 0.6, octaves=3))
    texture = _noise(rng, size, max(2, diameter * rng.uniform(0.08, 0.2)), octaves=2)
    rim, spread = rng.uniform(0, 0.5), rng.uniform(0.1, 0.4)
    grain = rng.uniform(0.1, 0.35)

    def paint(patch: _Patch) -> Field:
        level = 0.8 * math.exp(rng.normal(0, spread))
        edge = rim * np.exp(-(((patch.rho - 0.88) / 0.15) ** 2))
        return np.asarray(level * (1 - 0.6 * rim + edge + grain * texture[patch.window]), np.float32)

    shape = _blob(rng, size, diameter, roughness=rng.uniform(0.04, 0.15), elongation=0.8)
    return field, _scatter(rng, field, diameter * rng.uniform(0.95, 2.0), shape, paint)


def _stain(rng: np.random.Generator, density: Field) -> Field:
    """Colour a stain density as haematoxylin on an eosin ground (H, W, 3), by Beer's law."""
    size = density.shape[0]
    purple = np.array([0.65, 0.70, 0.29]) + rng.normal(0, 0.07, 3)
    pink = np.array([0.10, 0.85, 0.25]) + rng.normal(0, 0.07, 3)
    stroma = _noise(rng, size, rng.uniform(4, 14), octaves=3, stretch=rng.uniform(1, 5))
    if rng.random() < 0.5:
        stroma = stroma.T
    ground = np.clip(rng.uniform(0.15, 0.6) * (1 + rng.uniform(0.1, 0.5) * stroma), 0, None)
    if rng.random() < 0.4:  # lumen and tears are clear
        ground = ground * (_noise(rng, size, size / 6, octaves=2) < rng.uniform(0.6, 1.4))
    strength = rng.uniform(0.6, 1.6)
    optical = strength * np.clip(density, 0, None)[..., None] * purple
    optical = optical + (ground * rng.uniform(0.4, 1.2))[..., None] * pink
    return np.asarray(rng.uniform(0.82, 1.0) * np.exp(-np.clip(optical, 0, None)), np.float32)


def _develop(rng: np.random.Generator, field: Field) -> NDArray[np.uint8]:
    """Light, optics and camera: (H, W) or (H, W, 3) in about 0..1 to (H, W, 3) uint8."""
    size = field.shape[0]
    planes = field[..., None] if field.ndim == 2 else field
    grey = planes.shape[2] == 1
    if rng.random() < 0.5:
        light = 1 + rng.uniform(0.05, 0.35) * 0.5 * _noise(rng, size, size / rng.uniform(1, 2))
        planes = planes * np.clip(light, 0.2, None)[..., None]
    if rng.random() < 0.75:
        sigma = _log_uniform(rng, 0.4, 2.2 if grey else 1.3)
        planes = ndimage.gaussian_filter(planes, (sigma, sigma, 0), truncate=3)
    planes = np.clip(planes, 0, 1)
    if grey and rng.random() < 0.22:
        planes = 1 - planes
    if grey and rng.random() < 0.15:  # false colour, or a coloured dye under white light
        ends = rng.uniform(0, 1, (2, 3)) * np.array([[0.25], [1.0]])
        ends = ends[::-1] if rng.random() < 0.3 else ends
        planes = ends[0] + planes * (ends[1] - ends[0])
    if rng.random() < 0.6:  # shot and read noise; the former grows with the signal
        deviation = _log_uniform(rng, 0.006, 0.08)
        draw = rng.standard_normal(planes.shape, dtype=np.float32)
        planes = planes + draw * deviation * np.sqrt(0.15 + planes)
    gain = 1.0 if rng.random() < 0.5 else _log_uniform(rng, 0.15, 1.0)
    offset = rng.uniform(0, 1 - gain) * (rng.random() < 0.6)
    pixels = np.clip((planes * gain + offset) * 255, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (size, size, 3)))


#: Kinds of scenes and how often each is drawn.
KINDS: dict[str, tuple[Callable[[np.random.Generator, int], tuple[Field, Labels]], float]] = {
    "nuclei": (_nuclei, 0.26),
    "sheet": (_sheet, 0.13),
    "rings": (_rings, 0.12),
    "discs": (_discs, 0.12),
    "tissue": (_tissue, 0.15),
    "rods": (_rods, 0.09),
    "phase": (_phase, 0.13),
}


def make_scene(
    rng: np.random.Generator, size: int = 320, kind: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Make one scene.

    Parameters
    ----------
    rng
        Source of all randomness: the same state gives the same scene.
    size
        Side in pixels; object diameters are about 12 to 140 px whatever the size.
    kind
        One of `KINDS`, drawn by its weight when None.

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
        raise ValueError(f"unknown scene kind {kind!r}; expected one of {', '.join(KINDS)}")
    field, labels = KINDS[kind][0](rng, size)
    if kind != "sheet" and rng.random() < 0.4:
        _debris(rng, field, labels, 0.3)
    image = _develop(rng, _stain(rng, field) if kind == "tissue" else field)
    return image, keep_largest_components(labels).astype(np.uint16)


def make_scenes(
    seed: int, start: int, stop: int, size: int = 320
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Make the scenes `start` to `stop` of the pool `seed`, each from a generator of its own.

    Returns
    -------
    images (n, size, size, 3) uint8 and labels (n, size, size) uint16.
    """
    made = [make_scene(np.random.default_rng((seed, index)), size) for index in range(start, stop)]
    return np.stack([image for image, _ in made]), np.stack([labels for _, labels in made])
