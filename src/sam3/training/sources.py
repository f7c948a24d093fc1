"""Labelled images to train on: real ones from a file, and a cached pool of made scenes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3.training.scenes import SCENE_VERSION, make_scenes
from sam3.training.shapes import keep_largest_components

__all__ = ["Sample", "load_real", "scene_pool"]

_VALIDATION_EVERY = 8
_POOL_CHUNK = 25


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
        Kind of image; real images are drawn by the square root of their group's size.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.integer]
    name: str
    group: str


def load_real(path: str | Path | None = None) -> tuple[list[Sample], list[Sample]]:
    """Read the real images and split them into training and validation.

    Parameters
    ----------
    path
        An npz with `<id>_image` (H, W) or (H, W, 3) uint8 and `<id>_labels` (H, W) uint16 for
        every image; None when there is none at hand.

    Returns
    -------
    train, validation
        Every eighth image by sorted id is for validation, its labels as they are. Labels for
        training are reduced to connected components. Both are empty without a path.
    """
    train: list[Sample] = []
    validation: list[Sample] = []
    if path is None:
        return train, validation
    with np.load(path, allow_pickle=False) as archive:
        names = sorted(key.removesuffix("_image") for key in archive if key.endswith("_image"))
        for index, name in enumerate(names):
            pixels = archive[f"{name}_image"]
            labels = archive[f"{name}_labels"].astype(np.int32)
            planes = pixels if pixels.ndim == 3 else pixels[..., None]
            image = np.ascontiguousarray(np.broadcast_to(planes, (*labels.shape, 3)))
            shade = "bright" if image.mean() > 110 else "dark"
            group = f"{labels.shape[0]}x{labels.shape[1]}-{shade}"
            if index % _VALIDATION_EVERY == 0:
                validation.append(Sample(image, labels, name, group))
            else:
                train.append(Sample(image, keep_largest_components(labels), name, group))
    return train, validation


def scene_pool(
    count: int, seed: int, cache_dir: str | Path, *, size: int = 320, processes: int = 2
) -> list[Sample]:
    """Make a pool of scenes, or read it from the cache when it was made before.

    Parameters
    ----------
    count, seed
        Number of scenes, and the seed they follow from.
    cache_dir
        Folder of the cache, made when missing; about 0.5 MB a scene.
    size
        Side of a scene in pixels.
    processes
        Processes to make them with.

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
            # spawned, as a fork of a process that runs torch threads can hang
            with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
                made = list(executor.map(make_scenes, *zip(*jobs, strict=True)))
        else:
            made = [make_scenes(*job) for job in jobs]
        part = path.with_name(f"part-{path.name}")  # a cut-off run leaves no half-written cache
        np.savez(
            part,
            images=np.concatenate([images for images, _ in made]),
            labels=np.concatenate([labels for _, labels in made]),
        )
        part.replace(path)
    with np.load(path, allow_pickle=False) as archive:
        pairs = zip(archive["images"], archive["labels"], strict=True)
        return [
            Sample(image, labels, f"scene-{seed}-{index}", "scene")
            for index, (image, labels) in enumerate(pairs)
        ]
