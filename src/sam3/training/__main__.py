"""Command line of the training, ``python -m sam3.training --out DIR``."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import torch

from sam3.errors import Sam3Error
from sam3.training.train import Phase, Settings, train


def _parser() -> argparse.ArgumentParser:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m sam3.training",
        description="Train the embedded model. An interrupted run resumes where it stopped.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and curve")
    parser.add_argument(
        "--data",
        type=Path,
        help="npz file of real images, or a folder of them; without it, scenes only",
    )
    parser.add_argument("--stop-after", type=int, help="step to stop at; the run can be resumed")
    parser.add_argument("--init", type=Path, help="weights to start from")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--cooldown", type=float, default=defaults.cooldown)
    parser.add_argument("--scenes", type=int, default=defaults.scenes, help="number of scenes")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="SET", help="sets to exclude from training"
    )
    parser.add_argument(
        "--phase",
        action="append",
        metavar="UNTIL,IMAGES,PROMPTS,CROP",
        help="a phase of the training, e.g. 0.6,32,4,112; repeat for each crop size",
    )
    parser.add_argument("--warmup", type=int, default=defaults.warmup, help="steps")
    parser.add_argument("--bfloat16", action="store_true", help="autocast to bfloat16")
    parser.add_argument(
        "--processes", type=int, default=defaults.processes, help="single-threaded processes"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="torch threads; all cores by default")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare batches")
    parser.add_argument("--save-every", type=int, default=200, metavar="STEPS")
    parser.add_argument("--ema", type=float, default=defaults.ema, help="decay of the average")
    parser.add_argument("--no-validation", action="store_true", help="log training metrics only")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = Settings(
        steps=arguments.steps,
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
        cooldown=arguments.cooldown,
        warmup=arguments.warmup,
        ema=arguments.ema,
        scenes=arguments.scenes,
        bfloat16=arguments.bfloat16,
        processes=arguments.processes,
        leave_out=tuple(arguments.leave_out),
    )
    if arguments.phase:
        phases = [text.split(",") for text in arguments.phase]
        settings = replace(
            settings, phases=tuple(Phase(float(u), int(i), int(p), int(c)) for u, i, p, c in phases)
        )
    try:
        weights = train(
            settings,
            arguments.out,
            data=arguments.data,
            init=arguments.init,
            device=arguments.device,
            workers=arguments.workers,
            validation_batches=0 if arguments.no_validation else 6,
            stop_after=arguments.stop_after,
            save_every=arguments.save_every,
            validate_every=2 * arguments.save_every,
        )
    except Sam3Error as error:
        print(f"sam3.training: {error}", file=sys.stderr)
        return 2
    print(weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
