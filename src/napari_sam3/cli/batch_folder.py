"""Batches of several images by one command: a folder, a pattern or several files."""

from __future__ import annotations

import argparse
import glob
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3.errors import PromptError, Sam3Error

from .common import DONE, INTERRUPTED, SOME_FAILED, print_json

if TYPE_CHECKING:
    from napari_sam3.batch import Mode, PlaneResult, Progress
    from napari_sam3.images.listing import ImageList

__all__ = ["ImageOutcome", "exit_code", "holds_many", "print_interrupted", "run_folder"]

MODES = "automatic", "similar"
_ModeOf = Callable[[None, argparse.Namespace], "Mode"]
_SegmentImage = Callable[[argparse.Namespace, "Mode", str], "ImageOutcome"]


@dataclass(frozen=True)
class ImageOutcome:
    """Outcome for one image: its labels, finished planes, those that failed, and units."""

    output: Path
    planes: int
    failures: tuple[PlaneResult, ...]
    progress: Progress
    interrupted: bool

    def __str__(self) -> str:
        """Return one line for the terminal."""
        done = self.progress
        skipped = f", {done.skipped} of {done.total} units already done" if done.skipped else ""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        planes = f"{self.planes} plane{'s' * (self.planes != 1)}"
        return f"labels: {self.output} ({planes}{skipped}{failed})"

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        done, failures = self.progress, self.failures
        return {
            "labels": str(self.output),
            "planes": self.planes,
            "units": {"done": done.done, "total": done.total, "skipped": done.skipped},
            "failed": [{"plane": list(one.position), "error": str(one.error)} for one in failures],
            "interrupted": self.interrupted,
        }


def holds_many(paths: Sequence[Path]) -> bool:
    """Whether the paths are several images, a folder of images, or a pattern."""
    from napari_sam3.images.scenes import is_zarr

    path = paths[0]
    if len(paths) > 1 or (path.is_dir() and not is_zarr(path)):
        return True
    return glob.has_magic(str(path)) and not path.exists()


def run_folder(
    arguments: argparse.Namespace, mode_of: _ModeOf, segment_image: _SegmentImage
) -> int:
    """Run the batch of each image with one model, and report; return the exit code.

    An image that fails is named at the end, and the others are segmented.
    """
    from napari_sam3.images.listing import list_images
    from napari_sam3.labels.beside_images import ENDINGS

    _check(arguments)
    images = list_images(arguments.image[0] if len(arguments.image) == 1 else arguments.image)
    outcomes: dict[str, ImageOutcome | Sam3Error] = {}
    total, interrupted = len(images.items), False
    with _started(arguments, images, mode_of) as (mode, dask):
        for number, item in enumerate(images.items, 1):
            output = images.labels_path(item, ENDINGS["ome-zarr"], arguments.output)
            own = {"image": item.path, "output": output, "dask": dask}
            one = argparse.Namespace(**{**vars(arguments), **own})
            try:
                outcome = segment_image(one, mode, f"image {number} of {total}, ")
            except Sam3Error as error:
                outcomes[item.key] = error
                continue
            except KeyboardInterrupt:  # between two batches
                interrupted = True
                break
            outcomes[item.key] = outcome
            if interrupted := outcome.interrupted:
                break
            if not arguments.json:
                print(outcome, flush=True)
    return _report(arguments, total, outcomes, interrupted)


def print_interrupted(arguments: argparse.Namespace, done: str, them: str) -> None:
    """Print how much is done after an interrupt, and how to resume."""
    again = f"the same command{' without --overwrite' * arguments.overwrite} resumes {them}"
    print(f"{arguments.prog}: interrupted after {done}; {again}", file=sys.stderr)


def exit_code(interrupted: bool, failures: Collection[Any]) -> int:
    """Return the exit code of a batch."""
    return INTERRUPTED if interrupted else SOME_FAILED if failures else DONE


def _check(arguments: argparse.Namespace) -> None:
    """Refuse modes and outputs of a single image."""
    from napari_sam3.images.listing import IMAGE_SUFFIXES
    from napari_sam3.images.scenes import is_zarr

    images = " ".join(map(str, arguments.image[:3])) + " ..." * (len(arguments.image) > 3)
    if arguments.mode not in MODES:
        raise PromptError(
            f"the mode {arguments.mode} takes its prompts from a table, which is of one image, not "
            f"of several: {images}. Expected --mode {' or '.join(MODES)}. Choose one of them, or "
            "give the images one at a time."
        )
    for name, command in (("table", "export"), ("link", "link")):
        if (value := getattr(arguments, name)) is not None:
            raise PromptError(
                f"--{name} names one output for several images: {value}. Expected it with one "
                f"image only. Leave it out, and use `napari-sam3 {command}` for each of the labels."
            )
    output = arguments.output
    if is_zarr(output) or output.is_file() or output.suffix.lower() in IMAGE_SUFFIXES:
        raise PromptError(
            f"--output names one label image for several images: {str(output)!r}. Expected a "
            "folder. Choose one, such as 'labels'."
        )


@contextmanager
def _started(
    arguments: argparse.Namespace, images: ImageList, mode_of: _ModeOf
) -> Iterator[tuple[Mode, str | None]]:
    """Load the model or start the local processes, once for all images."""
    from napari_sam3.inference.models import ModelHandle

    model, dask = ModelHandle.of(arguments.model, arguments.device), arguments.dask
    if dask is None:
        model()  # a model that cannot be loaded is one error, not one for each image
    mode = mode_of(None, arguments)
    if dask is None or not dask.startswith("local:"):
        yield mode, dask
        return
    from napari_sam3.batch.run_dask import check_dask, connect
    from napari_sam3.batch.sources import ImageSource

    check_dask(dask, ImageSource.of(images.items[0].path), model, arguments.output)
    with connect(dask) as client:
        yield mode, client.scheduler.address


def _report(
    arguments: argparse.Namespace,
    total: int,
    outcomes: dict[str, ImageOutcome | Sam3Error],
    interrupted: bool,
) -> int:
    begun = {key: one for key, one in outcomes.items() if isinstance(one, ImageOutcome)}
    errors = {key: str(one) for key, one in outcomes.items() if isinstance(one, Sam3Error)}
    planes = {f"{key}: {one.plane}": str(one.error) for key in begun for one in begun[key].failures}
    for name, error in {**errors, **planes}.items():
        print(f"{arguments.prog}: {name}: {' '.join(error.split())}", file=sys.stderr)
    done = sum(not one.failures and not one.interrupted for one in begun.values())
    if interrupted:
        print_interrupted(arguments, f"{done} of {total} images", "them")
    if arguments.json:
        summary = {
            "images": [{"image": key, **one.to_json()} for key, one in begun.items()],
            "failed": [{"image": key, "error": error} for key, error in errors.items()],
        }
        print_json({**summary, "interrupted": interrupted})
    elif not interrupted:
        print(f"{done} of {total} images done")
    return exit_code(interrupted, {**errors, **planes})
