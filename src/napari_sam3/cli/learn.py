"""The command `napari-sam3 learn`."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.text import duration
from sam3.errors import ImageError, Sam3Error

from .common import (
    DONE,
    SOME_FAILED,
    ProgressLine,
    add_json_option,
    add_rgb_option,
    check_model_is_here,
    print_json,
    raw,
)

if TYPE_CHECKING:
    from sam3.training.learn import LearnProgress, Learnt
    from sam3.training.sources import Sample

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 learn cells.tif labels.tif -o mine.safetensors
  napari-sam3 learn a.tif a_labels.tif b.tif b_labels.tif -o mine.safetensors --minutes 10
  napari-sam3 segment new.tif --model mine.safetensors --point 120,80 -o labels.tif
      an adapter is used like a weights file

Ctrl-C stops it early and keeps the best result so far.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument(
        "files",
        metavar="IMAGE LABELS",
        type=Path,
        nargs="+",
        help="images, each followed by its labels; unlabelled pixels may be anything",
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="FILE", type=Path, help="adapter to write"
    )
    command.add_argument(
        "--minutes", type=float, default=5.0, help="maximum duration (default: %(default)s)"
    )
    command.add_argument(
        "--rank", type=int, default=8, help="rank of the adapter (default: %(default)s)"
    )
    add_rgb_option(command)
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Learn an adapter and report the improvement; return the exit code."""
    _check(arguments)
    files = arguments.files
    samples = [
        sample
        for image, labels in zip(files[::2], files[1::2], strict=True)
        for sample in _samples(image, labels, arguments.rgb)
    ]
    from sam3.training.learn import LearnSettings, learn

    line = ProgressLine()
    with _stop_on_interrupt() as stopped:

        def report(progress: LearnProgress) -> bool:
            line.show(_describe(progress), time.monotonic(), finished=progress.share >= 1)
            return not stopped.is_set()

        try:
            outcome = learn(
                samples,
                arguments.output,
                base=arguments.model,
                device=arguments.device,
                settings=LearnSettings(minutes=arguments.minutes, rank=arguments.rank),
                progress=report,
            )
        finally:
            line.end()
    return _report(outcome, as_json=arguments.json)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that do not fit before anything slow is done."""
    from napari_sam3.labels.output_files import check_place

    files = arguments.files
    if len(files) % 2:
        raise Sam3Error(
            f"{len(files)} files were given. Expected pairs: an image, then its labels. Add the "
            f"labels of {files[-1]}."
        )
    check_model_is_here(arguments.model)
    check_place(arguments.output)
    if arguments.output.suffix != ".safetensors":
        raise Sam3Error(
            f"invalid name of the adapter: {arguments.output}. Expected one that ends in "
            ".safetensors. Choose such a name."
        )
    if arguments.output.exists() and not arguments.overwrite:
        raise Sam3Error(
            f"{arguments.output} exists already. Expected a new file. Add --overwrite to replace "
            "it."
        )
    if not (arguments.minutes > 0 and arguments.rank > 0):
        raise Sam3Error(
            f"--minutes is {arguments.minutes:g} and --rank is {arguments.rank}. Expected numbers "
            "above 0. Choose larger ones."
        )


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Set an event on the first Ctrl-C, to stop early; a second one interrupts."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _samples(image_path: Path, labels_path: Path, rgb: bool | None) -> Iterator[Sample]:
    """Yield the labelled planes as the model sees them."""
    from napari_sam3.images.lazy import open_image
    from napari_sam3.images.open import plane_of
    from napari_sam3.labels.formats.label_files import open_label_file
    from napari_sam3.labels.formats.label_planes import check_labels, plane_positions, read_region
    from sam3.training.sources import Sample

    with (
        closing(open_image(image_path, rgb=rgb)) as image,
        closing(open_label_file(labels_path)) as opened,
    ):
        labels = opened.data[0] if opened.multiscale else opened.data
        check_labels(labels)
        if tuple(labels.shape) != tuple(image.shape):
            raise ImageError(
                f"the labels {labels_path} have the shape {tuple(labels.shape)}. Expected "
                f"{tuple(image.shape)}, as {image_path} has. Give the labels of that image."
            )
        for position in plane_positions(labels):
            marked = read_region(labels, position)
            if marked.any():
                numbered = np.unique(marked, return_inverse=True)[1].reshape(marked.shape) + 1
                numbered[marked == 0] = 0
                plane = image.rendered(plane_of(image, position))
                pixels = plane.region(slice(0, plane.shape[0]), slice(0, plane.shape[1]))
                pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*marked.shape, 3)))
                name = f"{image_path.name} {position}"
                yield Sample(pixels, numbered.astype(np.int32), name, "learnt", "learnt")


def _describe(progress: LearnProgress) -> str:
    return (
        f"{100 * progress.share:.0f} % of the time, {progress.steps} steps, clicks "
        f"{progress.before:.3f} -> {progress.best:.3f}"
    )


def _report(outcome: Learnt, *, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "output": outcome.path,
                "before": outcome.before,
                "after": outcome.after,
                "objects": outcome.objects,
                "kept_aside": outcome.kept_aside,
                "seconds": outcome.seconds,
            }
        )
    else:
        print(
            f"clicks on {outcome.kept_aside} held-out objects: IoU {outcome.before:.3f} before, "
            f"{outcome.after:.3f} after {outcome.steps} steps in {duration(outcome.seconds)} on "
            f"{outcome.objects} objects"
        )
        print(f"adapter: {outcome.path}" if outcome.path else "no improvement; nothing was written")
    return DONE if outcome.path else SOME_FAILED
