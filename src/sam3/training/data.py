"""Batches of training crops with prompts, from real images and scenes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from sam3.training.augment import View, cut_view, relight, split_components
from sam3.training.prompts import POINT_SLOTS, PROMPT_KINDS, sample_prompt
from sam3.training.recorded import in_crop, recorded_prompt
from sam3.training.sources import Sample, load_real, scene_pool

__all__ = ["Batch", "CropDataset", "CropSampler", "Sample", "load_real", "scene_pool"]

_SMALLEST_SIDE = 20.0  # model pixels, long side of the object a crop is made for
_LARGEST_SHARE = 0.75  # of the crop's side
_LARGEST_ZOOM = 6.0
_PRODUCT_ZOOMS = ((2.0, 0.5), (1.0, 0.25), (4.0, 0.25))
_LIMITS = (0.1, 99.9)  # percentiles
_MIN_VISIBLE_AREA = 30  # model pixels
_RECORDED_SHARE = 0.5  # of the prompts of an object whose clicks are known

Schedule = Callable[[int], tuple[int, int, int]]


@dataclass(frozen=True, eq=False)
class Batch:
    """N crops with P prompts each, as tensors.

    Attributes
    ----------
    images
        (N, 3, crop, crop) uint8.
        (N, crop, crop) int32, all objects of the crop; ids are unique within a crop only.
        (N, crop, crop) int32, every object of the crop; ids are those of the crop alone.
    objects
        (N, P) int64, the ids of the prompted objects.
    point_coords
        (N, P, K, 2) float32 (x, y) in crop pixels, pixel centres at integers.
    point_labels
        (N, P, K) int64: 1 object, 0 background, -1 unused.
    boxes
        (N, P, 4) float32 xyxy in crop pixels, zeros without a box.
    has_box
        (N, P) bool.
        (N,) bool, whether unlabelled pixels of the crop are background.
        (N,) bool, whether unlabelled pixels of the crop are background.
    """

    images: Tensor
    labels: Tensor
    objects: Tensor
    point_coords: Tensor
    point_labels: Tensor
    boxes: Tensor
    has_box: Tensor
    complete: Tensor

    @property
    def masks(self) -> Tensor:
        """Masks of the prompted objects, (N, P, crop, crop) bool."""
        return self.labels[:, None] == self.objects[..., None, None]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; called by the data loader."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


@dataclass(frozen=True, eq=False)
class _Source:
    """A sample with a table of its objects: x0, y0, x1, y1 (exclusive) and sampling weights.

    `limits` are the contrast limits, in 0..1, that the product would use for the image.
    """

    sample: Sample
    ids: NDArray[np.int64]
    boxes: NDArray[np.int64]
    weights: NDArray[np.float64]
    grey: bool
    limits: tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Crop:
    """A crop, its instance map, the objects to prompt, and the clicks that users made on them."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    objects: list[int]
    complete: bool
    clicks: dict[int, NDArray[np.float32]]


