"""Learning of an adapter from a user's labels, for weights that stay unchanged.

The trunk gets changes of low rank; the decoder and the prompt encoder are trained as a whole. Every
fifth object is held out; clicks on these objects select the best state and stop the training.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3.adapters import Adapter, apply_adapter, chain, is_adapter, read_adapter, save_adapter
from sam3.errors import TrainingError
from sam3.predictor import Predictor, load_predictor
from sam3.training.augment import split_components
from sam3.training.data import CropSampler
from sam3.training.prompts import central_point, random_point
from sam3.training.recorded import starts_in
from sam3.training.sources import Sample
from sam3.training.student import Student

__all__ = ["LearnProgress", "LearnSettings", "Learnt", "learn"]

_HELD_OUT_EVERY = 5
_MOST_MEASURED = 40  # held-out objects
_MORE_CLICKS = 2  # on each of them, apart from its middle: few objects would say little
_LEAST_AREA, _LARGEST_SHARE = 30, 0.8
_FIELD = 0.5  # side of the field of a click, as a fraction of the model's input
_SPACE = 1.5  # side of a field, as a multiple of the object's longer side


@dataclass(frozen=True, kw_only=True)
class LearnSettings:
    """Settings of a training.

    Parameters
    ----------
    minutes : float
        Maximum duration.
    steps : int, optional
        Maximum number of steps.
    patience : int
        Number of measurements without improvement after which training stops.
    measurements : int
        Number of measurements.
    rank : int
        Rank of the changes to the trunk's linear layers.
    learning_rate : float
        Learning rate of these changes; all other parameters have a fifth of it.
    images, prompts, crop : int
        Number of crops per step, of objects per crop, and side of the crops in px of the model's
        input.
    seed : int
        Seed of all random choices.
    """

    minutes: float = 5.0
    steps: int | None = None
    patience: int = 4
    measurements: int = 12
    rank: int = 8
    learning_rate: float = 2e-3
    images: int = 4
    prompts: int = 4
    crop: int = 224
    seed: int = 0


@dataclass(frozen=True)
class LearnProgress:
    """Progress of a training.

    Attributes
    ----------
    share : float
        Fraction of the maximum duration, 0 to 1.
    steps : int
        Number of steps done.
    before, best : float
        Mean IoU of clicks on the held-out objects, before training and at best.
    """

    share: float
    steps: int
    before: float
    best: float


@dataclass(frozen=True)
class Learnt:
    """Outcome of a training.

    Attributes
    ----------
    path : Path or None
        The adapter; None if clicks did not improve.
    before, after : float
        Mean IoU of one click on each held-out object.
    objects, kept_aside : int
        Number of training objects and of held-out objects.
    steps : int
    seconds : float
    """

    path: Path | None
    before: float
    after: float
    objects: int
    kept_aside: int
    steps: int
    seconds: float


def learn(
    samples: Sequence[Sample],
    out: Path,
    *,
    base: str | Path = "tiny",
    device: str = "auto",
    settings: LearnSettings | None = None,
    progress: Callable[[LearnProgress], bool] | None = None,
) -> Learnt:
    """Learn an adapter from labelled images and write it to a file.

    Parameters
    ----------
    samples : sequence of Sample
        Images as the model sees them, with labels. Unlabelled pixels may be anything.
    out : Path
        File of the adapter, written once at the end.
    base : str or Path
        Base weights, ``"tiny"`` or a file; or an adapter, which is then learnt further.
    device : str
        Device of the training.
    settings : LearnSettings, optional
    progress : callable, optional
        Called after every step; if it returns False, training stops and the best state is kept.

    Returns
    -------
    Learnt

    Raises
    ------
    TrainingError
        If there are fewer than two objects, or the adapter cannot be written.
    """
    settings, started = settings or LearnSettings(), time.monotonic()
    if not os.access(out.parent, os.W_OK):
        raise _write_error(out, "the folder is missing or read-only")
    training, held_out, counts = _hold_out(samples, settings.seed)
    predictor = load_predictor(base, device=device, precision="float32")
    evaluation = _Evaluation(predictor, held_out)
    before = best = evaluation.score(None)
    student = Student(
        predictor.model, rank=settings.rank, rate=settings.learning_rate, seed=settings.seed
    )
    best_adapter: Adapter | None = None
    sampler = CropSampler(training, [], seed=settings.seed)
    earlier = read_adapter(base) if base != "tiny" and is_adapter(base) else None
    name, place = ("tiny", "") if base == "tiny" else (Path(base).name, os.path.abspath(base))
    worse = step = measured = 0
    share, proceed = 0.0, True
    while worse < settings.patience and share < 1 and proceed:
        batch = sampler.batch(
            step, images=settings.images, prompts=settings.prompts, crop=settings.crop
        )
        student.step(batch.to(predictor.device), step, share)
        step += 1
        passed = (time.monotonic() - started) / (60 * settings.minutes)
        share = min(1.0, max(passed, step / settings.steps if settings.steps else 0.0))
        proceed = progress is None or progress(LearnProgress(share, step, before, best))
        if int(share * settings.measurements) > measured or not proceed:
            measured = int(share * settings.measurements)
            adapter = student.adapter(name, predictor.fingerprint)
            score = evaluation.score(adapter)
            worse = 0 if score > best else worse + 1
            if score > best:
                best, best_adapter = score, adapter
    seconds = time.monotonic() - started
    outcome = Learnt(out if best_adapter else None, before, best, *counts, step, seconds)
    if best_adapter is not None:
        about = _card(outcome, samples, settings)
        learnt = replace(best_adapter, about=about, place=place)
        _write(learnt if earlier is None else chain(earlier, learnt), out)
    return outcome


def _hold_out(
    samples: Sequence[Sample], seed: int
) -> tuple[list[Sample], list[tuple[Sample, int]], tuple[int, int]]:
    """Split objects into training and held-out ones, and remove the labels of the latter."""
    for sample in samples:
        if sample.labels.shape != sample.image.shape[:2]:
            raise TrainingError(
                f"the labels of {sample.name} have the shape {sample.labels.shape}. Expected "
                f"{sample.image.shape[:2]}, as the image has. Give the labels of that image."
            )
    samples = [_by_component(sample) for sample in samples]
    objects = []
    for index, sample in enumerate(samples):
        areas = np.bincount(sample.labels.ravel())
        areas[0] = 0
        usable = (areas >= _LEAST_AREA) & (areas <= _LARGEST_SHARE * sample.labels.size)
        objects += [(index, int(number)) for number in np.flatnonzero(usable)]
    if len(objects) < 2:
        raise TrainingError(
            f"too few objects to learn from: {len(objects)}. Expected at least 2, better 20, of at "
            f"least {_LEAST_AREA} px each and smaller than the image. Label more objects."
        )
    order = np.random.default_rng(seed).permutation(len(objects))
    chosen = {objects[i] for i in order[: max(1, len(objects) // _HELD_OUT_EVERY)]}
    held_out = [(samples[index], number) for index, number in sorted(chosen)]
    training = []
    for index, sample in enumerate(samples):
        numbers = [number for sample_index, number in chosen if sample_index == index]
        labels = np.where(np.isin(sample.labels, numbers), 0, sample.labels)
        if labels.any():
            training.append(replace(sample, labels=labels))
    return training, held_out, (len(objects) - len(chosen), len(chosen))


def _by_component(sample: Sample) -> Sample:
    """Give every component of the labels its own id; clicks go to the one they begin on."""
    labels = split_components(sample.labels.astype(np.int32))
    clicks = {}
    for number, made in sample.clicks.items():
        if starts_in(made, sample.labels == number):
            column, row = np.rint(made[0, :2]).astype(int)
            clicks[int(labels[row, column])] = made
    return replace(sample, labels=labels, complete=False, clicks=clicks)


class _Evaluation:
    """Clicks on held-out objects, with the predictor that the product uses."""

    def __init__(self, predictor: Predictor, held_out: Sequence[tuple[Sample, int]]) -> None:
        self._predictor = predictor
        step = max(1, len(held_out) // _MOST_MEASURED)
        self._fields = [self._field(sample, number) for sample, number in held_out[::step]]

    def score(self, adapter: Adapter | None) -> float:
        """Return the mean IoU of single clicks on the objects, with or without an adapter."""
        predictor = self._predictor
        if adapter is not None:
            model = copy.deepcopy(predictor.model)
            apply_adapter(model, predictor.fingerprint, adapter)
            predictor = Predictor(model, predictor.device, "float32", "in training")
        scores: list[float] = []
        for image, mask, first in self._fields:
            features = predictor.encode(image)
            rng = np.random.default_rng(len(scores))
            for click in (first, *(random_point(mask, rng) for _ in range(_MORE_CLICKS))):
                prediction = predictor.predict(features, [click], [1])
                predicted = prediction.masks[int(prediction.scores.argmax())]
                scores.append((predicted & mask).sum() / (predicted | mask).sum())
        return float(np.mean(scores))

    def _field(
        self, sample: Sample, number: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        """Crop the field of a click, enlarged if the object is large; the user's own, if known."""
        mask = sample.labels == number
        rows, columns = np.nonzero(mask)
        spans = [(int(axis.min()), int(axis.max()) + 1) for axis in (rows, columns)]
        longest = max(stop - start for start, stop in spans)
        usual = _FIELD * self._predictor.config.resolution
        side = int(max(usual, _SPACE * longest))
        field = []
        for (start, stop), length in zip(spans, mask.shape, strict=True):
            first = min(max(0, (start + stop - side) // 2), max(0, length - side))
            field.append(slice(first, first + side))
        made = sample.clicks.get(number)
        click = central_point(mask) if made is None else made[0, :2]
        moved = np.asarray(click - [field[1].start, field[0].start], np.float32)
        return np.ascontiguousarray(sample.image[tuple(field)]), mask[tuple(field)], moved


def _card(outcome: Learnt, samples: Sequence[Sample], settings: LearnSettings) -> dict[str, object]:
    return {
        "click_iou_before": round(outcome.before, 4),
        "click_iou_after": round(outcome.after, 4),
        "objects": outcome.objects,
        "kept_aside": outcome.kept_aside,
        "images": len(samples),
        "steps": outcome.steps,
        "rank": settings.rank,
        "licence": "that of the labels and images it was learnt from, and of the base weights",
    }


def _write(adapter: Adapter, out: Path) -> None:
    try:
        save_adapter(adapter, out)
    except OSError as error:
        raise _write_error(out, error.strerror or str(error)) from error


def _write_error(out: Path, reason: str) -> TrainingError:
    return TrainingError(
        f"the adapter {out} cannot be written: {reason}. Expected a writable folder with a few "
        "megabytes of free space. Choose another one."
    )
