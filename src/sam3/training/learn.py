"""Learn from a person's own labels: an adapter for weights that stay as they are.

The trunk gets changes of low rank, the decoder and the prompt encoder are trained as a whole. Every
fifth object is kept aside; clicks on these decide which state is the best, and when to stop.
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

_KEPT_ASIDE = 5  # every fifth object
_MOST_ASKED = 40  # objects kept aside that are asked about
_LEAST_AREA, _LARGEST_SHARE = 30, 0.8
_CORRECTIONS = (0, 1, 0, 3, 0, 2)
_FIELD = 0.5  # side of the field of a click, as a share of the model's input
_SPACE = 1.5  # side of a field as a multiple of the object's longer side
_WARMUP = 10


@dataclass(frozen=True, kw_only=True)
class LearnSettings:
    """How long, and how, it is learnt.

    Parameters
    ----------
    minutes : float
        Longest time.
    patience : int
        It stops once so many measurements in a row were no better.
    seconds_between : float
        Between two measurements.
    rank : int
        Of the changes to the trunk's linear layers.
    learning_rate : float
        Of these; all other parameters get a fifth of it.
    images, prompts, crop : int
        Crops a step, objects a crop, and side of the crops in px of the model's input.
    seed : int
        Of everything drawn.
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
    """Where it stands.

    Attributes
    ----------
    share : float
        Share of the time that has passed, 0 to 1.
    steps : int
        Steps done.
    before, best : float
        Mean IoU of clicks on the objects kept aside, at first and at best.
    """

    share: float
    steps: int
    before: float
    best: float


@dataclass(frozen=True)
class Learnt:
    """What came of it.

    Attributes
    ----------
    path : Path or None
        The adapter; None where clicks did not get better.
    before, after : float
        Mean IoU of one click on the objects kept aside.
    objects, kept_aside : int
        Objects learnt from, and those kept aside.
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
    """Learn from labelled images, and write an adapter.

    Parameters
    ----------
    samples : sequence of Sample
        Images as the model is shown them, with labels. Unlabelled pixels may be anything.
    out : Path
        The adapter's file; written once, at the end.
    base : str or Path
        Weights that are built on, ``"tiny"`` or a file.
    device : str
        Where it is learnt.
    settings : LearnSettings, optional
    progress : callable, optional
        Told after every step; once it returns False, learning stops and the best is kept.

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
        raise _unwritten(out, "the folder is missing or read-only")
    learnt_from, asked, counts = _kept_aside(samples, settings.seed)
    predictor = load_predictor(base, device=device, precision="float32")
    judge = _Judge(predictor, asked)
    before = best = judge.score(None)
    student = _Student(predictor.model, settings)
    found: Adapter | None = None
    sampler = CropSampler(learnt_from, [], seed=settings.seed)
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
        go_on = progress is None or progress(LearnProgress(min(1.0, share), step, before, best))
        last = share >= 1 or not go_on
        if last or time.monotonic() - measured > settings.seconds_between:
            adapter = student.adapter(name, predictor.fingerprint)
            score = judge.score(adapter)
            worse = 0 if score > best else worse + 1
            if score > best:
                best, found = score, adapter
            measured = time.monotonic()
        if last:
            break
    seconds = time.monotonic() - started
    outcome = Learnt(out if found else None, before, best, *counts, step, seconds)
    if found is not None:
        _write(replace(found, about=_card(outcome, samples, settings)), out)
    return outcome


def _kept_aside(
    samples: Sequence[Sample], seed: int
) -> tuple[list[Sample], list[tuple[Sample, int]], tuple[int, int]]:
    """Divide objects into those learnt from and those kept aside, whose labels are taken away."""
    samples = [
        replace(one, labels=split_components(one.labels.astype(np.int32)), complete=False)
        for one in samples
    ]
    places = []
    for index, one in enumerate(samples):
        areas = np.bincount(one.labels.ravel())
        areas[0] = 0
        usable = (areas >= _LEAST_AREA) & (areas <= _LARGEST_SHARE * one.labels.size)
        places += [(index, int(number)) for number in np.flatnonzero(usable)]
    if len(places) < 2:
        raise TrainingError(
            f"{len(places)} objects can be learnt from. Expected 2 or more, and better 20, of at "
            f"least {_LEAST_AREA} px each and smaller than the image. Label more objects."
        )
    order = np.random.default_rng(seed).permutation(len(places))
    aside = {places[i] for i in order[: max(1, len(places) // _KEPT_ASIDE)]}
    asked = [(samples[index], number) for index, number in sorted(aside)]
    learnt_from = []
    for index, one in enumerate(samples):
        numbers = [number for at, number in aside if at == index]
        left = np.where(np.isin(one.labels, numbers), 0, one.labels)
        if left.any():
            learnt_from.append(replace(one, labels=left))
    return learnt_from, asked, (len(places) - len(aside), len(aside))


class _Judge:
    """Asks clicks on the objects kept aside, by the predictor that the product uses."""

    def __init__(self, predictor: Predictor, asked: Sequence[tuple[Sample, int]]) -> None:
        self._predictor = predictor
        step = max(1, len(asked) // _MOST_ASKED)
        self._fields = [self._field(sample, number) for sample, number in asked[::step]]

    def score(self, adapter: Adapter | None) -> float:
        """Return the mean IoU of one click each, with an adapter or without."""
        predictor = self._predictor
        if adapter is not None:
            model = copy.deepcopy(predictor.model)
            apply_adapter(model, predictor.fingerprint, adapter)
            predictor = Predictor(model, predictor.device, "float32", "being learnt")
        scores = []
        for image, mask in self._fields:
            found = predictor.predict(predictor.encode(image), [central_point(mask)], [1])
            answer = found.masks[int(found.scores.argmax())]
            scores.append((answer & mask).sum() / (answer | mask).sum())
        return float(np.mean(scores))

    def _field(self, sample: Sample, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Cut the field of a click: of the usual size, or larger where the object is."""
        mask = sample.labels == number
        rows, columns = np.nonzero(mask)
        spans = [(int(axis.min()), int(axis.max()) + 1) for axis in (rows, columns)]
        longest = max(stop - start for start, stop in spans)
        usual = _FIELD * self._predictor.config.resolution
        side = int(max(usual, _SPACE * longest))
        place = []
        for (start, stop), length in zip(spans, mask.shape, strict=True):
            first = min(max(0, (start + stop - side) // 2), max(0, length - side))
            place.append(slice(first, first + side))
        return np.ascontiguousarray(sample.image[tuple(place)]), mask[tuple(place)]


class _LowRank(nn.Module):
    """Adds to a weight (out, in) the product of two thin matrices; nothing at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, into = weight.shape
        rank = min(rank, out, into)
        self.up = nn.Parameter(torch.zeros(out, rank, device=weight.device))
        self.down = nn.Parameter(torch.randn(rank, into, device=weight.device) / into**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight."""
        return weight + self.up @ self.down

    def taken(self) -> tuple[Tensor, Tensor]:
        """Return both matrices as they are now."""
        return self.up.detach().clone(), self.down.detach().clone()


class _Student:
    """A copy of the model that learns."""

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
        """Learn from a batch."""
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
        """Return what has been learnt so far."""
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
        raise _unwritten(out, error.strerror or str(error)) from error


def _unwritten(out: Path, why: str) -> TrainingError:
    return TrainingError(
        f"the adapter {out} cannot be written ({why}). Expected a folder that can be written to, "
        "with a few megabytes free. Name another."
    )
