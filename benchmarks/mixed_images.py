"""Images with two kinds of objects: those of one set pasted between those of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sam3.training.data import Sample

__all__ = ["Mixed", "mixed_images"]

BASES = ("dsb_stage1test", "em_chloroplast", "em_axon")
PASTED = ("sem_powder", "pebbles", "phase_t98g", "bacteria_ecoli", "em_chloroplast", "plant_cell")
SIDE = 320
TRIES = 60
MOST = 10
FEWEST = 5
#: Longest side of a pasted object; larger ones are not used.
LONGEST = 80
SHORTEST = 12
#: Distance in px between a pasted object and any other.
GAP = 2
#: px; smaller pieces at the edge of a cut do not count towards the five.
SMALLEST_AREA = 25


@dataclass(frozen=True, eq=False)
class Mixed:
    """An image of two kinds of objects.

    Parameters
    ----------
    image : ndarray of uint8, H x W x 3
        The picture.
    own, pasted : ndarray of int32, H x W
        Labels of the objects that belong there, and of those pasted in.
    name : str
        The two sets.
    """

    image: npt.NDArray[np.uint8]
    own: npt.NDArray[np.int32]
    pasted: npt.NDArray[np.int32]
    name: str


def mixed_images(samples: Sequence[Sample], count: int, seed: int = 0) -> Iterator[Mixed]:
    """Make images of which each has at least five objects of either kind.

    Objects are pasted with their own brightness and size, turned by a multiple of 90 degrees,
    on ground that no object covers. The same arguments always give the same images.
    """
    rng = np.random.default_rng(seed)
    bases = [one for one in samples if one.domain in BASES]
    made = 0
    while made < count:
        base = bases[rng.integers(len(bases))]
        others = [name for name in PASTED if name != base.domain]
        domain = others[rng.integers(len(others))]
        source = [one for one in samples if one.domain == domain]
        mixed = _mix(base, source[rng.integers(len(source))], rng)
        if mixed is not None:
            made += 1
            yield mixed


def _mix(base: Sample, source: Sample, rng: np.random.Generator) -> Mixed | None:
    height, width = (min(SIDE, length) for length in base.labels.shape)
    top = rng.integers(base.labels.shape[0] - height + 1)
    left = rng.integers(base.labels.shape[1] - width + 1)
    view = slice(top, top + height), slice(left, left + width)
    image, own = base.image[view].copy(), base.labels[view].astype(np.int32)
    pasted = np.zeros_like(own)
    objects = _objects(source)
    number = 0
    for _ in range(TRIES if objects else 0):
        turn = int(rng.integers(4))
        pixels, mask = objects[rng.integers(len(objects))]
        pixels, mask = np.rot90(pixels, turn), np.rot90(mask, turn)
        place = _free_place(mask, (own > 0) | (pasted > 0), rng)
        if place is not None and number < MOST:
            number += 1
            _paste(image[place], pixels, mask)
            pasted[place][mask] = number
    if number < FEWEST or len(_sizes(own)) < FEWEST:
        return None
    return Mixed(image, own, pasted, f"{source.domain} in {base.domain}")


def _free_place(
    mask: npt.NDArray[np.bool_], taken: npt.NDArray[np.bool_], rng: np.random.Generator
) -> tuple[slice, slice] | None:
    """Try one place; return it unless it lies on an object or at its edge."""
    if mask.shape[0] >= taken.shape[0] or mask.shape[1] >= taken.shape[1]:
        return None
    row, column = (int(rng.integers(n - m)) for n, m in zip(taken.shape, mask.shape, strict=True))
    place = slice(row, row + mask.shape[0]), slice(column, column + mask.shape[1])
    wide = ndimage.binary_dilation(mask, iterations=GAP)
    return None if taken[place][wide].any() else place


def _paste(
    image: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]
) -> None:
    """Mix the outermost pixels with the ground, so that no jagged cut gives an object away."""
    alpha = np.where(mask, ndimage.uniform_filter(mask.astype(np.float32), 3), 0)[..., None]
    image[:] = (alpha * pixels + (1 - alpha) * image).round().astype(np.uint8)


def _objects(sample: Sample) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]:
    """Cut out the objects that do not touch the image's edge and are neither large nor tiny."""
    height, width = sample.labels.shape
    found = []
    for number, box in enumerate(ndimage.find_objects(sample.labels), start=1):
        if box is None:
            continue
        (top, bottom), (left, right) = ((one.start, one.stop) for one in box)
        sides = bottom - top, right - left
        inside = top > 0 and left > 0 and bottom < height and right < width
        if inside and min(sides) >= SHORTEST and max(sides) <= LONGEST:
            # One pixel of margin, so that the edge can be mixed.
            view = slice(top - 1, bottom + 1), slice(left - 1, right + 1)
            found.append((sample.image[view], sample.labels[view] == number))
    return found


def _sizes(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.intp]:
    """Return the areas of the objects that are large enough to be seen."""
    areas = np.bincount(labels.ravel())[1:]
    return areas[areas >= SMALLEST_AREA]
