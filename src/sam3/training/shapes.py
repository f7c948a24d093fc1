"""Shapes, textures and positions for scenes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import label as label_components

_MAX_OBJECTS = 140  # limits the time for a scene of small objects
_MIN_AREA = 20

Field = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Patch:
    """One object in its window: rho (h, w) is 0 at the centre and 1 on the outline.

    `x` and `y` (h, w) are offsets from the centre in units of the radius.
    """

    window: tuple[slice, slice]
    rho: Field
    x: Field
    y: Field


Shape = Callable[[float, float], Patch]
Paint = Callable[[Patch], Field]


def keep_largest_components(labels: NDArray[np.integer], min_area: int = _MIN_AREA) -> Labels:
    """Reduce every label to its largest 8-connected component, and drop small ones.

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
    largest[owner[order]] = order  # later, larger components overwrite earlier ones
    kept = np.unique(largest[1:])
    kept = kept[(kept > 0) & (areas[kept] >= min_area)]
    table = np.zeros(count + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1, dtype=np.int32)
    return np.asarray(table[parts], np.int32)


@lru_cache(maxsize=256)
def _knots(count: int, size: int) -> tuple[NDArray[np.int64], Field]:
    """Return the left knot (size,) of each pixel and its smooth-step position after it."""
    position = np.linspace(0, count - 1.001, size)
    left = np.floor(position).astype(np.int64)
    part = (position - left).astype(np.float32)
    return left, part * part * (3 - 2 * part)


def enlarge(grid: Field, size: int) -> Field:
    """Interpolate a grid (rows, columns) of at least 2 x 2 knots to (size, size)."""
    # By indexing, since a matrix product would wake every core for such a small task.
    left, part = _knots(grid.shape[0], size)
    tall = grid[left] + part[:, None] * (grid[left + 1] - grid[left])
    left, part = _knots(grid.shape[1], size)
    first = tall[:, left]
    return np.asarray(first + part * (tall[:, left + 1] - first), np.float32)


