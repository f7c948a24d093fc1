"""Memory while objects are propagated through 1,000 frames.

`python -m benchmarks.long_series` follows two discs that wander through frames made one at a time,
mask by mask and with a tracker memory, for models without one of random weights, which takes as
much memory as a trained one. What counts is the resident memory of the process after the first 300
frames, with which the cache of encoded fields is full (256 MB).
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import psutil
import torch

from benchmarks.measure import Fact
from napari_sam3.core.masks import PlaneMask
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
from napari_sam3.session.stacks import LazySequence
from sam3 import Predictor, load_predictor
from sam3.config import MemoryConfig
from sam3.model.memory import Memory
from sam3.weights.memory import load_memory

__all__ = ["long_series_rows"]

FRAMES, WARM, SIDE, RADIUS = 1000, 300, 256, 14
_EVERY = 10  # frames between two looks at the memory
CENTRES = ((90.0, 70.0), (160.0, 190.0))
#: Nothing ends, also with random weights.
ENDLESS = EndRules(min_area=1, gap=10**9)


@dataclass(frozen=True)
class Held:
    """Megabytes of the process, after the first frames and at most later."""

    warm: float
    most: float
    frames: int

    @property
    def growth(self) -> float:
        """Growth as a share of the memory after the first frames."""
        return self.most / self.warm - 1


def disc(centre: tuple[float, float], frame: int) -> npt.NDArray[np.bool_]:
    """Return one of the discs on a frame."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    y, x = centre[0] + 30 * np.sin(frame / 40), centre[1] + 30 * np.cos(frame / 40)
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 < RADIUS**2)


def frame_of(index: int) -> ArrayPlane:
    """Make a frame; none of them is kept."""
    light = np.random.default_rng(index).normal(40, 6, (SIDE, SIDE))
    for centre in CENTRES:
        light[disc(centre, index)] += 110
    pixels = np.clip(light, 0, 255).astype(np.uint8)
    return ArrayPlane(np.repeat(pixels[..., None], 3, axis=2))


def held(predictor: Predictor, memory: Memory | None, frames: int = FRAMES) -> Held:
    """Propagate both discs through all frames, and look at the memory of the process."""
    planes: Sequence[ArrayPlane] = LazySequence(frame_of, frames)
    prompts = [
        ObjectPrompt(0, number, mask=PlaneMask.from_array(disc(centre, 0)))
        for number, centre in enumerate(CENTRES, start=1)
    ]
    process, warm, most, last = psutil.Process(), 0.0, 0.0, 0
    for found in propagate(
        planes, prompts, predictor, memory=memory, direction="forward", rules=ENDLESS
    ):
        last = found.plane
        if last >= WARM and last % _EVERY == 0:
            gc.collect()
            now = process.memory_info().rss / 1e6
            warm, most = warm or now, max(most, now)
    return Held(warm, most, last + 1)


def tracker_memory(predictor: Predictor) -> tuple[str, Memory]:
    """Return a model's own memory, or else one of random weights, and what it is."""
    if predictor.config.memory is not None and predictor.weights is not None:
        return "with its memory", load_memory(predictor.weights, config=predictor.config)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = replace(predictor.config, memory=MemoryConfig())
        return "with a memory, random weights", Memory(config).requires_grad_(False).eval()


def long_series_rows(predictor: Predictor, frames: int = FRAMES) -> Iterator[Fact]:
    """Measure both ways."""
    ways = dict([("mask by mask", None), tracker_memory(predictor)])
    for way, memory in ways.items():
        found = held(predictor, memory, frames)
        yield Fact(
            f"memory of the process while 2 objects are propagated through {found.frames} frames, "
            f"*{way}*",
            f"{found.growth:+.1%}",
            f"{found.warm:.0f} MB after {WARM} frames, at most {found.most:.0f} MB later",
        )


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--frames", type=int, default=FRAMES)
    arguments = parser.parse_args(argv)
    predictor = load_predictor(arguments.model, device="cpu")
    print(f"Weights `{predictor.fingerprint}`.", flush=True)
    for row in long_series_rows(predictor, arguments.frames):
        print(row.line, flush=True)


if __name__ == "__main__":
    main()
