"""Find all objects of held-out real images, beside blobs as seeds, and Otsu with a watershed.

`python -m benchmarks.automatic --data real.npz` takes the way of the product: the plane as the
widget makes it, seeds, masks, suppression, labels without overlaps. Settings are the default
ones, which were chosen on the training images. Beside the model's own proposals, blobs of the
plane are taken as seeds in the same run, as they are with weights that propose nothing.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from benchmarks.baselines import grey_plane, otsu_watershed
from benchmarks.measure import Row, Skipped, Timing
from benchmarks.model_card import Undisturbed, chosen_samples, product_plane
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.automatic.find import AutomaticSettings, find_objects, paint_order
from napari_sam3.inference.automatic.settings import SeedKind
from napari_sam3.inference.cache import EmbeddingCache
from sam3 import Predictor, load_predictor
from sam3.training.data import Sample, load_real

__all__ = ["Matched", "automatic_rows", "label_plane", "main", "match_labels"]

WHAT = "find all objects of a held-out image"
HIT = 0.5
SEEDS: tuple[SeedKind, SeedKind] = ("auto", "blobs")
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Matched:
    """How labels fit the truth, each object matched with one at most.

    Parameters
    ----------
    hits : int
        Pairs of an IoU above 0.5.
    true, found : int
        Objects in the truth, and in the labels.
    iou : float
        Sum of the IoU of all pairs.
    """

    hits: int
    true: int
    found: int
    iou: float

    @property
    def f1(self) -> float:
        """F1 at an IoU of 0.5; 1 if there is nothing and nothing was found."""
        total = self.true + self.found
        return 2 * self.hits / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean over the true objects of the IoU with what is matched with them, 0 for nothing."""
        return self.iou / self.true if self.true else 1.0


@dataclass(frozen=True)
class _Measured:
    group: str
    ours: Matched
    blobs: Matched
    otsu: Matched
    seconds: float
    blob_seconds: float


def match_labels(truth: Labels, labels: Labels) -> Matched:
    """Match the objects of two label images (H x W) so that the sum of their IoU is largest."""
    true_ids, a = np.unique(truth, return_inverse=True)
    found_ids, b = np.unique(labels, return_inverse=True)
    joint = np.bincount(
        a.ravel() * len(found_ids) + b.ravel(), minlength=len(true_ids) * len(found_ids)
    ).reshape(len(true_ids), len(found_ids))
    union = joint.sum(1)[:, None] + joint.sum(0)[None] - joint
    iou = (joint / union)[true_ids != 0][:, found_ids != 0]
    pairs = iou[linear_sum_assignment(iou, maximize=True)]
    hits = int(np.count_nonzero(pairs > HIT))
    return Matched(hits, len(iou), len(found_ids[found_ids != 0]), float(pairs.sum()))


def automatic_rows(
    predictor: Predictor, data: Path | None = None, *, every: int = 1
) -> Iterator[Row | Skipped]:
    """Measure on every n-th held-out image; or say why that cannot be done."""
    if data is None or not data.exists():
        yield Skipped(WHAT, "the real images (dsb2018_train.npz) are not at hand; see --data")
        return
    measured = list(_measure_all(chosen_samples(load_real(data)[1], every), predictor))
    yield _row(measured)


def main(argv: list[str] | None = None) -> None:
    """Measure and print a table by kind of image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="npz of images, or a folder")
    parser.add_argument("--model", default="tiny", help="weights file, or tiny")
    parser.add_argument("--every", type=int, default=1, help="take every n-th validation image")
    parser.add_argument("--images", type=int, default=0, help="at most so many images of a set")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    arguments = parser.parse_args(argv)
    if not arguments.data.exists():
        print(f"skipped: there is no {arguments.data}; name the npz of real images with --data")
        return
    validation = load_real(arguments.data)[1]
    samples = chosen_samples(validation[arguments.first :], arguments.every, arguments.images)
    measured = []
    for one in _measure_all(samples, load_predictor(arguments.model)):
        print(
            f"{one.group}: F1 {one.ours.f1:.3f} in {one.seconds:.1f} s, blobs "
            f"{one.blobs.f1:.3f} in {one.blob_seconds:.1f} s, Otsu {one.otsu.f1:.3f}",
            flush=True,
        )
        measured.append(one)
    print("\n".join(_report(measured)))


def _measure_all(
    samples: Sequence[tuple[str, Sample]], predictor: Predictor
) -> Iterator[_Measured]:
    for name, sample in samples:
        pixels = product_plane(sample)
        matched, seconds = [], []
        for seeds in SEEDS:
            start = time.perf_counter()
            labels = label_plane(pixels, predictor, AutomaticSettings(seeds=seeds))
            seconds.append(time.perf_counter() - start)
            matched.append(match_labels(sample.labels, labels))
        otsu = match_labels(sample.labels, otsu_watershed(grey_plane(pixels)))
        yield _Measured(name, matched[0], matched[1], otsu, seconds[0], seconds[1])


def label_plane(
    pixels: npt.NDArray[np.uint8], predictor: Predictor, settings: AutomaticSettings
) -> npt.NDArray[np.int32]:
    """Find all objects of a plane (H x W x 3) and paint them as the product does."""
    plane = ArrayPlane(pixels)
    found = find_objects(plane, predictor, EmbeddingCache(), Undisturbed(), settings)
    assert found is not None, "nobody cancels it"
    labels = np.zeros(plane.shape, np.int32)
    for number, one in enumerate(paint_order(found, settings), start=1):
        labels[one.mask.region][one.mask.crop] = number
    return labels


def _row(measured: Sequence[_Measured]) -> Row:
    ours, blobs, otsu = _by_way(measured)
    text = (
        f"F1 at IoU 0.5 {_mean_f1(ours):.3f}, mean matched IoU {_mean_iou(ours):.3f}; Otsu and "
        f"watershed {_mean_f1(otsu):.3f} and {_mean_iou(otsu):.3f}; blobs as seeds "
        f"{_mean_f1(blobs):.3f} and {_mean_iou(blobs):.3f} in"
    )
    times, blob_times = (
        Timing(tuple(getattr(one, name) for one in measured))
        for name in ("seconds", "blob_seconds")
    )
    return Row(WHAT, times, blob_times, text)


def _report(measured: Sequence[_Measured]) -> Iterator[str]:
    """Write the table: means over images, all of them and by kind."""
    groups: dict[str, list[_Measured]] = defaultdict(list)
    for one in measured:
        groups[one.group].append(one)
    yield (
        "| images | | objects | F1 at IoU 0.5 | blobs | Otsu + watershed | mean matched IoU | "
        "blobs | Otsu + watershed | time / that of blobs |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name, part in (("all", list(measured)), *sorted(groups.items())):
        ways = _by_way(part)
        figures = [f"{mean(way):.3f}" for mean in (_mean_f1, _mean_iou) for way in ways]
        ratio = sum(one.seconds for one in part) / sum(one.blob_seconds for one in part)
        objects = sum(one.true for one in ways[0])
        yield f"| {name} | {len(part)} | {objects} | {' | '.join(figures)} | {ratio:.2f} |"


def _by_way(measured: Sequence[_Measured]) -> tuple[list[Matched], list[Matched], list[Matched]]:
    return (
        [one.ours for one in measured],
        [one.blobs for one in measured],
        [one.otsu for one in measured],
    )


def _mean_f1(matched: Iterable[Matched]) -> float:
    return float(np.mean([one.f1 for one in matched]))


def _mean_iou(matched: Iterable[Matched]) -> float:
    return float(np.mean([one.mean_iou for one in matched]))


if __name__ == "__main__":
    main()
