"""Training of the proposal head on the features of a frozen model.

Crops are encoded once and cached on disk, so that each step computes the head alone.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from sam3.config import ProposalConfig
from sam3.errors import Sam3Error
from sam3.model.proposal_head import ProposalHead, Proposals
from sam3.predictor import Predictor, load_predictor
from sam3.training.data import CropSampler, load_real, scene_pool
from sam3.training.run_state import RunState
from sam3.weights import load as checkpoint
from sam3.weights.memory import load_memory
from sam3.weights.proposals import load_proposal_head

__all__ = ["ProposalSettings", "Targets", "proposal_loss", "targets_of", "train_proposals"]

_LOG = logging.getLogger(__name__)
_SHARD = 40  # crops
_SHARDS_AT_ONCE = 12  # shuffled together; more would not fit into memory
_EMPTY_EVERY = 25  # one crop in so many holds no object
_RING = 9  # cells around an object of a partly labelled image that count as labelled
_INSIDE = 0.25  # score of a cell above which its box contributes to the loss
_SCORE_WEIGHT, _LOG_WEIGHT = 4.0, 0.2
_EMA = 0.995
_WARMUP = 50  # steps


@dataclass(frozen=True, kw_only=True)
class ProposalSettings:
    """Settings that determine the outcome of a run.

    Parameters
    ----------
    crops : int
        Number of encoded crops.
    steps, batch : int
        Number of optimizer steps, and crops per step.
    learning_rate, weight_decay : float
        Of AdamW; the rate follows a cosine.
    seed : int
        Seed of crops, weights and order.
    real_fraction : float
        Fraction of crops from real images, if there are any.
    scenes : int
        Number of scenes in the pool.
    """

    crops: int = 6400
    steps: int = 4000
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0
    real_fraction: float = 0.8
    scenes: int = 700


class Targets(NamedTuple):
    """Targets of the head for B crops.

    Attributes
    ----------
    scores : Tensor, shape (B, n, n)
        Distance of each cell to the edge of its object, relative to the largest in the object.
    sides : Tensor, shape (B, 4, n, n)
        Distances to the sides of the object's box, in px of the crop.
    known : Tensor, shape (B, n, n)
        1 where the labels tell whether there is an object, else 0.
    """

    scores: Tensor
    sides: Tensor
    known: Tensor


def targets_of(labels: NDArray[np.integer], cells: int, *, complete: bool) -> Targets:
    """Compute the targets of a crop.

    Parameters
    ----------
    labels : ndarray of int, shape (S, S)
        Objects of the crop, 0 for background. Objects at the border extend beyond it.
    cells : int
        Number n of cells along a side.
    complete : bool
        Whether all objects are labelled; otherwise only cells close to a labelled one are known.
    """
    side = len(labels)
    centres = (np.arange(cells) + 0.5) * side / cells
    scores, boxes = np.zeros(labels.shape, np.float32), np.zeros((4, *labels.shape), np.float32)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        inside = labels[box] == number
        # Zeros around the object, but its own border pixels where it touches the crop's border.
        pads = [(int(axis.start > 0), int(axis.stop < side)) for axis in box]
        padded = np.pad(inside, pads)
        if any(not pad for pair in pads for pad in pair):
            padded = np.pad(padded, [(1 - a, 1 - b) for a, b in pads], mode="edge")
        depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
        scores[box][inside] = (depth / depth.max())[inside]
        rows, columns = box
        corners = np.array([columns.start, rows.start, columns.stop, rows.stop], np.float32)
        boxes[(slice(None), *box)][:, inside] = corners[:, None]
    index = centres.astype(np.int64)
    score, corners = scores[np.ix_(index, index)], boxes[:, index][:, :, index]
    x, y = np.meshgrid(centres, centres)
    sides = np.stack([x - corners[0], y - corners[1], corners[2] - x, corners[3] - y]).clip(0.5)
    objects = torch.from_numpy(labels[np.ix_(index, index)] > 0).float()
    known = F.max_pool2d(objects[None], _RING, 1, _RING // 2)[0]
    return Targets(
        torch.from_numpy(score),
        torch.from_numpy(sides.astype(np.float32)),
        torch.ones_like(known) if complete else known,
    )


def proposal_loss(predicted: Proposals, targets: Targets) -> tuple[Tensor, float]:
    """Return the loss of proposals and the mean IoU of their boxes.

    The loss of the scores is the cross-entropy minus its minimum. The loss of the boxes of inner
    cells is one minus the IoU, plus a fraction of the error of the logarithmic sides.
    """
    scores, sides, known = targets
    minimum = F.binary_cross_entropy(scores, scores, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(predicted.scores, scores, reduction="none")
    score_loss = _weighted(entropy - minimum, known)
    weights = scores * (scores > _INSIDE)
    smaller = torch.minimum(predicted.sides, sides)
    intersection = (smaller[:, 0] + smaller[:, 2]) * (smaller[:, 1] + smaller[:, 3])
    iou = intersection / (_area(predicted.sides) + _area(sides) - intersection)
    log_error = (predicted.sides.log() - sides.log()).abs().mean(1)
    box_loss = _weighted(1 - iou + _LOG_WEIGHT * log_error, weights)
    return (_SCORE_WEIGHT * score_loss + box_loss).mean(), float(
        _weighted(iou.detach(), weights).mean()
    )


def _area(sides: Tensor) -> Tensor:
    return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Average over each crop with weights."""
    return (values * weights).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp(min=1)


