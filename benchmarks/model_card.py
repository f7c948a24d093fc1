"""Measure the embedded model on held-out real images and write its card.

`python -m benchmarks.model_card --data real.npz` takes the way of the product: the plane as the
widget makes it, fields, escalation, the mask pasted back at the image's own resolution.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.baselines import flood_fill, grey_plane, otsu_in_box, seeded_watershed
from napari_sam3.core.drafts import Draft
from napari_sam3.core.planes import plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import ObjectPrediction, Question
from sam3 import Predictor, load_predictor
from sam3.training.data import Sample, load_real
from sam3.training.prompts import box_with_slack, central_point, next_click

__all__ = ["Undisturbed", "ask_product", "main", "mask_overlap", "objects_of", "product_plane"]

SMALLEST_AREA = 80
SLACK = 0.1
CORRECTIONS = 3
TOLERANCES = (0.02, 0.04, 0.08, 0.16)
Figures = dict[str, float]
Mask = npt.NDArray[np.bool_]


def main(argv: list[str] | None = None) -> None:
    """Measure and print, or write the measured part of the card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz of real images, or a folder")
    parser.add_argument("--model", default="tiny", help="weights file, or tiny")
    parser.add_argument("--before", type=Path, help="weights to compare with, on the same objects")
    parser.add_argument("--every", type=int, default=1, help="take every n-th validation image")
    parser.add_argument("--images", type=int, default=0, help="at most so many images of a set")
    parser.add_argument("--objects", type=int, default=0, help="at most so many objects an image")
    parser.add_argument("--sets", nargs="+", help="these sets alone")
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--card", type=Path, help="model card whose figures are to be replaced")
    arguments = parser.parse_args(argv)
    names = [arguments.model] if arguments.before is None else [arguments.before, arguments.model]
    predictors = [load_predictor(name, device="auto") for name in names]
    train, validation = load_real(arguments.data)
    tolerance = None if arguments.no_baselines else best_tolerance(train[::20])
    samples = chosen_samples(validation, arguments.every, arguments.images, arguments.sets)
    rows: dict[str, list[list[Figures]]] = defaultdict(lambda: [[] for _ in predictors])
    start = time.perf_counter()
    for column, sample in samples:
        for measured, predictor in zip(rows[column], predictors, strict=True):
            measured += measure_image(sample, predictor, arguments.objects, tolerance)
    table = "\n".join(report(rows, predictors, tolerance))
    print(table)
    print(f"\n{time.perf_counter() - start:.0f} s")
    if arguments.card:
        replace_figures(arguments.card, table)


