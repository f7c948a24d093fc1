"""What a batch costs beside the model, how well it propagates objects, and what memory it needs.

`python -m benchmarks.batch` prints the rows that `benchmarks.run` puts into the report.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Row, Timing, take_turns
from benchmarks.volumes import KINDS, Kind, Volume, make_volume, middle_boxes
from napari_sam3.batch import BatchControl, BatchPrompts, Propagate, Repeated, segment
from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import Question
from napari_sam3.layers.sample_data import make_nuclei
from sam3 import Predictor, load_predictor

__all__ = ["Following", "batch_rows", "follow", "follow_kind", "throughput_row"]

# One field holds such a plane, and objects of this size: the model takes as little as it can.
SIDE, RADII = 224, (27.0, 45.0)


def batch_rows(predictor: Predictor, *, planes: int = 20, seeds: int = 2) -> Iterator[Row]:
    """Measure a batch beside the model alone, then how well objects are propagated.

    Parameters
    ----------
    predictor : Predictor
        The model.
    planes : int
        Of the batch that is timed.
    seeds : int
        Volumes of each kind.
    """
    yield throughput_row(predictor, planes)
    for kind in KINDS:
        start = time.perf_counter()
        found = follow_kind(kind, predictor, seeds)
        seconds = time.perf_counter() - start
        ious = found.ious
        yield Row(
            f"propagate objects through a plane: *{kind}*, one prompted plane an object",
            Timing((seconds / found.planes,)),
            other_name=f"mean IoU of volumes {ious.mean():.3f}, least {ious.min():.2f}, "
            f"{found.switches} id switches, {len(ious)} objects",
        )


@dataclass(frozen=True, eq=False)
class Following:
    """How well the objects of a volume were followed.

    Parameters
    ----------
    ious : ndarray of float
        IoU of each object's whole volume with the truth.
    switches : int
        Planes on which most of an object's mask lies in another object.
    planes : int
        Planes of the volume.
    """

    ious: npt.NDArray[np.float64]
    switches: int
    planes: int


def follow(volume: Volume, predictor: Predictor) -> Following:
    """Propagate each object through a volume from a box on its largest plane."""
    mode = Propagate(largest_boxes(volume))
    found = np.zeros(volume.labels.shape, np.uint32)
    for result in segment(volume.image, mode, predictor):
        found[result.position] = result.labels
    ious, switches = [], 0
    for label in range(1, volume.count + 1):
        ours, truth = found == label, volume.labels == label
        ious.append((ours & truth).sum() / max(1, (ours | truth).sum()))
        for plane in np.flatnonzero(ours.any(axis=(1, 2))):
            most = np.bincount(volume.labels[plane][ours[plane]]).argmax()
            switches += most not in (0, label)
    return Following(np.array(ious), int(switches), len(found))


def follow_kind(kind: Kind, predictor: Predictor, seeds: int) -> Following:
    """Follow all objects of so many volumes of a kind; counts are of all of them."""
    found = [follow(make_volume(kind, seed=seed), predictor) for seed in range(seeds)]
    return Following(
        np.concatenate([one.ious for one in found]),
        sum(one.switches for one in found),
        sum(one.planes for one in found),
    )


def largest_boxes(volume: Volume) -> BatchPrompts:
    """Return a box for each object, on the plane where it is largest."""
    planes: dict[tuple[int, ...], dict[int, PromptSet]] = {}
    for label, (plane, box) in middle_boxes(volume.labels).items():
        planes.setdefault((plane,), {})[label] = PromptSet.from_arrays(box=box)
    return BatchPrompts(planes)


def throughput_row(predictor: Predictor, planes: int, *, repeats: int = 5, warm_up: int = 1) -> Row:
    """Time a batch with all its reading and writing, and its encoding and decoding alone."""
    image, labels = make_nuclei((1, SIDE, SIDE), count=8, seed=1, radii=RADII)
    rng = np.random.default_rng(0)
    stack = np.stack([np.clip(image[0] + rng.integers(0, 200, image[0].shape), 0, 65535)
                      for _ in range(planes)]).astype(np.uint16)  # fmt: skip
    boxes = middle_boxes(labels)
    objects = {label: PromptSet.from_arrays(box=box) for label, (_, box) in boxes.items()}
    ready = [ArrayPlane(plane_from_array(plane)) for plane in stack]
    drafts = tuple(Draft(label, (Turn(prompts),)) for label, prompts in objects.items())
    with tempfile.TemporaryDirectory() as folder:
        import zarr

        source = Path(folder) / "stack.zarr"
        zarr.create_array(source, data=stack, chunks=(1, SIDE, SIDE))

        def alone() -> None:
            for plane in ready:
                answer(Question(plane, drafts), predictor, EmbeddingCache(0), BatchControl())

        def whole() -> None:
            for _ in segment(
                source, Repeated(objects), predictor, output=Path(folder) / "labels.zarr",
                overwrite=True,
            ):  # fmt: skip
                pass

        times = take_turns(whole, alone, repeats=repeats, warm_up=warm_up)
    ours, model = (one.each_of(planes) for one in times)
    return Row(
        f"a plane of a batch of {planes}, {len(objects)} boxes each, zarr to OME-Zarr, "
        f"*{predictor.config.name}*",
        ours, model, "encode and decode alone",
    )  # fmt: skip


def memory_over(predictor: Any, planes: int) -> tuple[int, int]:
    """Return the resident bytes after a tenth of a batch of small planes, and after all of it."""
    import psutil

    process, sizes = psutil.Process(), []
    image = np.broadcast_to(make_nuclei((1, 64, 64), count=3, seed=1)[0][0], (planes, 64, 64))
    box = {1: PromptSet(box=(10, 10, 50, 50))}
    with tempfile.TemporaryDirectory() as folder:
        for result in segment(image, Repeated(box), predictor, output=Path(folder) / "a.zarr"):
            if result.position[0] in (planes // 10, planes - 1):
                sizes.append(process.memory_info().rss)
    return sizes[0], sizes[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--planes", type=int, default=20)
    parser.add_argument("--memory", type=int, metavar="PLANES", help="and memory over so many")
    arguments = parser.parse_args()
    predictor = load_predictor(arguments.model, arguments.device)
    for row in batch_rows(predictor, planes=arguments.planes):
        print(row.line, flush=True)
    if arguments.memory:
        first, last = memory_over(predictor, arguments.memory)
        print(f"resident after {arguments.memory // 10} planes {first / 1e6:.0f} MB, "
              f"after {arguments.memory} {last / 1e6:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