def train_proposals(
    settings: ProposalSettings,
    out: Path,
    *,
    weights: str | Path = "tiny",
    data: Path | None = None,
    stop_after: int | None = None,
    save_every: int = 100,
) -> Path:
    """Train a head for the features of `weights`, or resume a run.

    Parameters
    ----------
    settings : ProposalSettings
    out : Path
        Folder of the encoded crops, the state and ``weights.safetensors``, which holds `weights`
        and the head.
    weights : str or Path
        Weights whose features the head is trained on. The training continues with the head that
        they hold, if any.
    data : Path, optional
        As for :func:`sam3.training.sources.load_real`.
    stop_after : int, optional
        Step to stop at; the run can be resumed.
    save_every : int
        Number of steps between two saves.

    Returns
    -------
    Path
        The weights file.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictor = load_predictor(weights, device="cpu")
    file = checkpoint.weights_file(weights)
    config = predictor.config
    head = load_proposal_head(file)
    if head is None:
        config = replace(config, proposals=ProposalConfig())
        torch.manual_seed(settings.seed)
        head = ProposalHead(config)
    head.requires_grad_(True)
    shards = list(_encoded(settings, out, predictor, data))
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    run = RunState(head, optimizer, out)
    _train(settings, run, shards, stop_after, save_every)
    path = out / "weights.safetensors"
    checkpoint.save(
        predictor.model,
        path,
        dtype=torch.float16,
        metadata={"licence": "BSD-3-Clause"},
        memory=load_memory(file) if config.memory else None,
        proposals=run.average,
    )
    return path


def _train(
    settings: ProposalSettings,
    run: RunState[ProposalHead],
    shards: list[Path],
    stop_after: int | None,
    save_every: int,
) -> None:
    """Train a head from the step where its run is."""
    last = min(settings.steps, stop_after or settings.steps)
    steps = range(run.step, last)
    for step, batch in zip(steps, _batches(shards, settings, run.step), strict=False):
        rate = settings.learning_rate * (0.5 + 0.5 * math.cos(math.pi * step / settings.steps))
        loss, iou = proposal_loss(run.network(*batch[:3]), Targets(*batch[3:]))
        run.descend(loss, rate * min(1.0, (step + 1) / _WARMUP), _EMA)
        if run.step % save_every == 0 or run.step == last:
            _LOG.info("step %d: loss %.4f, IoU of boxes %.3f", run.step, loss.detach(), iou)
            run.save()


_PARTS = ("embedding", "middle", "fine", *Targets._fields)


def _encoded(
    settings: ProposalSettings, out: Path, predictor: Predictor, data: Path | None
) -> Iterator[Path]:
    """Encode crops into shards of float16, unless they exist, and yield the shards."""
    folder = out / "features"
    folder.mkdir(exist_ok=True)
    sampler: CropSampler | None = None
    for number in range(math.ceil(settings.crops / _SHARD)):
        path = folder / f"{number:05d}.safetensors"
        if not path.exists():
            if sampler is None:
                scenes = scene_pool(settings.scenes, settings.seed, out / "cache")
                sampler = CropSampler(
                    load_real(data)[0],
                    scenes,
                    seed=settings.seed,
                    real_fraction=settings.real_fraction,
                )
            crops = range(number * _SHARD, (number + 1) * _SHARD)
            rows = [_encode_crop(sampler, crop, predictor) for crop in crops]
            tensors = {
                name: torch.stack([row[i] for row in rows]).half() for i, name in enumerate(_PARTS)
            }
            partial = path.with_suffix(".part")
            save_file(tensors, partial)
            partial.replace(path)
            _LOG.info("encoded %d crops", crops.stop)
        yield path


def _encode_crop(sampler: CropSampler, step: int, predictor: Predictor) -> tuple[Tensor, ...]:
    side, cells = predictor.config.resolution, predictor.config.mask_size
    if step % _EMPTY_EVERY:
        batch = sampler.batch(step, images=1, prompts=1, crop=side)
        images, labels, complete = batch.images, batch.labels[0].numpy(), bool(batch.complete[0])
    else:
        images, complete = _empty_crop(step, side), True
        labels = np.zeros((side, side), np.int32)
    with torch.inference_mode():
        encoded = predictor.model.encode(images.float() / 127.5 - 1)
    return (*(tensor[0] for tensor in encoded), *targets_of(labels, cells, complete=complete))


def _empty_crop(seed: int, side: int) -> Tensor:
    """Generate a crop (1, 3, side, side) without objects: uneven light and noise of any grain."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side)), rng.choice([0, 0.7, 1.5, 3]))
    noise *= rng.uniform(0, 30) / max(noise.std(), 1e-6)
    slope = np.add.outer(*(np.linspace(-1, 1, side) * rng.normal(0, 15) for _ in range(2)))
    grey = np.clip(rng.uniform(5, 250) + slope + noise, 0, 255).astype(np.uint8)
    return torch.from_numpy(grey).expand(1, 3, -1, -1)


