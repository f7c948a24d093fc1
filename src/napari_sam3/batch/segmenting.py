"""The entry point: from an image, a mode and a model to results, plane by plane."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.core.planes import ContrastLimits
from napari_sam3.images.lazy import LazyImage
from napari_sam3.images.open import plane_of
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.models import ModelHandle
from napari_sam3.records.schema import IDENTITY

from .modes import Mode, Placed, Propagate, Repeated
from .output import BatchFolder
from .progress import BatchControl
from .prompts import Position
from .results import BatchError, PlaneResult
from .run_local import run_here
from .sources import ImageSource
from .units import BatchJob, Stopped

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["all_positions", "segment"]


def all_positions(image: LazyImage) -> tuple[Position, ...]:
    """Return the positions of all planes of an image, with the last axis before rows fastest."""
    return tuple(itertools.product(*(range(length) for length in image.shape[:-2])))


def segment(
    image: Any,
    mode: Mode,
    model: str | os.PathLike[str] | Predictor | Callable[[], Predictor] | ModelHandle = "tiny",
    *,
    planes: Iterable[Sequence[int]] | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    rgb: bool | None = None,
    device: str = "auto",
    contrast: ContrastLimits | None = None,
    level: int | None = None,
    version: str | None = None,
    cache: EmbeddingCache | None = None,
    control: BatchControl | None = None,
    dask: str | None = None,
) -> Generator[PlaneResult, None, None]:
    """Segment planes of an image one by one.

    Reading, the model and writing overlap, and memory does not grow with the number of planes. To
    stop, close the generator, stop iterating, or use the control; with an output, the same call
    resumes the batch.

    Parameters
    ----------
    image : path, array or LazyImage
        A file or OME-Zarr; anything with ``shape``, ``dtype`` and indexing (numpy, dask, zarr),
        with rows and columns last, or 3 or 4 colours after them; or a `LazyImage`.
    mode : Placed, Repeated, Propagate, Automatic or Similar
        What to segment.
    model : str, path, Predictor or callable
        A name or weights file, a loaded model, or a function that loads one.
    planes : iterable of sequence of int, optional
        Positions on the axes before rows and columns; by default all planes. Prompts on other
        planes are ignored.
    output : path, optional
        OME-Zarr of labels to write. The folder ``<output>.batch`` next to it holds the manifest
        and the records.
    overwrite : bool
        Replace an existing output.
    rgb : bool, optional
        Whether the last axis of an array, or the samples of a file, are colours. By default as
        stated by the file or the names of axes. An array without names and with a last axis of
        length 4 or less is ambiguous and raises an error.
    device : str
        "auto", "cpu", "cuda" or "mps", for a model by name.
    contrast : tuple of float, optional
        Values shown to the model as black and white; by default determined as in the viewer, once
        for all planes. An image from a viewer (`napari_sam3.images.viewer_image`) has its own.
    level : int, optional
        Fixed pyramid level.
    version : {"0.4", "0.5"}, optional
        OME-Zarr version.
    cache : EmbeddingCache, optional
        Cached features, possibly with a store; not cleared.
    control : BatchControl, optional
        Cancels from another thread, and receives the progress.
    dask : str, optional
        ``local:N`` for N processes, or the address of a scheduler, such as ``tcp://host:8786``.
        Image and model must then be given by path, and an output is required.

    Yields
    ------
    PlaneResult
        Each plane after it was written, including those of an earlier run, with `skipped`. A plane
        that cannot be read has an `error`, and the batch continues.

    Raises
    ------
    BatchError
        If the output belongs to another batch, is in use, or cannot be written.
    sam3.errors.Sam3Error
        If image, prompts or model cannot be used.
    """
    source, models = ImageSource.of(image, rgb), ModelHandle.of(model, device)
    control = control or BatchControl()
    with ExitStack() as stack:
        stack.callback(source.close)
        opened = source.open()
        mode, positions = _positions(mode, _choose(opened, planes), opened)
        client = None
        if dask is None:
            about = models.describe()
        else:
            from .run_dask import check_dask, connect, describe_model

            check_dask(dask, source, models, output)
            client = stack.enter_context(connect(dask))
            try:
                about = describe_model(client, models, control)
            except Stopped:
                return
        question = _question(source, about, mode, positions, contrast, level)
        folder = BatchFolder(
            output, question, opened.shape, opened.axes, version=version, overwrite=overwrite
        )
        stack.callback(folder.close)
        target = None if output is None else Path(output).absolute()
        job = BatchJob(source, mode, models, folder.path.absolute(), target, contrast, level)
        if client is None:
            yield from run_here(job, positions, control, cache)
        else:
            from .run_dask import run_on_dask

            yield from run_on_dask(job, positions, control, client)
        if not control.cancelled:
            folder.finish(positions)


def _choose(image: LazyImage, planes: Iterable[Sequence[int]] | None) -> tuple[Position, ...]:
    if planes is None:
        return all_positions(image)
    chosen = sorted({tuple(int(at) for at in position) for position in planes})
    for position in chosen:
        plane_of(image, position)  # raises for planes that do not exist
    return tuple(chosen)


def _positions(
    mode: Mode, chosen: tuple[Position, ...], image: LazyImage
) -> tuple[Placed | Propagate | Any, tuple[Position, ...]]:
    """Return the mode as it is executed, and the planes to process."""
    if isinstance(mode, Repeated):
        mode = mode.placed(chosen)
    if isinstance(mode, Placed | Propagate):
        mode.prompts.check_inside(image.shape)
        if mode.prompts.at(chosen).is_empty:
            raise BatchError(
                f"no prompt on the chosen planes ({len(chosen)}). Expected at least one click or "
                "box on them. Add one, or choose other planes."
            )
    if isinstance(mode, Placed):
        return mode, mode.positions(chosen)
    if isinstance(mode, Propagate):
        mode = mode.along(image.axes)
        return mode, tuple(position for stack in mode.stacks(chosen) for position in stack)
    return mode, chosen


def _question(
    image: ImageSource,
    model: Mapping[str, Any],
    mode: Mode,
    positions: tuple[Position, ...],
    contrast: ContrastLimits | None,
    level: int | None,
) -> dict[str, Any]:
    """Return all that results depend on, as JSON values."""
    known, blocks = image.identity()
    identity = IDENTITY.write(known)
    del identity["name"]
    settings: dict[str, Any] = {"contrast": contrast, "level": level}
    if (seen := image.open().seen) is not None:
        settings["seen"] = dict(seen)
    return {
        "image": {**identity, "blocks": blocks},
        "model": dict(model),
        "mode": mode.to_json(),
        "planes": [list(position) for position in positions],
        "settings": settings,
    }
