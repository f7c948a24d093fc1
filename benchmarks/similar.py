"""Find similar by three examples, beside finding everything, on held-out real images.

`python -m benchmarks.similar --data dsb2018_train.npz --domains domains` measures the embedded
model on images of one kind of object, and on images into which objects of another kind were
pasted. The examples are drawn at random from the truth. What overlaps them is measured like the
rest in "all"; in "others" the examples and what was found on them are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.automatic import Matched, match_labels
from benchmarks.mixed_images import SMALLEST_AREA, mixed_images
from benchmarks.model_card import Undisturbed, product_plane
from napari_sam3.core.masks import PlaneMask
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.automatic.find import (
    AutomaticSettings,
    Found,
    find_objects,
    paint_order,
)
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.similar.examples import Example, learn_concept
from napari_sam3.inference.similar.search import DEFAULT_THRESHOLD, find_similar, shown
from sam3 import Predictor, load_predictor
from sam3.training.data import Sample, load_real

__all__ = ["Case", "Measured", "cases", "main", "measure", "true_objects"]

EXAMPLES = 3
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Case:
    """A plane, the labels (H x W) of the objects that are wanted, and those of the other kind."""

    name: str
    plane: ArrayPlane
    wanted: Labels
    other: Labels | None = None


@dataclass(frozen=True)
class Measured:
    """How a case came out."""

    name: str
    everything: Matched
    similar: Matched
    others: Matched | None
    seconds: tuple[float, float]


def cases(
    samples: Sequence[Sample], domains: Sequence[Sample], mixed: int, seed: int = 1
) -> Iterator[Case]:
    """Give the images as they are, then the mixed ones, each for either kind of object."""
    for sample in samples:
        yield Case(sample.group, ArrayPlane(product_plane(sample)), sample.labels)
    for made in mixed_images(domains, mixed, seed):
        plane = ArrayPlane(product_plane(Sample(made.image, made.own, made.name, made.name)))
        yield Case(f"mixed: {made.name}", plane, made.own, made.pasted)
        yield Case(f"mixed: {made.name} (pasted)", plane, made.pasted, made.own)


def true_objects(labels: Labels) -> list[PlaneMask]:
    """Return the labelled objects that are large enough to be shown as an example."""
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            mask = PlaneMask.from_array(labels[box] == number, box[0].start, box[1].start)
            if mask.area >= SMALLEST_AREA:
                found.append(mask)
    return found


def measure(case: Case, predictor: Predictor, seed: int) -> Measured | None:
    """Measure both ways on one case; None if it has no object."""
    objects = true_objects(case.wanted)
    if not objects:
        return None
    rng = np.random.default_rng(seed)
    chosen = [objects[i] for i in rng.permutation(len(objects))[:EXAMPLES]]
    plane, control = case.plane, Undisturbed()
    start = time.perf_counter()
    everything = find_objects(plane, predictor, EmbeddingCache(), control)
    middle = time.perf_counter()
    cache = EmbeddingCache()
    concept = learn_concept([Example(m) for m in chosen], plane, predictor, cache, control)
    assert concept is not None, "nobody cancels it"
    found = find_similar(plane, predictor, cache, control, concept)
    end = time.perf_counter()
    assert everything is not None, "nobody cancels it"
    assert found is not None, "nobody cancels it"
    labels = _labels(shown(found, DEFAULT_THRESHOLD), plane.shape)
    return Measured(
        case.name,
        match_labels(case.wanted, _labels(everything, plane.shape)),
        match_labels(case.wanted, labels),
        _match_others(case.wanted, labels, chosen),
        (middle - start, end - middle),
    )


def main(argv: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz of real images")
    parser.add_argument("--domains", type=Path, required=True, help="folder of other sets")
    parser.add_argument("--model", default="tiny", help="weights file, or tiny")
    parser.add_argument("--every", type=int, default=1, help="take every n-th validation image")
    parser.add_argument("--mixed", type=int, default=24, help="number of mixed images")
    arguments = parser.parse_args(argv)
    samples = load_real(arguments.data)[1][:: arguments.every]
    predictor = load_predictor(arguments.model)
    rows: list[Measured] = []
    for seed, case in enumerate(cases(samples, load_real(arguments.domains)[1], arguments.mixed)):
        row = measure(case, predictor, seed)
        if row is not None:
            rows.append(row)
            print(f"{row.name}: {row.everything.f1:.3f} -> {row.similar.f1:.3f}", flush=True)
    mixed = [row for row in rows if row.name.startswith("mixed")]
    print("| images | | everything F1 | similar F1 | of the others | s | s |\n" + "|---" * 7 + "|")
    for name, part in (("as they are", [r for r in rows if r not in mixed]), ("mixed", mixed)):
        if part:
            print(_line(name, part))


def _line(name: str, part: Sequence[Measured]) -> str:
    others = [row.others for row in part if row.others is not None]
    times = np.mean([row.seconds for row in part], axis=0)
    return (
        f"| {name} | {len(part)} | {_f1(row.everything for row in part):.3f} | "
        f"{_f1(row.similar for row in part):.3f} | {_f1(others):.3f} | {times[0]:.1f} | "
        f"{times[1]:.1f} |"
    )


def _labels(found: Iterable[Found], shape: tuple[int, int]) -> npt.NDArray[np.int32]:
    labels = np.zeros(shape, np.int32)
    for number, one in enumerate(paint_order(found, AutomaticSettings(min_area=1)), start=1):
        labels[one.mask.region][one.mask.crop] = number
    return labels


def _match_others(
    truth: Labels, labels: npt.NDArray[np.int32], examples: Sequence[PlaneMask]
) -> Matched | None:
    """Match without the examples, and without what lies on them for the most part."""
    shown_there = np.zeros(truth.shape, bool)
    for one in examples:
        shown_there[one.region] |= one.crop
    rest = np.where(shown_there, 0, truth)
    if not rest.any():
        return None
    areas = np.bincount(labels.ravel())
    covered = np.bincount(labels[shown_there], minlength=len(areas))
    return match_labels(rest, np.where((covered > 0.5 * areas)[labels], 0, labels))


def _f1(matched: Iterable[Matched]) -> float:
    return float(np.mean([one.f1 for one in matched]))


if __name__ == "__main__":
    main()