def chosen_samples(
    samples: Sequence[Sample], every: int = 1, limit: int = 0, sets: Sequence[str] | None = None
) -> list[tuple[str, Sample]]:
    """Choose images of each set, spread evenly, with the name of what they are reported under.

    Parameters
    ----------
    samples : sequence of Sample
        Validation images.
    every : int
        Take every n-th image of a set.
    limit : int
        At most so many of them.
    sets : sequence of str, optional
        Take images of these alone.

    Returns
    -------
    list of (str, Sample)
        The name is the set, or the kind of image where there is one set only.
    """
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sets is None or sample.domain in sets:
            found[sample.domain].append(sample)
    chosen = []
    for domain, members in found.items():
        some = members[::every]
        count = min(limit or len(some), len(some))
        places = [index * len(some) // count for index in range(count)]
        chosen += [(domain if len(found) > 1 else some[i].group, some[i]) for i in places]
    return chosen


def objects_of(sample: Sample, limit: int) -> Iterator[Mask]:
    """Masks of the objects that count, spread evenly when there are more than the limit."""
    areas = np.bincount(sample.labels.ravel())
    ids = np.flatnonzero(areas >= SMALLEST_AREA)
    ids = ids[ids > 0]
    for instance in ids[:: max(1, len(ids) // limit)] if limit else ids:
        yield sample.labels == instance


def product_plane(sample: Sample) -> npt.NDArray[np.uint8]:
    """Return the plane as the product makes it: grey images have one channel there."""
    image = sample.image
    grey = (image == image[..., :1]).all()
    return plane_from_array(image[..., 0]) if grey else plane_from_array(image, rgb=True)


def measure_image(
    sample: Sample, predictor: Predictor, limit: int, tolerance: float | None
) -> list[Figures]:
    """IoU of every way to prompt, for every object of an image."""
    plane = product_plane(sample)
    grey = grey_plane(plane)
    cache = EmbeddingCache()
    rng = np.random.default_rng(0)
    rows = []
    for mask in objects_of(sample, limit):
        click = central_point(mask)
        box = drawable(box_with_slack(mask, rng, SLACK))
        first = ask_product(plane, PromptSet.from_arrays(click[None], [1]), predictor, cache)
        corrected = correct_product(plane, first, mask, predictor, cache)
        row = {
            "click": mask_overlap(first.mask.to_array(mask.shape), mask),
            "click, best of three": max(
                mask_overlap(c.mask.to_array(mask.shape), mask) for c in first.candidates
            ),
            "click, then one correction": corrected[0],
            "click, then three corrections": corrected[-1],
            "box": mask_overlap(
                ask_product(plane, PromptSet.from_arrays(box=box), predictor, cache).mask.to_array(
                    mask.shape
                ),
                mask,
            ),
        }
        if tolerance is not None:
            at = (float(click[0]), float(click[1]))
            row["flood fill at the click"] = mask_overlap(flood_fill(grey, at, tolerance), mask)
            row["seeded watershed at the click"] = mask_overlap(seeded_watershed(grey, at), mask)
            row["Otsu's threshold in the box"] = mask_overlap(otsu_in_box(grey, box), mask)
        rows.append(row)
    return rows


def correct_product(
    plane: npt.NDArray[np.uint8],
    first: ObjectPrediction,
    mask: Mask,
    predictor: Predictor,
    cache: EmbeddingCache,
) -> list[float]:
    """IoU after one, two and three clicks, each where the mask before was most wrong."""
    rng = np.random.default_rng(len(first.prompts.points))
    points, labels = [np.array(p, np.float32) for p in first.prompts.points], [1]
    found: list[float] = []
    last = first
    for _ in range(CORRECTIONS):
        point, label = next_click(last.mask.to_array(mask.shape), mask, rng)
        if label >= 0:
            points.append(point)
            labels.append(label)
            prompts = PromptSet.from_arrays(np.stack(points), labels)
            last = ask_product(plane, prompts, predictor, cache, last)
        found.append(mask_overlap(last.mask.to_array(mask.shape), mask))
    return found


def drawable(box: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Widen the box of a sliver to the 3 px that a hand can draw."""
    middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 1.5)
    x0, y0, x1, y1 = (float(value) for value in (*(middle - half), *(middle + half)))
    return x0, y0, x1, y1


def best_tolerance(samples: list[Sample]) -> float:
    """Tolerance of the flood fill that serves the training images best."""
    scores: dict[float, list[float]] = defaultdict(list)
    for sample in samples:
        grey = grey_plane(product_plane(sample))
        for mask in objects_of(sample, 10):
            x, y = central_point(mask)
            for tolerance in TOLERANCES:
                filled = flood_fill(grey, (float(x), float(y)), tolerance)
                scores[tolerance].append(mask_overlap(filled, mask))
    return max(scores, key=lambda tolerance: float(np.mean(scores[tolerance])))


def report(
    rows: Mapping[str, list[list[Figures]]],
    predictors: Sequence[Predictor],
    tolerance: float | None,
) -> Iterator[str]:
    """Write the table of mean IoU by set or kind of image; of two models as before and after."""
    versions = range(len(predictors))
    everything = [[row for parts in rows.values() for row in parts[i]] for i in versions]
    groups = sorted(rows, key=lambda group: -len(rows[group][0]))
    names = list(dict.fromkeys(name for part in everything for row in part for name in row))
    fingerprints = " → ".join(f"`{predictor.fingerprint}`" for predictor in predictors)
    yield f"Weights {fingerprints}, {len(everything[0])} objects."
    yield ""
    yield "| mean IoU | objects | " + " | ".join(names) + " |"
    yield "|---|---|" + "---|" * len(names)
    yield table_row(
        "all objects", len(everything[0]), [[mean(e, n) for e in everything] for n in names]
    )
    by_group = {g: [[mean(part, n) for part in rows[g]] for n in names] for g in groups}
    whole = [
        [mean_of([by_group[g][n][version] for g in groups]) for version in versions]
        for n in range(len(names))
    ]
    yield table_row("mean of the rows below", len(everything[0]), whole)
    for group in groups:
        yield table_row(group, len(rows[group][0]), by_group[group])
    if tolerance is not None:
        yield ""
        yield f"The flood fill's tolerance, {tolerance:g} of the range, suits the training images."


def mean(rows: Sequence[Figures], name: str) -> float:
    """Mean of a figure over the objects that have it, NaN if there are none."""
    return mean_of([row[name] for row in rows if name in row])


def mean_of(values: Sequence[float]) -> float:
    """Mean of the values that are numbers, NaN if there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def table_row(title: str, count: int, cells: Sequence[Sequence[float]]) -> str:
    """Write a row of the table; a cell holds one value of each model."""
    texts = [" → ".join("-" if np.isnan(v) else f"{v:.3f}" for v in cell) for cell in cells]
    return f"| {title} | {count} | " + " | ".join(texts) + " |"


def replace_figures(card: Path, table: str) -> None:
    """Put the table between the two marks of the card."""
    text = card.read_text()
    begin, end = "<!-- figures -->", "<!-- end of figures -->"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    card.write_text(f"{head}{begin}\n{table}\n{end}{tail}")


class Undisturbed:
    """A `Control` of which nobody wants anything."""

    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Hear of progress."""


def ask_product(
    plane: npt.NDArray[np.uint8],
    prompts: PromptSet,
    predictor: Predictor,
    cache: EmbeddingCache,
    previous: ObjectPrediction | None = None,
) -> ObjectPrediction:
    """Answer prompts for one object, of which there may be an answer already."""
    draft = (previous.draft if previous is not None else Draft(1)).asked(prompts)
    known = (previous,) if previous is not None else ()
    question = Question(ArrayPlane(plane), (draft,), known)
    found = answer(question, predictor, cache, Undisturbed())
    assert found is not None
    return found[0]


def mask_overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / max(1, union)


if __name__ == "__main__":
    main()
