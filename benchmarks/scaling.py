"""How time grows with the size of the image, the objects, the planes and the threads.

`python -m benchmarks.scaling` prints these rows alone.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Row, Timing, measure, take_turns
from napari_sam3.batch import BatchControl, Repeated, segment
from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import Channel, RenderedPlane
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import Question
from sam3 import Predictor, load_predictor
from sam3.runtime.cores import torch_threads

__all__ = ["image_rows", "object_rows", "plane_rows", "scaling_rows", "thread_rows"]

SIDES = (512, 1024, 2048, 4096, 8192, 16384)
OBJECTS = (1, 4, 16, 64, 256)
PLANES = (1, 10, 100)
# The least that the model can be asked for.
RESOLUTION = 252
RADIUS, SPACING = 9, 28  # px of a disc, and from one to the next


def scaling_rows(predictor: Predictor, *, planes: Sequence[int] = PLANES) -> Iterator[Row]:
    """Measure all four; `planes` are the lengths of the stacks."""
    yield from image_rows(predictor)
    yield from object_rows(predictor)
    small = load_predictor("tiny", predictor.device, resolution=RESOLUTION)
    yield from plane_rows(small, planes)
    yield from thread_rows(predictor)


def image_rows(
    predictor: Predictor, sides: Sequence[int] = SIDES, *, repeats: int = 5
) -> Iterator[Row]:
    """Encode around a click and answer it, on the same object in images of many sizes."""
    first: Timing | None = None
    for side in sides:
        middle = side // 2
        plane = _plane(_with_discs(side, [(middle, middle)]))
        draft = Draft(1, (Turn(PromptSet.from_arrays(points=[(middle, middle)])),))
        time_ = measure(lambda p=plane, d=draft: _ask(predictor, p, [d]), repeats=repeats)  # type: ignore[misc]
        first = first or time_
        yield Row(
            f"encode and answer a click, image of {side} x {side} px",
            time_,
            other_name=_beside(time_, first, f"{sides[0]} px"),
        )


def object_rows(
    predictor: Predictor, counts: Sequence[int] = OBJECTS, *, repeats: int = 5
) -> Iterator[Row]:
    """Answer a click each on many objects of one field at once, encoding excluded."""
    across = int(np.ceil(np.sqrt(max(counts))))
    middles = [
        (SPACING // 2 + SPACING * row, SPACING // 2 + SPACING * column)
        for row in range(across)
        for column in range(across)
    ]
    plane = _plane(_with_discs(SPACING * across, middles))
    cache = EmbeddingCache()
    first: Timing | None = None
    for count in counts:
        drafts = [
            Draft(number, (Turn(PromptSet.from_arrays(points=[(x, y)])),))
            for number, (y, x) in enumerate(middles[:count], start=1)
        ]
        whole = measure(lambda d=drafts: _ask(predictor, plane, d, cache), repeats=repeats)  # type: ignore[misc]
        each = whole.each_of(count)
        first = first or each
        yield Row(
            f"an object of {count} on a plane, a click each, encoding excluded",
            each,
            other_name=_beside(each, first, "the time alone"),
        )


def plane_rows(predictor: Predictor, counts: Sequence[int] = PLANES) -> Iterator[Row]:
    """Segment stacks by a box on each plane: reading, encoding, answering, labels."""
    side = predictor.config.resolution
    middle = side // 2
    rng = np.random.default_rng(0)
    ground = _with_discs(side, [(middle, middle)])
    reach = RADIUS + 3
    box = {1: PromptSet(box=(middle - reach, middle - reach, middle + reach, middle + reach))}
    first: Timing | None = None
    for count in (0, *counts):  # the first time is a warm-up
        # No two planes are alike, or the features of one would serve all.
        noise = rng.integers(0, 8, (max(count, 1), 1, side), np.uint8)
        stack = ground + noise
        start = time.perf_counter()
        for _ in segment(stack, Repeated(box), predictor):
            pass
        each = Timing(((time.perf_counter() - start) / len(stack),))
        if count == 0:
            continue
        first = first or each
        yield Row(
            f"a plane of a batch of {count}, a box each, {side} x {side} px",
            each,
            other_name=_beside(each, first, f"a batch of {counts[0]}"),
        )


def thread_rows(predictor: Predictor, *, repeats: int = 7) -> Iterator[Row]:
    """Encode and answer with all cores, and with one, in turns."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    image = _with_discs(predictor.config.resolution, [(100, 100)])
    colour = np.repeat(image[..., None], 3, axis=-1)
    features = predictor.encode(colour)

    def encode(threads: int) -> None:
        with torch_threads(threads):
            predictor.encode(colour)

    def click(threads: int) -> None:
        with torch_threads(threads):
            predictor.predict(features, [(100, 100)], [1])

    several = 2
    while several <= (cores or 1):
        for what, work in (("encode an image", encode), ("answer a click", click)):
            times = take_turns(
                lambda w=work, n=several: w(n),  # type: ignore[misc]
                lambda w=work: w(1),  # type: ignore[misc]
                repeats=repeats,
            )
            yield Row(f"{what}, {several} threads", *times, "one thread")
        several *= 2


def _ask(
    predictor: Predictor,
    plane: PlaneImage,
    drafts: Sequence[Draft],
    cache: EmbeddingCache | None = None,
) -> None:
    if cache is None:  # not "or": an empty one is false
        cache = EmbeddingCache(0)
    answer(Question(plane, tuple(drafts)), predictor, cache, BatchControl())


def _with_discs(side: int, middles: Sequence[tuple[int, int]]) -> npt.NDArray[np.uint8]:
    """Bright discs at (row, column) on a dark, slightly uneven ground; side x side."""
    image = np.broadcast_to(np.linspace(40, 60, side, dtype=np.uint8), (side, side)).copy()
    rows, columns = np.ogrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    inside = rows**2 + columns**2 <= RADIUS**2
    for row, column in middles:
        part = image[row - RADIUS : row + RADIUS + 1, column - RADIUS : column + RADIUS + 1]
        part[inside] = 180
    return image


def _plane(image: npt.NDArray[np.uint8]) -> RenderedPlane:
    return RenderedPlane(Channel(image, PlaneIndex(), contrast=(0.0, 255.0)))


def _beside(this: Timing, first: Timing, what: str) -> str:
    return f"{this.median / first.median:.2f} x {what}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    for row in scaling_rows(load_predictor(arguments.model, arguments.device)):
        print(row.line, flush=True)


if __name__ == "__main__":
    main()