def noise(
    rng: np.random.Generator, size: int, cell: float, octaves: int = 1, stretch: float = 1.0
) -> Field:
    """Generate smooth noise (size, size), about zero mean and unit deviation, grain `cell` px.

    `stretch` > 1 elongates the grain along the rows.
    """
    total = np.zeros((size, size), np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        rows = max(2, round(size / max(cell, 1.5)) + 1)
        columns = max(2, round(size / max(cell * stretch, 1.5)) + 1)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        total += np.float32(weight) * enlarge(grid, size)
        power += weight * weight
        weight, cell = weight * 0.6, cell / 2
    return total * np.float32(1.4 / math.sqrt(power))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def haze(field: Field, sigma: float) -> Field:
    """Blur with a wide Gaussian on a quarter-size copy, which is much faster."""
    size = field.shape[0] // 4 * 4
    small = field[:size, :size].reshape(size // 4, 4, size // 4, 4).mean((1, 3))
    small = ndimage.gaussian_filter(small, max(sigma / 4, 0.5), truncate=2.5)
    return enlarge(small.astype(np.float32), field.shape[0])


def window_around(size: int, row: float, column: float, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns of the image within `reach` px of a position."""
    return (
        slice(max(0, math.floor(row - reach)), max(0, min(size, math.ceil(row + reach) + 1))),
        slice(max(0, math.floor(column - reach)), max(0, min(size, math.ceil(column + reach) + 1))),
    )


def offsets(window: tuple[slice, slice], row: float, column: float) -> tuple[Field, Field]:
    """Return x (1, w) and y (h, 1) of a window, relative to a position."""
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32) - np.float32(row)
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32) - np.float32(column)
    return x[None, :], y[:, None]


def blob(
    rng: np.random.Generator,
    size: int,
    diameter: float,
    *,
    roughness: float = 0.1,
    elongation: float = 0.3,
    spread: float = 0.15,
) -> Shape:
    """Generate ellipses whose radius is modulated by random Fourier terms of orders 2 to 5."""

    def shape(row: float, column: float) -> Patch:
        radius = 0.5 * diameter * math.exp(rng.normal(0, spread))
        aspect = math.exp(rng.uniform(0, elongation))
        turn = rng.uniform(0, 2 * math.pi)
        reach = radius * math.sqrt(aspect) * (1 + 2.5 * roughness) + 1
        window = window_around(size, row, column, reach)
        x, y = offsets(window, row, column)
        point = (x + 1j * y) / np.complex64(radius * np.exp(1j * turn))
        point = point.real / math.sqrt(aspect) + 1j * (point.imag * math.sqrt(aspect))
        length = np.abs(point)
        unit = point / np.maximum(length, 1e-3)
        outline, power = np.ones_like(length), unit
        for order in range(2, 6):
            power = power * unit
            term = roughness * rng.normal() * 1.6 / order * np.exp(1j * rng.uniform(0, 6.28))
            outline += (power * np.complex64(term)).real
        rho = (length / np.maximum(outline, 0.3)).astype(np.float32)
        across, down = np.broadcast_arrays(x / np.float32(radius), y / np.float32(radius))
        return Patch(window, rho, across, down)

    return shape


def rod(rng: np.random.Generator, size: int, width: float, aspect: float) -> Shape:
    """Generate bent capsules, `width` px across, most of them with a common orientation."""
    common = rng.uniform(0, math.pi)
    order = rng.uniform(0, 1.5)

    def shape(row: float, column: float) -> Patch:
        radius = 0.5 * width * math.exp(rng.normal(0, 0.08))
        half = radius * max(0.3, aspect * rng.uniform(0.5, 1.3) - 1)
        turn = common + order * rng.normal()
        window = window_around(size, row, column, half + radius + 2)
        x, y = offsets(window, row, column)
        along = x * math.cos(turn) + y * math.sin(turn)
        across = y * math.cos(turn) - x * math.sin(turn)
        bend = rng.normal(0, 0.11) / max(half, 1)
        across = across - bend * (along * along - half * half / 3)
        beyond = np.maximum(np.abs(along) - half, 0)
        rho = np.asarray(np.hypot(beyond, across) / radius, np.float32)
        along, across = along / radius, across / radius
        return Patch(window, rho, along.astype(np.float32), across.astype(np.float32))

    return shape


def positions(rng: np.random.Generator, size: int, spacing: float) -> NDArray[np.float64]:
    """Return (n, 2) positions (row, column) on a jittered, thinned grid, often clustered."""
    rows = np.arange(-0.3 * spacing, size + 0.3 * spacing, spacing * 0.87)
    columns = np.arange(-0.5 * spacing, size + 0.5 * spacing, spacing)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
    grid[1::2, :, 1] += spacing / 2
    points = grid.reshape(-1, 2) + rng.uniform(0, spacing, 2) - spacing / 2
    points += rng.normal(0, rng.uniform(0.05, 0.22) * spacing, points.shape)
    points = points[((points > -0.2 * spacing) & (points < size + 0.2 * spacing)).all(1)]
    if rng.random() < 0.5:  # clusters, where smooth noise is high
        inside = np.clip(points.astype(int), 0, size - 1)
        density = noise(rng, size, size / rng.uniform(2, 5))[inside[:, 0], inside[:, 1]]
        kept = points[density > rng.uniform(-0.9, 0.3)]
    else:
        kept = points[rng.random(len(points)) < log_uniform(rng, 0.35, 1.0)]
    if len(kept) == 0:
        kept = points[rng.integers(len(points))][None]
    if len(kept) > _MAX_OBJECTS:
        near = np.linalg.norm(kept - rng.uniform(0, size, 2), axis=1)
        kept = kept[np.argsort(near)[:_MAX_OBJECTS]]
    return np.asarray(rng.permutation(kept))


def scatter(
    rng: np.random.Generator,
    field: Field,
    spacing: float,
    shape: Shape,
    paint: Paint,
    *,
    opaque: bool = False,
) -> Labels:
    """Paint objects into `field` in place and return their raw labels.

    Opaque objects cover earlier ones. Others divide an overlap by the smaller rho, which yields
    straight contact lines between touching neighbours.
    """
    size = field.shape[0]
    labels = np.zeros((size, size), np.int32)
    closest = np.ones((size, size), np.float32)
    for index, (row, column) in enumerate(positions(rng, size, spacing), start=1):
        patch = shape(float(row), float(column))
        if patch.rho.size == 0:
            continue
        inside = patch.rho < (1.0 if opaque else closest[patch.window])
        field[patch.window][inside] = paint(patch)[inside]
        labels[patch.window][inside] = index
        closest[patch.window][inside] = patch.rho[inside]
    return labels


def warped_grid(
    rng: np.random.Generator, size: int, diameter: float, strength: float
) -> tuple[Field, Field]:
    """Return rows and columns (size, size) of an image, bent by `strength` times `diameter`."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    bend = np.float32(diameter * strength)
    return (
        rows + bend * noise(rng, size, diameter * 0.5),
        columns + bend * noise(rng, size, diameter * 0.5),
    )


def tile(
    rng: np.random.Generator,
    rows: Field,
    columns: Field,
    diameter: float,
    *,
    jitter: float,
    sizes: float,
) -> tuple[Field, Labels]:
    """Tile a plane with the Voronoi diagram of a jittered grid of seeds.

    Parameters
    ----------
    rng
        Source of randomness.
    rows, columns
        (H, W), coordinates of each pixel in the plane.
    diameter, jitter
        Distance of the seeds, and their deviation in units of it.
    sizes
        Deviation of the logarithm of the tiles' sizes.

    Returns
    -------
    gap
        (H, W), distance to the second nearest seed minus that to the nearest: about twice the
        distance to the border.
    labels
        (H, W), tiles numbered from 1.
    """
    low = np.array([rows.min(), columns.min()]) - diameter / 2
    high = np.array([rows.max(), columns.max()]) + diameter / 2
    axes = [np.arange(a, b, diameter) for a, b in zip(low, high, strict=True)]
    seeds = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    seeds += rng.normal(0, diameter * jitter, seeds.shape)
    # Raising seeds out of the plane by random heights shrinks the tiles of the high ones.
    heights = diameter * 0.35 * np.abs(rng.normal(0, sizes, len(seeds)))
    points = np.column_stack([seeds, heights])
    pixels = np.stack([rows.ravel(), columns.ravel(), np.zeros(rows.size, np.float32)], 1)
    distances, index = cKDTree(points).query(pixels, k=2)
    gap = (distances[:, 1] - distances[:, 0]).reshape(rows.shape)
    labels = index[:, 0].reshape(rows.shape).astype(np.int32) + 1
    return gap.astype(np.float32), labels


def add_debris(rng: np.random.Generator, field: Field, labels: Labels, contrast: float) -> None:
    """Add unlabelled specks and fibres to the background."""
    size = field.shape[0]
    for _ in range(int(rng.integers(1, 25))):
        width = log_uniform(rng, 2, 7)
        aspect = rng.uniform(1, 14) if rng.random() < 0.25 else rng.uniform(1, 2)
        patch = rod(rng, size, width, aspect)(*rng.uniform(0, size, 2))
        if patch.rho.size:
            free = labels[patch.window] == 0
            glow = contrast * rng.uniform(0.2, 1) * np.exp(-2 * patch.rho**2)
            field[patch.window] += np.where(free, glow, 0).astype(np.float32)