def _batches(
    shards: list[Path], settings: ProposalSettings, first: int
) -> Iterator[tuple[Tensor, ...]]:
    """Yield shuffled batches without end; resuming at a step yields the same batches."""
    group: list[dict[str, Tensor]] = []
    loaded: tuple[int, int] | None = None
    count = math.ceil(len(shards) / _SHARDS_AT_ONCE)
    each = _SHARD * min(_SHARDS_AT_ONCE, len(shards)) // settings.batch
    for step in range(first, 1 << 40):
        shard_group, position = divmod(step, each)
        epoch, part = divmod(shard_group, count)
        rng = np.random.default_rng((settings.seed, epoch))
        order = rng.permutation(len(shards))
        if loaded != (epoch, part):
            chosen = [
                order[i % len(order)]
                for i in range(part * _SHARDS_AT_ONCE, (part + 1) * _SHARDS_AT_ONCE)
            ]
            group = [load_file(shards[i]) for i in dict.fromkeys(chosen)]
            loaded = epoch, part
        crops = np.random.default_rng((settings.seed, epoch, part)).permutation(
            len(group) * _SHARD
        )[position * settings.batch : (position + 1) * settings.batch]
        picked = [divmod(int(crop), _SHARD) for crop in crops]
        yield tuple(
            torch.stack([group[shard][name][row] for shard, row in picked]).float()
            for name in _PARTS
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    defaults = ProposalSettings()
    parser = argparse.ArgumentParser(prog="python -m sam3.training.proposals", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for features and weights")
    parser.add_argument("--weights", default="tiny", help="weights whose features are used")
    parser.add_argument("--data", type=Path, help="npz file of real images, or a folder of them")
    parser.add_argument("--crops", type=int, default=defaults.crops)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = ProposalSettings(
        crops=arguments.crops,
        steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
    )
    try:
        print(
            train_proposals(settings, arguments.out, weights=arguments.weights, data=arguments.data)
        )
    except Sam3Error as error:
        print(f"sam3.training.proposals: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
