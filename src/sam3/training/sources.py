"""Labelled training images: real ones from files, and a cached pool of scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3.training.augment import split_components
from sam3.training.scenes import SCENE_VERSION, make_scenes
from sam3.training.shapes import keep_largest_components
from sam3.training.splits import PARTIAL, Side, plane_side, split_images, volume_side

__all__ = ["Sample", "load_real", "scene_pool"]

_POOL_CHUNK = 25
_PLANES = 8  # per volume; neighbouring planes are nearly identical
_LIMITS = (0.1, 99.9)  # percentiles to which 16-bit volumes are stretched


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled image.

    Attributes
    ----------
    image
        (H, W, 3) uint8, contiguous.
    labels
        (H, W), 0 is background: int32 for real images, uint16 for scenes.
    name
        Unique name.
    group
        Kind of image within its set, sampled in proportion to the square root of its size.
    domain
        Name of its set, sampled in proportion to the square root of its number of images.
    complete
        Whether every object is labelled, so that unlabelled pixels are background.
    clicks
        By label, the clicks with which a user made the object, see :mod:`sam3.training.recorded`.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.integer]
    name: str
    group: str
    domain: str = ""
    complete: bool = True
    clicks: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)


def load_real(path: str | Path | None = None) -> tuple[list[Sample], list[Sample]]:
    """Read real images and split them into training and validation.

    Parameters
    ----------
    path
        An npz file, or a folder that is searched recursively for npz files. Each file is a set with
        `<id>_image` (H, W) or (H, W, 3) uint8 and `<id>_labels` (H, W) uint16 for every image.
        Volumes and time-lapses also have `<id>_kind`, and planes as first axis. None for no
        images.

    Returns
    -------
    train, validation
        See :func:`sam3.training.splits.split_images`. Labels of validation images are unchanged;
        those of training images are reduced to connected components. Both empty without a path.
    """
    train: list[Sample] = []
    validation: list[Sample] = []
    if path is None:
        return train, validation
    path = Path(path)
    for file in sorted(path.rglob("*.npz")) if path.is_dir() else [path]:
        for side, sample in _read_set(file):
            if side == "validation":
                validation.append(sample)
            else:
                train.append(replace(sample, labels=keep_largest_components(sample.labels)))
    return train, validation


def _read_set(path: Path) -> Iterator[tuple[Side, Sample]]:
    """Yield the images of an npz file with their sides, except those that belong to neither."""
    domain = path.stem.removesuffix("_more")
    with np.load(path, allow_pickle=False) as archive:
        names = sorted(key.removesuffix("_image") for key in archive if key.endswith("_image"))
        sides = split_images(domain, names)
        for name in names:
            pixels = archive[f"{name}_image"]
            labels = archive[f"{name}_labels"].astype(np.int32)
            if f"{name}_kind" in archive:
                yield from _planes(domain, name, pixels, labels)
            elif (side := sides[name]) is not None:
                yield side, _sample(domain, name, pixels, labels)


def _planes(
    domain: str, name: str, pixels: NDArray[np.integer], labels: NDArray[np.int32]
) -> Iterator[tuple[Side, Sample]]:
    """Yield planes of a volume, with the components of an object in a plane as objects."""
    low, high = np.percentile(pixels[:, ::2, ::2], _LIMITS)
    whole = volume_side(domain, name)
    step = max(2, len(pixels) // _PLANES)
    for plane in range(step // 2, len(pixels), step):
        side = whole or plane_side(domain, plane, len(pixels))
        parts = split_components(labels[plane])
        if side is None or not parts.any():
            continue
        scaled = (pixels[plane] - low) * (255 / max(high - low, 1.0))
        yield (
            side,
            _sample(domain, f"{name}_{plane:03d}", np.clip(scaled, 0, 255).astype(np.uint8), parts),
        )


def _sample(domain: str, name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> Sample:
    planes = pixels if pixels.ndim == 3 else pixels[..., None]
    image = np.ascontiguousarray(np.broadcast_to(planes, (*labels.shape, 3)))
    shade = "bright" if image.mean() > 110 else "dark"
    group = f"{labels.shape[0]}x{labels.shape[1]}-{shade}"
    return Sample(image, labels, name, group, domain, domain not in PARTIAL)


def scene_pool(
    count: int, seed: int, cache_dir: str | Path, *, size: int = 320, processes: int = 2
) -> list[Sample]:
    """Generate a pool of scenes, or read it from the cache.

    Parameters
    ----------
    count, seed
        Number of scenes, and the seed that determines them.
    cache_dir
        Folder of the cache, created if missing; about 0.5 MB per scene.
    size
        Side of a scene in pixels.
    processes
        Number of processes to generate them with.

    Returns
    -------
    `count` samples of the group "scene".
    """
    folder = Path(cache_dir)
    path = folder / f"scenes-v{SCENE_VERSION}-{count}-{seed}-{size}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        starts = range(0, count, _POOL_CHUNK)
        jobs = [(seed, start, min(start + _POOL_CHUNK, count), size) for start in starts]
        if processes > 1 and len(jobs) > 1:
            # Spawned, because a fork of a process with torch threads can hang.
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
                chunks = list(executor.map(make_scenes, *zip(*jobs, strict=True)))
        else:
            chunks = [make_scenes(*job) for job in jobs]
        part = path.with_name(f"part-{path.name}")  # an interrupted run leaves no partial cache
        np.savez(
            part,
            images=np.concatenate([images for images, _ in chunks]),
            labels=np.concatenate([labels for _, labels in chunks]),
        )
        part.replace(path)
    with np.load(path, allow_pickle=False) as archive:
        pairs = zip(archive["images"], archive["labels"], strict=True)
        return [
            Sample(image, labels, f"scene-{seed}-{index}", "scene")
            for index, (image, labels) in enumerate(pairs)
        ]
