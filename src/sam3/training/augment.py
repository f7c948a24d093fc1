"""Cropping, resampling and photometric augmentation, in numpy and fast enough for one core."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as label_components
from torch.nn import functional

__all__ = ["View", "cut_view", "relight", "split_components"]

_LEAST_RANGE = 0.2  # dimmer crops are always stretched, as 8 bits leave too few grey levels

Planes = NDArray[np.float32]
LabelMap = NDArray[np.integer]


@dataclass(frozen=True)
class View:
    """A field of an image: centre, extent and rotation.

    Attributes
    ----------
    x, y
        Centre in pixels of the image, pixel centres at integers; a view may leave the image.
    width, height
        Extent in pixels of the image.
    angle
        Rotation in radians.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0


def _reflect(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Reflect indices into 0..size-1 about the outermost pixel centres."""
    if size == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * (size - 1))
    return np.where(index >= size, 2 * (size - 1) - index, index)


def _resampling(centre: float, extent: float, count: int) -> tuple[NDArray[np.int64], Planes]:
    """Return source indices (n,) and weights (count, n) of a triangle filter with antialiasing."""
    step = extent / count
    positions = centre + (np.arange(count) + 0.5) * step - extent / 2
    support = max(1.0, step)
    source = np.arange(math.floor(positions[0] - support), math.ceil(positions[-1] + support) + 1)
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - source[None]) / support)
    weights /= weights.sum(1, keepdims=True)
    return source, weights.astype(np.float32)


def _cut_labels(labels: LabelMap, view: View, count: int) -> NDArray[np.int32]:
    """Resample labels: each pixel takes the label with most weight among its four neighbours.

    This equals the bilinear mask of every object thresholded at one half, so the outlines of
    enlarged objects stay smooth.
    """
    corners, parts = [], []
    for centre, extent, size in (
        (view.y, view.height, labels.shape[0]),
        (view.x, view.width, labels.shape[1]),
    ):
        positions = centre + (np.arange(count) + 0.5) * (extent / count) - extent / 2
        low = np.floor(positions).astype(np.int64)
        corners.append((_reflect(low, size), _reflect(low + 1, size)))
        parts.append((positions - low).astype(np.float32))
    neighbours = [labels[np.ix_(row, column)] for row in corners[0] for column in corners[1]]
    result = neighbours[0].astype(np.int32)
    mixed = np.nonzero(np.logical_or.reduce([neighbours[0] != other for other in neighbours[1:]]))
    below, right = parts[0][mixed[0]], parts[1][mixed[1]]
    weights = [(1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right]
    values = [neighbour[mixed] for neighbour in neighbours]
    votes = np.stack(
        [
            sum(w * (value == other) for w, other in zip(weights, values, strict=True))
            for value in values
        ]
    )
    result[mixed] = np.stack(values)[votes.argmax(0), np.arange(len(below))]
    return result


def cut_view(
    image: NDArray[np.uint8], labels: LabelMap, view: View, crop: int, grey: bool
) -> tuple[Planes, NDArray[np.int32]]:
    """Resample a view of an image to crop x crop, with reflection outside the image.

    Parameters
    ----------
    image, labels
        (H, W, 3) uint8 and (H, W).
    view
        The view.
    crop
        Side of the result in pixels.
    grey
        Whether the three channels are equal, so that resampling one suffices.

    Returns
    -------
    planes
        (C, crop, crop) float32 in 0..1, C = 1 for grey images, otherwise 3.
    labels
        (crop, crop) int32 with the ids of `labels`.
    """
    enlarged, side = view, crop
    if view.angle:
        factor = math.ceil(crop * (abs(math.cos(view.angle)) + abs(math.sin(view.angle)))) / crop
        side = round(crop * factor)
        enlarged = View(view.x, view.y, view.width * factor, view.height * factor)
    rows, row_weights = _resampling(enlarged.y, enlarged.height, side)
    columns, column_weights = _resampling(enlarged.x, enlarged.width, side)
    index = np.ix_(_reflect(rows, image.shape[0]), _reflect(columns, image.shape[1]))
    source = image[..., 0][index][None] if grey else image[index].transpose(2, 0, 1)
    # torch multiplies on one thread in a data worker, numpy would use every core
    patch = torch.from_numpy(source.astype(np.float32))
    resized = torch.from_numpy(row_weights) @ patch @ torch.from_numpy(column_weights).T / 255
    instances = _cut_labels(labels, enlarged, side)
    if not view.angle:
        return resized.numpy(), instances
    rotated, rotated_labels = _rotate(resized, torch.from_numpy(instances), view.angle, crop)
    return rotated.numpy(), rotated_labels.numpy()


def _rotate(
    planes: torch.Tensor, labels: torch.Tensor, angle: float, crop: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate about the centre and crop to the central crop x crop."""
    side = planes.shape[-1]
    axis = (torch.arange(crop, dtype=torch.float32) + 0.5 - crop / 2) * (2 / side)
    x, y = axis[None, :], axis[:, None]
    cosine, sine = math.cos(angle), math.sin(angle)
    grid = torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)[None]
    sampled = functional.grid_sample(planes[None], grid, padding_mode="border", align_corners=False)
    nearest = ((grid[0] + 1) * side / 2).floor().long().clamp_(0, side - 1)
    return sampled[0], labels[nearest[..., 1], nearest[..., 0]]


