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
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sam3.adapters import Adapter, apply_adapter, save_adapter
from sam3.errors import TrainingError
from sam3.model.block import GridAttention, Mlp
from sam3.model.click_model import ClickModel
from sam3.predictor import Predictor, load_predictor
from sam3.training.augment import split_components
from sam3.training.data import Batch, CropSampler
from sam3.training.model import TrainingModel
from sam3.training.prompts import central_point
from sam3.training.sources import Sample

__all__ = ["LearnProgress", "LearnSettings", "Learnt", "learn"]

_HELD_OUT_EVERY = 5
_MOST_MEASURED = 40  # held-out objects
_LEAST_AREA, _LARGEST_SHARE = 30, 0.8
_CORRECTIONS = (0, 1, 0, 3, 0, 2)
_FIELD = 0.5  # side of the field of a click, as a fraction of the model's input
_SPACE = 1.5  # side of a field, as a multiple of the object's longer side
_WARMUP = 10


@dataclass(frozen=True, kw_only=True)
class LearnSettings:
    """Settings of a training.

    Parameters
    ----------
    minutes : float
        Maximum duration.
    patience : int
        Number of measurements without improvement after which training stops.
    seconds_between : float
        Time between two measurements.
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
    patience: int = 4
    seconds_between: float = 25.0
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
        Base weights, ``"tiny"`` or a file.
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
    student = _Student(predictor.model, settings)
    best_adapter: Adapter | None = None
    sampler = CropSampler(training, [], seed=settings.seed)
    name = "tiny" if base == "tiny" else Path(base).name
    worse = step = 0
    measured = time.monotonic()
    while worse < settings.patience:
        batch = sampler.batch(
            step, images=settings.images, prompts=settings.prompts, crop=settings.crop
        )
        student.step(batch.to(predictor.device), step)
        step += 1
        share = (time.monotonic() - started) / (60 * settings.minutes)
        proceed = progress is None or progress(LearnProgress(min(1.0, share), step, before, best))
        last = share >= 1 or not proceed
        if last or time.monotonic() - measured > settings.seconds_between:
            adapter = student.adapter(name, predictor.fingerprint)
            score = evaluation.score(adapter)
            worse = 0 if score > best else worse + 1
            if score > best:
                best, best_adapter = score, adapter
            measured = time.monotonic()
        if last:
            break
    seconds = time.monotonic() - started
    outcome = Learnt(out if best_adapter else None, before, best, *counts, step, seconds)
    if best_adapter is not None:
        _write(replace(best_adapter, about=_card(outcome, samples, settings)), out)
    return outcome


def _hold_out(
    samples: Sequence[Sample], seed: int
) -> tuple[list[Sample], list[tuple[Sample, int]], tuple[int, int]]:
    """Split objects into training and held-out ones, and remove the labels of the latter."""
    samples = [
        replace(s, labels=split_components(s.labels.astype(np.int32)), complete=False)
        for s in samples
    ]
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


class _Evaluation:
    """Clicks on held-out objects, with the predictor that the product uses."""

    def __init__(self, predictor: Predictor, held_out: Sequence[tuple[Sample, int]]) -> None:
        self._predictor = predictor
        step = max(1, len(held_out) // _MOST_MEASURED)
        self._fields = [self._field(sample, number) for sample, number in held_out[::step]]

    def score(self, adapter: Adapter | None) -> float:
        """Return the mean IoU of one click per object, with or without an adapter."""
        predictor = self._predictor
        if adapter is not None:
            model = copy.deepcopy(predictor.model)
            apply_adapter(model, predictor.fingerprint, adapter)
            predictor = Predictor(model, predictor.device, "float32", "in training")
        scores = []
        for image, mask in self._fields:
            prediction = predictor.predict(predictor.encode(image), [central_point(mask)], [1])
            predicted = prediction.masks[int(prediction.scores.argmax())]
            scores.append((predicted & mask).sum() / (predicted | mask).sum())
        return float(np.mean(scores))

    def _field(self, sample: Sample, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Crop the field of a click, enlarged if the object is large."""
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
        return np.ascontiguousarray(sample.image[tuple(field)]), mask[tuple(field)]


class _LowRank(nn.Module):
    """Add the product of two thin matrices, initially zero, to a weight (out, in)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        rank = min(rank, outputs, inputs)
        self.up = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))
        self.down = nn.Parameter(torch.randn(rank, inputs, device=weight.device) / inputs**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight + self.up @ self.down


class _Student:
    """A trainable copy of the model."""

    def __init__(self, model: ClickModel, settings: LearnSettings) -> None:
        torch.manual_seed(settings.seed)
        self._settings = settings
        self._model = copy.deepcopy(model)
        whole = [*self._model.mask_decoder.parameters(), *self._model.prompt_encoder.parameters()]
        self._whole = {n for n, p in self._model.named_parameters() if any(p is w for w in whole)}
        for parameter in whole:
            parameter.requires_grad_(True)
        self._low_rank: dict[str, _LowRank] = {}
        for name, part in list(self._model.trunk.named_modules()):
            if isinstance(part, GridAttention | Mlp):
                for child, linear in part.named_children():
                    if isinstance(linear, nn.Linear):
                        change = _LowRank(linear.weight, settings.rank)
                        parametrize.register_parametrization(linear, "weight", change)
                        self._low_rank[f"trunk.{name}.{child}.weight"] = change
        self._network = TrainingModel(self._model, dense_weight=0.0).to(whole[0].device).train()
        thin = [p for change in self._low_rank.values() for p in change.parameters()]
        rate = settings.learning_rate
        self._optimiser = torch.optim.AdamW(
            [{"params": thin, "lr": rate}, {"params": whole, "lr": rate / 5}], weight_decay=0.01
        )
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._parameters = [*thin, *whole]
        self._generator = torch.Generator(whole[0].device).manual_seed(settings.seed)

    def step(self, batch: Batch, number: int) -> None:
        """Train on a batch."""
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * min(1.0, (number + 1) / _WARMUP)
        corrections = _CORRECTIONS[number % len(_CORRECTIONS)]
        loss, _ = self._network(batch, self._generator, corrections=corrections)
        self._optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, 1.0)
        if torch.isfinite(norm):
            self._optimiser.step()

    def adapter(self, base: str, fingerprint: str) -> Adapter:
        """Return the current state as an adapter."""
        parameters = dict(self._model.named_parameters())
        return Adapter(
            base,
            fingerprint,
            {
                n: (c.up.detach().clone(), c.down.detach().clone())
                for n, c in self._low_rank.items()
            },
            {name: parameters[name].detach().clone() for name in self._whole},
        )


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
