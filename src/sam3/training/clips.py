"""Short labelled clips for training a memory: planes of real stacks, and animated images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from sam3.training.augment import View, cut_view, relight
from sam3.training.sources import load_real
from sam3.training.splits import plane_side, volume_side

__all__ = ["Clip", "ClipMaker", "TrainingStack", "read_training_stacks"]

_LIMITS = (0.1, 99.9)
_LEAST_AREA = 60  # px of the crop
_SIDES = (40.0, 130.0)  # px of the crop: longer side of an object
_STACK_SHARE = 0.7
_LARGEST_ZOOM = 6.0
_VANISHING_SHARE = 0.3  # of animated images, in which the first object vanishes


@dataclass(frozen=True, eq=False)
class TrainingStack:
    """A volume or time-lapse.

    Attributes
    ----------
    image : ndarray of uint8, planes x rows x columns
    labels : ndarray of int32, planes x rows x columns
    weight : float
        Sampling weight.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    weight: float


@dataclass(frozen=True, eq=False)
class Clip:
    """T crops of one position, the first with a prompt.

    Attributes
    ----------
    images : ndarray of uint8, T x 3 x crop x crop
    labels : ndarray of int32, T x crop x crop
    objects : tuple of int
        Labels to track, all of them on the first crop.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    objects: tuple[int, ...]


def read_training_stacks(folder: Path) -> list[TrainingStack]:
    """Read the training part of stacks, as defined by :mod:`sam3.training.splits`."""
    stacks = []
    for path in sorted(folder.rglob("*.npz")):
        domain = path.stem.removesuffix("_more")
        with np.load(path, allow_pickle=False) as archive:
            names = [k.removesuffix("_image") for k in archive if k.endswith("_image")]
            names = [name for name in names if f"{name}_kind" in archive]
            for name in names:
                image, labels = archive[f"{name}_image"], archive[f"{name}_labels"]
                whole = volume_side(domain, name)
                planes = [
                    plane
                    for plane in range(len(image))
                    if (whole or plane_side(domain, plane, len(image))) == "train"
                ]
                if len(planes) < 2:
                    continue
                low, high = np.percentile(image[:, ::2, ::2], _LIMITS)
                scaled = (image[planes] - low) * (255 / max(high - low, 1.0))
                stacks.append(
                    TrainingStack(
                        np.clip(scaled, 0, 255).astype(np.uint8),
                        labels[planes].astype(np.int32),
                        1 / math.sqrt(len(names)),
                    )
                )
    return stacks


class ClipMaker:
    """Generator of clips; seed and number determine the clip.

    Parameters
    ----------
    folder : Path
        Folder of npz files with stacks and images; see the README of this package.
    seed : int
    frames : int
        Number T of frames.
    crop : int
        Side in px of the model's input.
    """

    def __init__(self, folder: Path, *, seed: int = 0, frames: int = 4, crop: int = 224) -> None:
        self.stacks = read_training_stacks(folder)
        images = load_real(folder)[0]
        self.samples = [sample for sample in images if sample.labels.max() > 0]
        self._stack_chances = _chances([stack.weight for stack in self.stacks])
        counts: dict[str, int] = {}
        for sample in self.samples:
            counts[sample.domain] = counts.get(sample.domain, 0) + 1
        self._chances = _chances([counts[sample.domain] ** -0.5 for sample in self.samples])
        self._seed, self._frames, self._crop = seed, frames, crop

    def make(self, number: int, most_objects: int) -> Clip:
        """Generate a clip."""
        rng = np.random.default_rng((self._seed, number))
        while True:
            from_stack = rng.random() < _STACK_SHARE or not self.samples
            planes, labels = self._from_stack(rng) if from_stack else self._from_image(rng)
            areas = np.bincount(labels[0].ravel())
            areas[0] = 0
            objects = np.flatnonzero(areas >= _LEAST_AREA)
            if len(objects):
                break
        chosen = rng.permutation(objects)[:most_objects]
        turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
        planes, labels = np.rot90(planes, turns, (2, 3)), np.rot90(labels, turns, (1, 2))
        if mirrored:
            planes, labels = planes[..., ::-1], labels[..., ::-1]
        # Concatenated, so that all frames get the same light, as in one recording.
        lit = relight(np.concatenate(list(planes), 2), rng)
        images = np.stack(np.split(lit, len(planes), 2))
        return Clip(images, np.ascontiguousarray(labels), tuple(int(label) for label in chosen))

    def _from_stack(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Crop neighbouring planes around an object, often near one of its ends."""
        stack = self.stacks[int(rng.choice(len(self.stacks), p=self._stack_chances))]
        label = int(rng.choice(np.unique(stack.labels[stack.labels > 0])))
        with_object = np.flatnonzero((stack.labels == label).any((1, 2)))
        step = int(rng.choice((-1, 1))) * (2 if rng.random() < 0.15 else 1)
        ends = with_object[-3:] if step > 0 else with_object[:3]
        first = int(rng.choice(ends if rng.random() < 0.5 else with_object))
        last = len(stack.image) - 1
        planes = [first + step * i for i in range(self._frames)]
        planes = [abs(plane) if plane <= last else 2 * last - plane for plane in planes]
        planes = [min(max(plane, 0), last) for plane in planes]
        view = _view(rng, stack.labels[first] == label, self._crop)
        cut = [
            cut_view(
                np.broadcast_to(stack.image[plane][..., None], (*stack.image.shape[1:], 3)),
                stack.labels[plane], view, self._crop, True,
            )
            for plane in planes
        ]  # fmt: skip
        return np.stack([image for image, _ in cut]), np.stack([label for _, label in cut])

    def _from_image(
        self, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Move, scale and bend a crop of an image, sometimes with a vanishing object."""
        sample = self.samples[int(rng.choice(len(self.samples), p=self._chances))]
        label = int(rng.choice(np.unique(sample.labels[sample.labels > 0])))
        view = _view(rng, sample.labels == label, self._crop)
        drift = rng.normal(0, 0.03, 2) * view.width
        growth, turn = rng.normal(0, 0.05), rng.normal(0, 0.05)
        bend = rng.normal(0, 3.0, (2, 5, 5))
        bleach, blur = rng.uniform(0.85, 1.0), abs(rng.normal(0, 0.5))
        vanishes = rng.random() < _VANISHING_SHARE
        last = int(rng.integers(1, self._frames)) if vanishes else self._frames
        images, labels = [], []
        grey = bool((sample.image[..., 0] == sample.image[..., -1]).all())
        for t in range(self._frames):
            size = math.exp(growth * t)
            moved = View(view.x + drift[0] * t, view.y + drift[1] * t, view.width * size,
                         view.height * size, turn * t)  # fmt: skip
            image, instances = cut_view(sample.image, sample.labels, moved, self._crop, grey)
            image, instances = _bend(image, instances, bend * t)
            if t >= last:
                image, instances = _vanish(image, instances, label, rng)
            middle = np.median(image)
            image = middle + (image - middle) * bleach**t
            image = ndimage.gaussian_filter(image, (0, blur * t, blur * t), truncate=2.5)
            images.append(image + 0.01 * t * rng.standard_normal(image.shape, dtype=np.float32))
            labels.append(instances)
        return np.stack(images).astype(np.float32), np.stack(labels)


def _chances(weights: Sequence[float]) -> NDArray[np.float64]:
    values = np.asarray(weights, np.float64)
    return values / values.sum() if len(values) else values


def _view(rng: np.random.Generator, mask: NDArray[np.bool_], crop: int) -> View:
    """Draw a square view around an object, in which it has about the size of use."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    target = math.exp(rng.uniform(math.log(_SIDES[0]), math.log(_SIDES[1])))
    # Within the image: reflection at its border would show the object twice.
    extent = min(crop / min(target / longest, _LARGEST_ZOOM), *mask.shape)
    slack = 0.3 * extent
    middles = [(axis[0] + axis[-1]) / 2 + rng.uniform(-slack, slack) for axis in (rows, columns)]
    y, x = (
        min(max(middle, extent / 2 - 0.5), size - extent / 2 - 0.5)
        for middle, size in zip(middles, mask.shape, strict=True)
    )
    return View(float(x), float(y), float(extent), float(extent))


def _bend(
    image: NDArray[np.float32], labels: NDArray[np.int32], knots: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Shift pixels by a smooth field with the values (2, k, k) in px at its knots."""
    side = labels.shape[0]
    field = F.interpolate(
        torch.from_numpy(knots).float()[None], size=(side, side), mode="bicubic", align_corners=True
    )[0]
    axis = (torch.arange(side) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x + field[0] * (2 / side), y + field[1] * (2 / side)], -1)[None]
    moved = F.grid_sample(torch.from_numpy(image)[None], grid, padding_mode="reflection",
                          align_corners=False)[0]  # fmt: skip
    values = torch.from_numpy(labels.astype(np.float32))[None, None]
    instances = F.grid_sample(values, grid, mode="nearest", padding_mode="reflection",
                          align_corners=False)[0, 0]  # fmt: skip
    return moved.numpy(), instances.numpy().astype(np.int32)


def _vanish(
    image: NDArray[np.float32], labels: NDArray[np.int32], label: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Remove an object from an image, leaving at most a haze."""
    mask = labels == label
    if not mask.any():
        return image, labels
    ring = ndimage.binary_dilation(mask, iterations=8) & (labels == 0)
    ground = image[:, ring] if ring.any() else image.reshape(len(image), -1)
    filled = rng.choice(ground, image[0].size, axis=1).reshape(image.shape)
    filled = ndimage.gaussian_filter(filled, (0, 1, 1))
    haze = ndimage.gaussian_filter(image, (0, 9, 9))
    rest = rng.uniform(0, 0.35)
    grown = ndimage.binary_dilation(mask, iterations=3).astype(np.float32)
    share = ndimage.gaussian_filter(grown, 2)
    image = image * (1 - share) + share * ((1 - rest) * filled + rest * haze)
    return image.astype(np.float32), np.where(mask, 0, labels).astype(np.int32)
