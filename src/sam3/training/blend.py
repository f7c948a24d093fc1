"""Interpolation between the weights before and after a training, chosen on validation images.

``python -m sam3.training.blend BEFORE AFTER --data DATA --out WEIGHTS``: a model trained on new
images forgets some of its old ones. Weights on the line between the two often perform well on both
(Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sam3.errors import Sam3Error
from sam3.model.click_model import ClickModel
from sam3.training.data import Batch, CropSampler
from sam3.training.model import TrainingModel
from sam3.training.sources import Sample, load_real
from sam3.weights import load as checkpoint

__all__ = ["blend", "main", "measure_sets", "validation_batches"]

_ENCODER = ("trunk", "neck")
#: Figures to compare, in the order in which they are printed.
FIGURES = ("best_scored", "best_of_three", "corrected_best_scored", "single")


def blend(
    before: ClickModel, after: ClickModel, share: float, decoder_share: float | None = None
) -> ClickModel:
    """Interpolate between two models.

    Parameters
    ----------
    before, after : ClickModel
        Models of one configuration.
    share : float
        0 for `before`, 1 for `after`; larger values extrapolate.
    decoder_share : float, optional
        For all but the image encoder, if different: prompts are forgotten sooner than images.
    """
    result = copy.deepcopy(before)
    theirs = after.state_dict()
    state = before.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            rest = share if decoder_share is None else decoder_share
            part = share if name.startswith(_ENCODER) else rest
            state[name] = torch.lerp(value, theirs[name].to(value.dtype), part)
    result.load_state_dict(state)
    return result


def validation_batches(
    samples: Sequence[Sample], *, batches: int = 3, crop: int = 224, seed: int = 1
) -> dict[str, list[Batch]]:
    """Sample the same crops of every set on each call.

    Parameters
    ----------
    samples : sequence of Sample
        Validation images.
    batches : int
        Number of batches of eight crops and four prompts per set.
    crop : int
        Side of the crops.
    seed : int
        Seed of all random choices.
    """
    sets: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        sets[sample.domain].append(sample)
    return {
        name: [
            CropSampler(members, [], seed=seed).batch(i, images=8, prompts=4, crop=crop)
            for i in range(batches)
        ]
        for name, members in sets.items()
    }


def measure_sets(model: ClickModel, sets: dict[str, list[Batch]]) -> dict[str, list[float]]:
    """Measure the mean IoUs of `FIGURES` on the crops of each set."""
    network = TrainingModel(model).eval()
    measured = {}
    for name, batches in sets.items():
        rows = []
        for number, batch in enumerate(batches):
            generator = torch.Generator().manual_seed(number)
            with torch.inference_mode():
                _, figures = network(batch, generator, corrections=1)
            rows.append([float(figures[figure]) for figure in FIGURES])
        measured[name] = np.mean(rows, axis=0).tolist()
    return measured


def main(argv: list[str] | None = None) -> int:
    """Measure interpolations and write the best; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sam3.training.blend", description=__doc__)
    parser.add_argument("before", type=Path, help="weights before the training")
    parser.add_argument("after", type=Path, help="weights after it")
    parser.add_argument("--data", type=Path, required=True, help="npz file or folder of them")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--decoder-share", type=float, help="for all but the image encoder")
    parser.add_argument("--batches", type=int, default=3, help="of eight crops, per set")
    parser.add_argument("--out", type=Path, help="file for the best weights")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    try:
        before, after = (checkpoint.load(path) for path in (arguments.before, arguments.after))
        sets = validation_batches(load_real(arguments.data)[1], batches=arguments.batches)
        decoder, scores = arguments.decoder_share, {}
        for share in [0.0, *arguments.shares]:
            measured = measure_sets(blend(before, after, share, decoder if share else 0.0), sets)
            scores[share] = float(np.mean(list(measured.values()), axis=0)[:3].mean())
            print("\n".join(table(share, measured)), flush=True)
        best = max(scores, key=lambda share: scores[share])
        print(f"best: {best:g}")
        if arguments.out:
            metadata = {"blend": f"{best:g}", "licence": "BSD-3-Clause"}
            model = blend(before, after, best, decoder if best else 0.0)
            # 16 bits, as in the embedded weights
            checkpoint.save(model, arguments.out, dtype=torch.float16, metadata=metadata)
    except Sam3Error as error:
        print(f"sam3.training.blend: {error}", file=sys.stderr)
        return 2
    return 0


def table(share: float, measured: dict[str, list[float]]) -> list[str]:
    """Format the figures of one interpolation as lines of text."""
    rows = {**measured, "mean": np.mean(list(measured.values()), axis=0).tolist()}
    lines = [f"share {share:g}: " + ", ".join(FIGURES)]
    return lines + [
        f"  {name:20s} " + " ".join(f"{v:.3f}" for v in row) for name, row in rows.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