def split_components(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give every 8-connected component its own label, since reflection and cuts split objects."""
    parts = label_components(labels, connectivity=2)
    return np.asarray(parts, np.int32)


@lru_cache(maxsize=1)
def _cosines() -> Planes:
    """Return the 8 x 8 orthonormal DCT matrix."""
    k, n = np.mgrid[:8, :8]
    matrix = np.cos(np.pi * (2 * n + 1) * k / 16) * 0.5
    matrix[0] /= math.sqrt(2)
    return np.asarray(matrix, np.float32)


def _quantise(planes: Planes, strength: float) -> Planes:
    """Quantise 8 x 8 cosine blocks, coarser for finer detail, as JPEG does."""
    count, height, width = planes.shape
    padded = np.pad(planes, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = padded.reshape(count, padded.shape[1] // 8, 8, -1, 8).transpose(0, 1, 3, 2, 4)
    matrix = _cosines()
    k, n = np.mgrid[:8, :8]
    step = (strength * (1 + k + n)).astype(np.float32)
    blocks = matrix.T @ (np.round((matrix @ blocks @ matrix.T) / step) * step) @ matrix
    joined = blocks.transpose(0, 1, 3, 2, 4).reshape(padded.shape)
    return np.asarray(joined[:, :height, :width], np.float32)


def _stretch(planes: Planes, low: float, high: float) -> Planes:
    """Stretch percentiles low..high, common to all channels, to 0..1."""
    bottom, top = np.percentile(planes[:, ::2, ::2], [low, high])
    return np.asarray((planes - bottom) / max(float(top - bottom), 1 / 255), np.float32)


def _recolour(planes: Planes, rng: np.random.Generator) -> Planes:
    """Tint grey images; permute, rebalance or remove the colours of others."""
    if len(planes) == 1:
        if rng.random() > 0.12:
            return planes
        ends = rng.uniform(0, 1, (2, 3, 1, 1)).astype(np.float32)
        ends[0] *= 0.3
        if rng.random() < 0.4:  # one pure dye
            ends[1] *= np.roll([1.0, 0.2, 0.0], rng.integers(3))[:, None, None]
        return np.asarray(ends[0] + planes * (ends[1] - ends[0]), np.float32)
    if rng.random() < 0.15:
        weights = rng.dirichlet(np.ones(3)).astype(np.float32)
        return np.tensordot(weights, planes, 1)[None]
    if rng.random() < 0.2:
        planes = planes[rng.permutation(3)]
    if rng.random() < 0.4:
        planes = planes * np.exp(rng.normal(0, 0.12, (3, 1, 1))).astype(np.float32)
    return planes


def relight(
    planes: Planes, rng: np.random.Generator, limits: tuple[float, float] = (0.0, 1.0)
) -> NDArray[np.uint8]:
    """Vary the intensity, colour, sharpness and noise of a crop.

    Parameters
    ----------
    planes
        (C, h, w) float32 in 0..1, with C 1 or 3.
    rng
        Source of randomness.
    limits
        Contrast limits of the whole image, in the range of `planes`.

    Returns
    -------
    (3, h, w) uint8.
    """
    stretch = rng.random()
    if stretch < 0.55:  # by the contrast limits of the whole image, as in the product
        planes = (planes - limits[0]) / max(limits[1] - limits[0], 1 / 255)
    if rng.random() < 0.45:
        planes = np.clip(planes, 0, 1) ** np.float32(math.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.12:
        planes = 1 - planes
    if rng.random() < 0.4:
        middle = planes.mean()
        planes = (planes - middle) * math.exp(rng.normal(0, 0.3)) + middle + rng.normal(0, 0.06)
    if rng.random() < 0.15:
        down, along = (np.linspace(-1, 1, n, dtype=np.float32) for n in planes.shape[1:])
        slope = rng.normal(0, 0.25, 2).astype(np.float32)
        planes = planes * (1 + slope[0] * down[:, None] + slope[1] * along)
    planes = _recolour(planes.astype(np.float32), rng)
    if rng.random() < 0.15:
        sigma = rng.uniform(0.4, 1.6)
        planes = ndimage.gaussian_filter(planes, (0, sigma, sigma), truncate=2.5)
    if rng.random() < 0.35:
        # Relative to the contrast, since absolute noise would drown dim images.
        level = rng.uniform(0, 0.25) * float(planes[:, ::2, ::2].std())
        planes = planes + level * rng.standard_normal(planes.shape, dtype=np.float32)
    if rng.random() < 0.06:
        deviation = float(planes[:, ::2, ::2].std()) + 1e-3
        planes = _quantise(planes.astype(np.float32), deviation * rng.uniform(0.05, 0.3))
    if stretch > 0.8 or float(np.ptp(planes[:, ::2, ::2])) < _LEAST_RANGE:
        planes = _stretch(planes, rng.uniform(0, 1.5), 100 - rng.uniform(0, 1.0))
    pixels = np.clip(planes * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])))
