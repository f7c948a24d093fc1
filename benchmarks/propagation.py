"""How well objects are followed through real stacks and time-lapses, from a box each.

`python -m benchmarks.propagation --data FOLDER` prints a row for each set: mean IoU of whole
volumes with the truth, of the prompted planes alone, and planes too many and too few per object.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Fact, Skipped
from benchmarks.stacks import NUCLEI, Stack, read_stacks
from benchmarks.volumes import middle_boxes
from napari_sam3.core.planes import find_limits, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.propagate import ObjectPrompt, propagate
from sam3 import Predictor, load_predictor
from sam3.model.memory import Memory
from sam3.weights.load import embedded_weights, inspect
from sam3.weights.memory import load_memory

__all__ = ["Followed", "measure", "propagation_rows", "table"]

Volume = npt.NDArray[np.bool_]
Way = Callable[[Stack, Predictor], Mapping[int, Volume]]


@dataclass(frozen=True)
class Followed:
    """How well an object was followed.

    Attributes
    ----------
    domain : str
        Set of its stack.
    iou, prompted_iou : float
        Of its whole volume, and of the plane with the box alone.
    beyond, missed : int
        Planes with a mask beyond the object's first and last, and planes of it without one.
    """

    domain: str
    iou: float
    prompted_iou: float
    beyond: int
    missed: int


def boxes(stack: Stack) -> dict[int, tuple[int, tuple[float, ...]]]:
    """Return for each object that is measured its largest plane and the box there."""
    found = middle_boxes(stack.labels)
    return {label: found[label] for label in stack.objects}


def propagated(memory: Memory | None, rules: EndRules | None = None) -> Way:
    """Follow objects by :func:`propagate`, with a memory or without."""

    def way(stack: Stack, predictor: Predictor) -> Mapping[int, Volume]:
        found = {label: np.zeros(stack.labels.shape, bool) for label in stack.objects}
        ends = rules or EndRules.calibrated(in_time=stack.in_time)
        for one in propagate(
            planes_of(stack), prompts_of(stack), predictor, memory=memory, rules=ends
        ):
            found[one.object_id][one.plane] = one.mask.to_array(stack.labels.shape[1:])
        return found

    return way


def planes_of(stack: Stack) -> list[PlaneImage]:
    """Return the planes as the viewer shows them: one contrast for all."""
    limits = find_limits(stack.image)
    return [ArrayPlane(plane_from_array(plane, contrast=limits)) for plane in stack.image]


def prompts_of(stack: Stack) -> list[ObjectPrompt]:
    """Return a box for each object, on its largest plane."""
    return [
        ObjectPrompt(plane, label, PromptSet.from_arrays(box=box))
        for label, (plane, box) in boxes(stack).items()
    ]


def measure(stack: Stack, found: Mapping[int, Volume]) -> Iterator[Followed]:
    """Compare objects with the truth."""
    for label, (prompted, _) in boxes(stack).items():
        truth, ours = stack.labels == label, found[label]
        there, masked = np.flatnonzero(truth.any((1, 2))), np.flatnonzero(ours.any((1, 2)))
        outside = (masked < there[0]) | (masked > there[-1])
        yield Followed(
            stack.domain,
            overlap(ours, truth),
            overlap(ours[prompted], truth[prompted]),
            int(outside.sum()),
            len(np.setdiff1d(there, masked)),
        )


def overlap(a: Volume, b: Volume) -> float:
    """Intersection over union."""
    return int(np.count_nonzero(a & b)) / max(1, int(np.count_nonzero(a | b)))


def table(ways: Mapping[str, Sequence[Followed]]) -> Iterator[str]:
    """Write a row for each way and set, for nuclei, and for all objects."""
    yield (
        "| way | objects | | volume IoU | on the prompted plane | planes too many | planes missed |"
    )
    yield "|---|---|---|---|---|---|---|"
    for way, everything in ways.items():
        domains = sorted({one.domain for one in everything})
        groups: dict[str, list[Followed]] = {
            name: [one for one in everything if one.domain == name] for name in domains
        }
        nuclei = [one for one in everything if one.domain in NUCLEI]
        rows = [*groups.items(), ("nuclei", nuclei), ("all objects", list(everything))]
        yield from (_row(way, name, part) for name, part in rows if part)
        means = [float(np.mean([one.iou for one in part])) for part in groups.values()]
        yield f"| {way} | mean of the sets | | {np.mean(means):.3f} | | | |"


def _row(way: str, name: str, part: Sequence[Followed]) -> str:
    cells = [
        f"{np.mean([getattr(one, what) for one in part]):.3f}"
        for what in ("iou", "prompted_iou", "beyond", "missed")
    ]
    return f"| {way} | {name} | {len(part)} | " + " | ".join(cells) + " |"


WAYS: dict[str, Way] = {
    "mask by mask": propagated(None),
}


def follow_all(
    stacks: Iterable[Stack], predictor: Predictor, ways: Mapping[str, Way]
) -> dict[str, list[Followed]]:
    """Follow the objects of all stacks in all ways."""
    found: dict[str, list[Followed]] = {name: [] for name in ways}
    for stack in stacks:
        for name, way in ways.items():
            start = time.perf_counter()
            rows = list(measure(stack, way(stack, predictor)))
            found[name] += rows
            seconds = (time.perf_counter() - start) / len(stack.image)
            mean = np.mean([one.iou for one in rows])
            print(f"{stack.name}, {name}: {len(rows)} objects, IoU {mean:.3f}, "
                  f"{seconds:.2f} s a plane", flush=True)  # fmt: skip
    return found


def propagation_rows(predictor: Predictor, folder: Path | None) -> Iterator[Fact | Skipped]:
    """Measure propagation beside the way before, for the report; `folder` holds stacks."""
    what = "objects propagated through real stacks from a box each"
    if folder is None:
        yield Skipped(what, "no stacks were given; see --stacks")
        return
    found = follow_all(read_stacks(folder, "validation", 30), predictor, WAYS)
    for way, everything in found.items():
        nuclei = [one for one in everything if one.domain in NUCLEI]
        for name, part in (("nuclei", nuclei), ("all objects", everything)):
            iou, beyond = (
                float(np.mean([getattr(one, figure) for one in part]))
                for figure in ("iou", "beyond")
            )
            yield Fact(
                f"{what}: {name}, *{way}*",
                f"mean volume IoU {iou:.3f}",
                f"{beyond:.2f} planes too many, {len(part)} objects",
            )


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with npz of stacks")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--side", choices=("train", "validation"), default="validation")
    parser.add_argument("--objects", type=int, default=30, help="at most so many of each stack")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--ways", nargs="+", type=int, help="only these, by number from 0")
    arguments = parser.parse_args(argv)
    predictor = load_predictor(arguments.model, device="cpu")
    every = dict(WAYS)
    path = embedded_weights() if arguments.model == "tiny" else arguments.model
    if inspect(path).config.memory is not None:
        every["propagate, with memory"] = propagated(load_memory(path))
    stacks = read_stacks(arguments.data, arguments.side, arguments.objects)
    chosen = (one for one in stacks if not arguments.sets or one.domain in arguments.sets)
    ways = {
        name: way
        for number, (name, way) in enumerate(every.items())
        if not arguments.ways or number in arguments.ways
    }
    found = follow_all(chosen, predictor, ways)
    print(f"\nWeights `{predictor.fingerprint}`.\n")
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
