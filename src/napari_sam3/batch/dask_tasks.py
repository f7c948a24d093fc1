"""Tasks of a Dask worker; each reads its own planes and writes its own chunks and records."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from napari_sam3.core.objects import Instance
from sam3.errors import ImageError

from .chains import meet, sweep
from .modes import Propagate, SweepName
from .progress import BatchControl
from .prompts import Position
from .sources import ImageSource
from .unit_records import name_of
from .units import BatchJob, UnitRunner

__all__ = [
    "Done",
    "do_anchors",
    "do_meet",
    "do_paint",
    "do_plane",
    "do_sweep",
    "do_tile",
    "objects_of",
]


@dataclass(frozen=True)
class Done:
    """Result of a task; everything else is on disk.

    Parameters
    ----------
    skipped : bool
        Whether the unit was done in an earlier run.
    errors : tuple of (position, str)
        Planes that could not be read, with the reason.
    """

    skipped: bool
    errors: tuple[tuple[Position, str], ...] = ()


def objects_of(runner: UnitRunner, position: Position) -> tuple[Instance, ...]:
    """Return the objects of a plane from the records, in the order of painting."""
    name, records = name_of(position), runner.records
    found = records.objects("found", name) or ()
    if not isinstance(runner.job.mode, Propagate):
        return found
    forward, backward = (records.objects(kind, name, None) or () for kind in _SWEEPS)
    return meet(found, forward, backward)


_SWEEPS = "forward", "backward"


@dataclass(eq=False)
class _OpenImage:
    """An image that the tasks of a run share in this process.

    Parameters
    ----------
    source : ImageSource
        Opens the image once, and may be read by any number of threads.
    users : int
        Number of tasks that use it.
    """

    source: ImageSource
    users: int = 0


_images: dict[str, _OpenImage] = {}
_lock = threading.Lock()


@contextmanager
def runner_of(job: BatchJob) -> Iterator[UnitRunner]:
    """Yield a unit runner for one task, independent of those of other threads.

    Only the image is shared, and stays open from task to task of a run.
    """
    with _lock:
        shared = _images.setdefault(job.run, _OpenImage(job.image))
        shared.users += 1
        for run in [run for run, one in _images.items() if not one.users]:
            _images.pop(run).source.close()
    try:
        yield UnitRunner(replace(job, image=shared.source), BatchControl())
    finally:
        with _lock:
            shared.users -= 1


def do_plane(job: BatchJob, position: Position) -> Done:
    """Segment a plane from its prompts, and paint it."""
    with runner_of(job) as runner:
        found = _anchors(runner, position)
        if found.errors:
            return found
        painted = runner.paint(position, objects_of(runner, position))
        return Done(found.skipped and not painted)


def do_anchors(job: BatchJob, position: Position) -> Done:
    """Segment a plane from its prompts, and record the objects."""
    with runner_of(job) as runner:
        return _anchors(runner, position)


def _anchors(runner: UnitRunner, position: Position) -> Done:
    name = name_of(position)
    if runner.records.objects("found", name) is not None:
        return Done(True)
    try:
        objects = runner.find(position, runner.load(position))
    except ImageError as error:
        return Done(False, ((position, str(error)),))
    runner.records.put_objects("found", name, objects)
    return Done(False)


def do_tile(job: BatchJob, item: tuple[Position, int]) -> Done:
    """Find all objects in a tile of a plane."""
    position, number = item
    with runner_of(job) as runner:
        region, name = runner.tiles(position)[number]
        if runner.records.found(name) is not None:
            return Done(True)
        try:
            runner.records.put_found(name, runner.find_in_tile(runner.load(position), region))
        except ImageError as error:
            return Done(False, ((position, str(error)),))
        return Done(False)


def do_paint(job: BatchJob, item: tuple[Position, tuple[Instance, ...]]) -> bool:
    """Paint the objects of a plane; False if that was done before."""
    with runner_of(job) as runner:
        return runner.paint(*item)


def do_sweep(job: BatchJob, item: tuple[Sequence[Position], SweepName]) -> Done:
    """Propagate objects through a stack in one direction."""
    stack, kind = item
    errors, asked = [], False
    with runner_of(job) as runner:
        for step in sweep(runner, stack, kind, lambda position, _: runner.load(position)):
            step.keep()
            asked |= step.asked
            if step.error is not None:
                errors.append((step.position, str(step.error)))
    return Done(not asked, tuple(errors))


def do_meet(job: BatchJob, position: Position) -> Done:
    """Combine both directions on a plane, and paint it."""
    with runner_of(job) as runner:
        return Done(not runner.paint(position, objects_of(runner, position)))
