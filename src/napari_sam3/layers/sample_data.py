"""Sample images without network access: two of scikit-image, three synthetic with labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["coins", "ihc", "make_nuclei", "make_series", "nuclei", "series", "stack"]

UInt16Array = npt.NDArray[np.uint16]
# napari's default limits would show only the artefact.
LIMITS = (400, 6000)
#: Mean displacement of a nucleus per frame in px.
MEAN_STEP = 3.0
LayerData = tuple[Any, dict[str, Any], str]


def coins() -> list[LayerData]:
    """Return Greek coins, 303 x 384, uint8."""
    from skimage import data

    return [(data.coins(), {"name": "coins"}, "image")]


def ihc() -> list[LayerData]:
    """Return stained tissue, 512 x 512 x 3, uint8."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": "ihc", "rgb": True}, "image")]


def nuclei() -> list[LayerData]:
    """Return nuclei in fluorescence, 512 x 512, uint16, with their true labels (hidden)."""
    image, labels = make_nuclei((1, 512, 512), count=60, seed=3)
    return [
        (image[0], {"name": "nuclei", "contrast_limits": LIMITS}, "image"),
        (labels[0], {"name": "nuclei, truth", "visible": False}, "labels"),
    ]


def stack() -> list[LayerData]:
    """Return nuclei in a stack, 24 x 256 x 256, uint16, anisotropic, with their true labels."""
    image, labels = make_nuclei((24, 256, 256), count=45, seed=5, anisotropy=3.0)
    scale = {"scale": (3.0, 1.0, 1.0)}
    return [
        (image, {"name": "stack", "contrast_limits": LIMITS, **scale}, "image"),
        (labels, {"name": "stack, truth", "visible": False, **scale}, "labels"),
    ]


def series() -> list[LayerData]:
    """Return moving nuclei, 16 frames of 256 x 256, uint16, with their true labels (hidden)."""
    image, labels = make_series((16, 256, 256), count=26, seed=7)
    axes = {"axis_labels": ("t", "y", "x")}
    return [
        (image, {"name": "series", "contrast_limits": LIMITS, **axes}, "image"),
        (labels, {"name": "series, truth", "visible": False, **axes}, "labels"),
    ]


def make_series(
    shape: tuple[int, int, int], *, count: int, seed: int
) -> tuple[UInt16Array, UInt16Array]:
    """Generate textured ellipses that move and rotate from frame to frame.

    Parameters
    ----------
    shape : tuple of int
        (frames, rows, columns) in px.
    count : int
        Number of nuclei; where two overlap, the one with the lower label is in front.
    seed : int
        Seed of the random generator.

    Returns
    -------
    image, labels : ndarray of uint16
        A nucleus keeps its label through all frames.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    frames, size = shape[0], np.array(shape[1:], np.float64)
    places = rng.uniform(0.05, 0.95, (count, 2)) * size
    speeds = rng.normal(0, MEAN_STEP / 1.6, (count, 2))
    semi, turns = rng.uniform(9, 19, (count, 2)), rng.uniform(0, np.pi, count)
    spins, brightness = rng.normal(0, 0.08, count), rng.uniform(0.45, 1.0, count)
    labels = np.zeros(shape, np.uint16)
    light = np.zeros(shape, np.float32)
    for frame in range(frames):
        for number in range(count):
            distance, window = _ellipse(shape[1:], places[number], semi[number], turns[number])
            there = labels[frame][window]
            there[(distance <= 1) & (there == 0)] = number + 1
            glow = brightness[number] * np.clip(1.6 * (1 - distance**4), 0, 1)
            light[frame][window] = np.maximum(light[frame][window], glow)
        speeds = 0.9 * speeds + rng.normal(0, MEAN_STEP / 5, (count, 2))
        places, turns = places + speeds, turns + spins
        # Reflected at the borders.
        speeds = np.where((places < 0) | (places > size - 1), -speeds, speeds)
    texture = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (1.5, 2.5, 2.5))
    light *= 1 + 0.2 * texture / texture.std()
    photons = rng.poisson(np.clip(ndimage.gaussian_filter(light, (0, 1, 1)) + 0.15, 0, None) * 90)
    return np.clip(photons * 40.0 + 400, 0, 65535).astype(np.uint16), labels


def _ellipse(
    shape: tuple[int, ...], place: npt.NDArray[Any], semi: npt.NDArray[Any], turn: float
) -> tuple[npt.NDArray[Any], tuple[slice, slice]]:
    """Return the distance from the centre (1 on the rim) in a window, and the window."""
    reach = 1.1 * float(semi.max()) + 1
    low = [max(0, int(p - reach)) for p in place]
    high = [max(a, min(n, int(p + reach) + 1)) for a, n, p in zip(low, shape, place, strict=True)]
    window = slice(low[0], high[0]), slice(low[1], high[1])
    y, x = np.ogrid[window]
    y, x = y - place[0], x - place[1]
    u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    return np.sqrt((u / semi[0]) ** 2 + (v / semi[1]) ** 2), window


def make_nuclei(
    shape: tuple[int, int, int],
    *,
    count: int,
    seed: int,
    radii: tuple[float, float] = (9.0, 19.0),
    anisotropy: float = 1.0,
) -> tuple[UInt16Array, UInt16Array]:
    """Generate textured ellipsoids on an uneven, noisy background.

    Parameters
    ----------
    shape : tuple of int
        (planes, rows, columns) in px.
    count : int
        Number of nuclei tried; those that overlap others by much are omitted.
    seed : int
        Seed of the random generator.
    radii : tuple of float
        Smallest and largest semi-axis in px of a plane.
    anisotropy : float
        Distance between planes divided by the size of a pixel.

    Returns
    -------
    image : ndarray of uint16
        Image with a bright artefact of a few pixels, as of real cameras.
    labels : ndarray of uint16
        True labels, 1 to n.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    labels = np.zeros(shape, np.uint16)
    light = np.zeros(shape, np.float32)
    number = 0
    for _ in range(count):
        centre = rng.uniform(0, 1, 3) * (np.array(shape) - 1)
        semi = rng.uniform(*radii, 3) / (anisotropy, 1, 1)
        if shape[0] == 1:
            semi[0] = 1.0
        turn = rng.uniform(0, np.pi)
        z, y, x = (axis - c for axis, c in zip(axes, centre, strict=True))
        u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
        distance = np.sqrt((z / semi[0]) ** 2 + (u / semi[1]) ** 2 + (v / semi[2]) ** 2)
        inside = distance <= 1
        if (labels[inside] > 0).sum() > 0.15 * inside.sum():
            continue
        number += 1
        labels[inside & (labels == 0)] = number
        brightness = np.float32(rng.uniform(0.45, 1.0))
        light = np.maximum(light, brightness * np.clip(1.6 * (1 - distance**4), 0, 1))
    texture = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), (0.7, 2.5, 2.5))
    light *= 1 + 0.9 * texture / texture.std() * 0.25
    uneven = 0.1 + 0.08 * (axes[1] / shape[1] + axes[2] / shape[2])
    photons = rng.poisson(np.clip(ndimage.gaussian_filter(light, (0, 1, 1)) + uneven, 0, None) * 90)
    image = np.clip(photons * 40.0 + 400, 0, 65535).astype(np.uint16)
    image[0, 5, 5:8] = 65535
    return image, labels
