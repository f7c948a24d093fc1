"""What a worker of Dask does: one task, its own planes, its own chunks and records."""

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
from .units import BatchJob, Workbench

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
    """What a task says of its unit; all else it has written.

    Parameters
    ----------
    skipped : bool
        Whether there was nothing to do.
    errors : tuple of (position, str)
        Planes that could not be read, and why.
    """

    skipped: bool
    errors: tuple[tuple[Position, str], ...] = ()


def objects_of(bench: Workbench, position: Position) -> tuple[Instance, ...]:
    """Return the objects of a plane from the records, as they are painted."""
    name, records = name_of(position), bench.records
    found = records.objects("found", name) or ()
    if not isinstance(bench.job.mode, Propagate):
        return found
    forward, backward = (records.objects(room, name, None) or () for room in _SWEEPS)
    return meet(found, forward, backward)


_SWEEPS = "forward", "backward"


@dataclass(eq=False)
class _OpenImage:
    """An image that the tasks of a run share in this process.

    Parameters
    ----------
    source : ImageSource
        Opens it once, and may be read by any number of threads.
    users : int
        Tasks that are at it.
    """

    source: ImageSource
    users: int = 0


_images: dict[str, _OpenImage] = {}
_lock = threading.Lock()


@contextmanager
def bench_of(job: BatchJob) -> Iterator[Workbench]:
    """Lend a task a bench of its own: nothing that it changes is seen by another thread.

    Only the image is shared, which stays open from task to task of a run.
    """
    with _lock:
        shared = _images.setdefault(job.run, _OpenImage(job.image))
        shared.users += 1
        for run in [run for run, one in _images.items() if not one.users]:
            _images.pop(run).source.close()
    try:
        yield Workbench(replace(job, image=shared.source), BatchControl())
    finally:
        with _lock:
            shared.users -= 1


def do_plane(job: BatchJob, position: Position) -> Done:
    """Ask for the prompts of a plane, and paint it."""
    with bench_of(job) as bench:
        found = _anchors(bench, position)
        if found.errors:
            return found
        painted = bench.paint(position, objects_of(bench, position))
        return Done(found.skipped and not painted)


def do_anchors(job: BatchJob, position: Position) -> Done:
    """Ask for the prompts of a plane, and keep the answer."""
    with bench_of(job) as bench:
        return _anchors(bench, position)


def _anchors(bench: Workbench, position: Position) -> Done:
    name = name_of(position)
    if bench.records.objects("found", name) is not None:
        return Done(True)
    try:
        objects = bench.find(position, bench.load(position))
    except ImageError as error:
        return Done(False, ((position, str(error)),))
    bench.records.put_objects("found", name, objects)
    return Done(False)


def do_tile(job: BatchJob, item: tuple[Position, int]) -> Done:
    """Find everything in a tile of a plane, by its number."""
    position, number = item
    with bench_of(job) as bench:
        region, name = bench.tiles(position)[number]
        if bench.records.found(name) is not None:
            return Done(True)
        try:
            bench.records.put_found(name, bench.find_in_tile(bench.load(position), region))
        except ImageError as error:
            return Done(False, ((position, str(error)),))
        return Done(False)


def do_paint(job: BatchJob, item: tuple[Position, tuple[Instance, ...]]) -> bool:
    """Paint the objects of a plane; False if it was done before."""
    with bench_of(job) as bench:
        return bench.paint(*item)


def do_sweep(job: BatchJob, item: tuple[Sequence[Position], SweepName]) -> Done:
    """Propagate objects through a stack in one direction."""
    stack, room = item
    errors, asked = [], False
    with bench_of(job) as bench:
        for step in sweep(bench, stack, room, lambda position, _: bench.load(position)):
            step.keep()
            asked |= step.asked
            if step.error is not None:
                errors.append((step.position, str(step.error)))
    return Done(not asked, tuple(errors))


def do_meet(job: BatchJob, position: Position) -> Done:
    """Paint what both directions have brought to a plane."""
    with bench_of(job) as bench:
        return Done(not bench.paint(position, objects_of(bench, position)))