def _sampling_weights(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return cumulative probabilities, by the square roots of the sizes of sets and kinds."""
    sets = Counter(sample.domain for sample in samples)
    kinds = Counter((sample.domain, sample.group) for sample in samples)
    shares: dict[str, float] = defaultdict(float)
    for (domain, _), count in kinds.items():
        shares[domain] += math.sqrt(count)
    weights = np.array(
        [
            math.sqrt(sets[sample.domain] / kinds[sample.domain, sample.group])
            / shares[sample.domain]
            for sample in samples
        ]
    )
    return np.cumsum(weights / weights.sum()) if len(weights) else weights


def _index_objects(sample: Sample) -> _Source | None:
    slices = ndimage.find_objects(sample.labels)
    ids = np.array([i for i, box in enumerate(slices, start=1) if box is not None], np.int64)
    if len(ids) == 0:
        return None
    areas = np.bincount(sample.labels.ravel())[ids]
    boxes = np.array(
        [
            (box[1].start, box[0].start, box[1].stop, box[0].stop)
            for box in slices
            if box is not None
        ],
        np.int64,
    )
    root = np.sqrt(areas)
    weights = 0.5 / len(ids) + 0.5 * root / root.sum()
    image = sample.image
    grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())
    low, high = np.percentile(image[::2, ::2], _LIMITS) / 255
    return _Source(sample, ids, boxes, weights, grey, (float(low), float(high)))


class CropSampler:
    """Sampler of crops with prompts; seed, step and item determine the crop.

    Parameters
    ----------
    real, scenes
        Samples of the two sources; either may be empty. Samples without objects are ignored.
    seed
        Seed of all random choices.
    real_fraction
        Fraction of crops from real images if there are both sources.

    Raises
    ------
    ValueError
        If no sample has any object.
    """

    def __init__(
        self,
        real: Sequence[Sample],
        scenes: Sequence[Sample],
        *,
        seed: int = 0,
        real_fraction: float = 0.65,
    ) -> None:
        self._real = [source for sample in real if (source := _index_objects(sample))]
        self._scenes = [source for sample in scenes if (source := _index_objects(sample))]
        if not self._real and not self._scenes:
            raise ValueError(
                f"no labelled object in {len(real)} real images and {len(scenes)} scenes. "
                "Expected at least one image with objects. Add one."
            )
        self._seed = seed
        self._real_fraction = real_fraction if self._scenes else 1.0
        if not self._real:
            self._real_fraction = 0.0
        self._real_weights = _sampling_weights([source.sample for source in self._real])

    def batch(self, step: int, *, images: int, prompts: int, crop: int) -> Batch:
        """Sample the batch of one step.

        Parameters
        ----------
        step
            Index of the step, which determines all random choices.
        images, prompts
            Numbers N of crops and P of prompts per crop.
        crop
            Side of the crops in pixels, a multiple of 14 from 112 to 448.

        Raises
        ------
        ValueError
            If `crop` is not such a multiple.
        """
        if crop % 14 or not 112 <= crop <= 448:
            raise ValueError(
                f"invalid crop: {crop}. Expected a multiple of 14 from 112 to 448. Choose one."
            )
        pixels = np.empty((images, 3, crop, crop), np.uint8)
        labels = np.empty((images, crop, crop), np.int32)
        objects = np.empty((images, prompts), np.int64)
        coords = np.zeros((images, prompts, POINT_SLOTS, 2), np.float32)
        slots = np.full((images, prompts, POINT_SLOTS), -1, np.int64)
        boxes = np.zeros((images, prompts, 4), np.float32)
        has_box = np.zeros((images, prompts), np.bool_)
        complete = np.ones(images, np.bool_)
        for item in range(images):
            rng = np.random.default_rng((self._seed, step, item))
            made = self._crop(rng, crop, prompts)
            pixels[item], labels[item], objects[item] = made.pixels, made.labels, made.objects
            complete[item] = made.complete
            used: dict[int, list[str]] = {}
            for slot, instance in enumerate(objects[item].tolist()):
                mask = labels[item] == instance
                clicks = made.clicks.get(instance)
                prompt = None
                if clicks is not None and rng.random() < _RECORDED_SHARE:
                    prompt = recorded_prompt(clicks, mask, rng)
                if prompt is None:
                    kind = _draw_kind(rng, used.setdefault(instance, []))
                    prompt = sample_prompt(mask, labels[item], rng, kind)
                coords[item, slot], slots[item, slot] = prompt.coords, prompt.labels
                boxes[item, slot], has_box[item, slot] = prompt.box, prompt.has_box
        arrays = (pixels, labels, objects, coords, slots, boxes, has_box, complete)
        return Batch(*(torch.from_numpy(array) for array in arrays))

    def _crop(self, rng: np.random.Generator, crop: int, prompts: int) -> _Crop:
        """Cut a crop out of a sample, and choose the objects to prompt."""
        while True:  # rotation or clipping sometimes leaves too little of the picked object
            source = self._draw_source(rng)
            picked = int(rng.choice(len(source.ids), p=source.weights))
            view = _draw_view(rng, source, picked, crop)
            sample = source.sample
            planes, instances = cut_view(sample.image, sample.labels, view, crop, source.grey)
            labels = split_components(instances)
            areas = np.bincount(labels[instances == source.ids[picked]], minlength=1)
            if areas.max() >= _MIN_VISIBLE_AREA:
                break
        chosen = _choose_objects(rng, labels, int(areas.argmax()), prompts)
        turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
        clicks = {}
        for part in set(chosen) if sample.clicks else ():
            made = sample.clicks.get(int(instances[labels == part][0]))
            if made is not None:
                clicks[part] = in_crop(made, view, crop, turns, mirrored)
        planes, labels = np.rot90(planes, turns, (1, 2)), np.rot90(labels, turns)
        if mirrored:
            planes, labels = planes[..., ::-1], labels[..., ::-1]
        pixels = relight(np.ascontiguousarray(planes), rng, source.limits)
        return _Crop(pixels, labels, chosen, sample.complete, clicks)

    def _draw_source(self, rng: np.random.Generator) -> _Source:
        if rng.random() < self._real_fraction:
            place = int(np.searchsorted(self._real_weights, rng.random(), side="right"))
            return self._real[min(place, len(self._real) - 1)]
        return self._scenes[int(rng.integers(len(self._scenes)))]


def _draw_zoom(rng: np.random.Generator, longest: float, crop: int) -> float:
    """Draw the magnification for an object of a given long side: a product zoom if it fits."""
    largest = _LARGEST_SHARE * crop
    if rng.random() < 0.6:
        zooms, chances = zip(*_PRODUCT_ZOOMS, strict=True)
        zoom = float(rng.choice(zooms, p=chances)) * math.exp(rng.normal(0, 0.12))
        if _SMALLEST_SIDE <= zoom * longest <= largest:
            return zoom
    target = math.exp(rng.uniform(math.log(_SMALLEST_SIDE), math.log(largest)))
    return min(target / longest, _LARGEST_ZOOM)


def _draw_view(rng: np.random.Generator, source: _Source, picked: int, crop: int) -> View:
    """Draw a field that contains the picked object, mostly whole, at a random position."""
    box = source.boxes[picked]
    zoom = _draw_zoom(rng, float(max(box[2] - box[0], box[3] - box[1])), crop)
    aspect = math.exp(rng.uniform(-0.5, 0.5) * math.log(1.3)) if rng.random() < 0.5 else 1.0
    extent = crop / zoom * np.array([aspect, 1 / aspect])
    shape = np.array(source.sample.image.shape[1::-1])
    extent *= min(1.0, float((1.15 * shape / extent).min()))
    middle, half = (box[:2] + box[2:] - 1) / 2, (box[2:] - box[:2]) / 2
    slack = np.maximum(extent / 2 - half * 1.05, 0)
    if rng.random() < 0.15:  # clipped by the border
        slack = extent / 2 - half * 0.2
    centre = middle + rng.uniform(-1, 1, 2) * slack
    if rng.random() < 0.95:  # inside the image if it is large enough
        low, high = extent / 2 - 0.5, shape - extent / 2 - 0.5
        centre = np.where(low <= high, np.clip(centre, low, high), centre)
    angle = float(rng.uniform(-0.5, 0.5)) if rng.random() < 0.1 else 0.0
    return View(float(centre[0]), float(centre[1]), float(extent[0]), float(extent[1]), angle)


def _choose_objects(
    rng: np.random.Generator, labels: NDArray[np.int32], first: int, count: int
) -> list[int]:
    """Choose objects to prompt, preferably whole ones; repeat them if there are too few."""
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    weights = (areas >= _MIN_VISIBLE_AREA).astype(float)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    weights[np.unique(border)] *= 0.4
    weights[first] = 0
    others = min(count - 1, int(np.count_nonzero(weights)))
    chosen = [first]
    if others:
        drawn = rng.choice(len(areas), others, replace=False, p=weights / weights.sum())
        chosen += [int(instance) for instance in drawn]
    return [chosen[i % len(chosen)] for i in range(count)]


def _draw_kind(rng: np.random.Generator, used: list[str]) -> str:
    """Draw a kind of prompt, preferably one not used for this object yet."""
    unused = {kind: chance for kind, chance in PROMPT_KINDS.items() if kind not in used}
    unused = unused or PROMPT_KINDS
    chances = np.array(list(unused.values()))
    kind = str(rng.choice(list(unused), p=chances / chances.sum()))
    used.append(kind)
    return kind


class CropDataset(Dataset[Batch]):
    """Batches by step for a `DataLoader(batch_size=None)`, starting at any step.

    Parameters
    ----------
    sampler
        Source of crops.
    schedule
        Returns (images, prompts, crop) for a step.
    steps
        Number of steps.
    first
        Step of item 0, to resume a run.
    """

    def __init__(
        self, sampler: CropSampler, schedule: Schedule, steps: int = 1 << 40, first: int = 0
    ) -> None:
        self._sampler = sampler
        self._schedule = schedule
        self._steps = steps
        self._first = first

    def __len__(self) -> int:
        return max(0, self._steps - self._first)

    def __getitem__(self, index: int) -> Batch:
        """Return the batch of the step `first + index`."""
        if not 0 <= index < len(self):
            raise IndexError(
                f"the step does not exist: {index}. Expected 0 to {len(self) - 1}. Choose one of "
                "these."
            )
        step = self._first + index
        images, prompts, crop = self._schedule(step)
        return self._sampler.batch(step, images=images, prompts=prompts, crop=crop)
