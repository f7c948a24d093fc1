"""The command `napari-sam3 precompute`."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam3.core.text import duration

from .common import (
    DONE,
    INTERRUPTED,
    ProgressLine,
    add_json_option,
    add_rgb_option,
    agreed,
    contrast_limits,
    print_json,
    raw,
)

if TYPE_CHECKING:
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.images.lazy import LazyImage
    from napari_sam3.inference.precompute import Measured, Plan, PrecomputeProgress
    from sam3.predictor import Predictor

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 precompute stack.tif -o stack.store --all-planes
  napari-sam3 precompute slide.ome.zarr -o slide.store --region 20000,30000,24000,36000 --yes
  napari-sam3 precompute slide.ome.zarr -o slide.store --dry-run
      print the number of fields, the time and the size only

It may be interrupted at any time (Ctrl-C); the same command resumes it.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument(
        "image", metavar="IMAGE", type=Path, help="image file: TIFF, zarr, OME-Zarr and others"
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="STORE", type=Path, help="folder of the store"
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--plane",
        metavar="N[,N...]",
        type=lambda text: _integers(text, None, "whole numbers such as 7 or 0,7"),
        action="append",
        help="a plane of an image of more than two axes; may be given several times",
    )
    which.add_argument("--all-planes", action="store_true", help="all planes of the image")
    command.add_argument(
        "--region",
        metavar="R0,C0,R1,C1",
        type=lambda text: _integers(text, 4, "four whole numbers such as 0,0,2000,3000"),
        help="rows and columns of a part of each plane, with the end after the last pixel",
    )
    command.add_argument(
        "--level", type=int, help="pyramid level; by default the level at which clicks start"
    )
    command.add_argument(
        "--contrast",
        metavar="LOW,HIGH",
        type=contrast_limits,
        help="values shown to the model as black and white; by default as in the viewer",
    )
    command.add_argument("--yes", action="store_true", help="start without asking")
    command.add_argument("--dry-run", action="store_true", help="print the estimate only")
    add_rgb_option(command)
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the estimate, ask, and fill the store; return the exit code."""
    from napari_sam3.images.lazy import open_image
    from napari_sam3.labels.output_files import check_apart, check_place

    check_apart({"--output": arguments.output}, {"IMAGE": arguments.image})
    check_place(arguments.output)
    image = open_image(arguments.image, rgb=arguments.rgb)
    try:
        return _precompute(image, arguments)
    finally:
        image.close()


def _precompute(image: LazyImage, arguments: argparse.Namespace) -> int:
    from napari_sam3.inference.models import model_loader
    from napari_sam3.inference.precompute import measure, plan_fields

    planes = _planes(image, arguments)
    predictor = model_loader(arguments.model, arguments.device)()
    plan = plan_fields(
        image,
        planes,
        predictor.config,
        region=arguments.region,
        level=arguments.level,
        contrast=arguments.contrast,
    )
    measured = measure(plan, predictor)
    # The output is for machines, the estimate for users.
    stream = sys.stderr if arguments.json else sys.stdout
    print(_summary(plan, measured, arguments.output), flush=True, file=stream)
    if arguments.dry_run:
        if arguments.json:
            seconds, nbytes = plan.fields * measured.seconds, plan.fields * measured.nbytes
            print_json({"fields": plan.fields, "seconds": seconds, "bytes": nbytes})
        return DONE
    if not (arguments.yes or agreed("Proceed?")):
        print(f"{arguments.prog}: nothing was stored", file=sys.stderr)
        return DONE
    return _fill(plan, predictor, measured, arguments)


def _fill(
    plan: Plan, predictor: Predictor, measured: Measured, arguments: argparse.Namespace
) -> int:
    from napari_sam3.inference.precompute import fill
    from napari_sam3.inference.store.store import NO_LIMIT, EmbeddingStore

    # Without limit, since the store would otherwise evict its first fields for its last.
    store = EmbeddingStore(arguments.output, limit_bytes=NO_LIMIT)
    line = ProgressLine()
    last: PrecomputeProgress | None = None
    try:
        for last in fill(plan, predictor, store, measured):
            line.show(_describe(last), time.monotonic(), finished=last.done >= last.total)
    except KeyboardInterrupt:
        line.end()
        done = last.done if last else 0
        print(
            f"{arguments.prog}: interrupted after {done} of {plan.fields} fields; the same "
            "command resumes it",
            file=sys.stderr,
        )
        return INTERRUPTED
    finally:
        line.end()
    skipped = last.skipped if last else 0
    if arguments.json:
        print_json({"store": arguments.output, "fields": plan.fields, "already_there": skipped})
    else:
        print(f"store: {arguments.output} ({plan.fields} fields, {skipped} already there)")
    return DONE


def _describe(progress: PrecomputeProgress) -> str:
    left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
    return f"{progress.done} of {progress.total} fields{left}"


def _planes(image: LazyImage, arguments: argparse.Namespace) -> tuple[PlaneIndex, ...]:
    from napari_sam3.images.open import plane_of
    from napari_sam3.inference.precompute import all_planes

    everything = all_planes(image) if all(n == 1 for n in image.shape[:-2]) else ()
    if arguments.all_planes:
        return all_planes(image)
    if arguments.plane:
        return tuple(plane_of(image, position) for position in arguments.plane)
    return everything or (plane_of(image),)


def _summary(plan: Plan, measured: Measured, output: Path) -> str:
    folder = next(path for path in (output, *output.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    total = plan.fields * measured.nbytes
    text = (
        f"{plan.fields} fields at level {plan.grid.level}, planes: {len(plan.planes)}, about "
        f"{duration(plan.fields * measured.seconds)} and {total / 1e9:.2g} GB"
    )
    if total > free:
        text += f"; only {free / 1e9:.2g} GB are free on that disk"
    return text


def _integers(text: str, count: int | None, expected: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or count not in (None, len(numbers)):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be read. Expected {expected}. Correct it."
        )
    return numbers
