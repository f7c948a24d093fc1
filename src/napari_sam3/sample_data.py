"""Sample images that need no network: two from scikit-image, two made here with known labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["coins", "ihc", "make_nuclei", "nuclei", "stack"]

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
        (image[0], {"name": "nuclei"}, "image"),
        (labels[0], {"name": "nuclei, truth", "visible": False}, "labels"),
    ]


def stack() -> list[LayerData]:
    """Return nuclei in a stack, 24 x 256 x 256, uint16, anisotropic, with their true labels."""
    image, labels = make_nuclei((24, 256, 256), count=45, seed=5, anisotropy=3.0)
    scale = {"scale": (3.0, 1.0, 1.0)}
    return [
        (image, {"name": "stack", **scale}, "image"),
        (labels, {"name": "stack, truth", "visible": False, **scale}, "labels"),
    ]


def make_nuclei(
    shape: tuple[int, int, int],
    *,
    count: int,
    seed: int,
    radii: tuple[float, float] = (9.0, 19.0),
    anisotropy: float = 1.0,
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Make textured ellipsoids on an uneven, noisy ground.

    Parameters
    ----------
    shape : tuple of int
        (planes, rows, columns) in px.
    count : int
        Number of nuclei tried; those that would cover another one's middle are left out.
    seed : int
        The same seed gives the same images.
    radii : tuple of float
        Smallest and largest semi-axis in px of a plane.
    anisotropy : float
        Distance of planes over the size of a pixel.

    Returns
    -------
    image : ndarray of uint16
        With a bright artefact of a few pixels, as real cameras have.
    labels : ndarray of uint16
        The truth, 1 to n.
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
