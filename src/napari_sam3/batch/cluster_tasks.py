"""What a worker of Dask does: one task, its own planes, its own chunks and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sam3.errors import ImageError

from .chains import meet, sweep
from .control import BatchControl
from .modes import Carried
from .prompts import Position
from .results import BatchObject
from .unit_records import name_of
from .workbench import Job, Workbench

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

# The one of the run that a worker is at: its records, labels and cache.
_benches: dict[str, Workbench] = {}


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


def objects_of(bench: Workbench, position: Position) -> tuple[BatchObject, ...]:
    """Return the objects of a plane from the records, as they are painted."""
    name, records = name_of(position), bench.records
    found = records.objects("found", name) or ()
    if not isinstance(bench.job.mode, Carried):
        return found
    forward, backward = (records.objects(room, name, None) or () for room in _SWEEPS)
    return meet(found, forward, backward)


_SWEEPS = "forward", "backward"


def bench_of(job: Job) -> Workbench:
    """Return this process's bench of a run."""
    if job.run not in _benches:
        while _benches:
            _benches.popitem()[1].job.image.close()
        _benches[job.run] = Workbench(job, BatchControl())
    bench = _benches[job.run]
    # The prompts that this task is about, and the image that is open.
    bench.job = replace(job, image=bench.job.image)
    return bench


def do_plane(job: Job, position: Position) -> Done:
    """Ask for the prompts of a plane, and paint it."""
    found = do_anchors(job, position)
    if found.errors:
        return found
    bench = bench_of(job)
    painted = bench.paint(position, objects_of(bench, position))
    bench.forget()
    return Done(found.skipped and not painted)


def do_anchors(job: Job, position: Position) -> Done:
    """Ask for the prompts of a plane, and keep the answer."""
    bench, name = bench_of(job), name_of(position)
    if bench.records.objects("found", name) is not None:
        return Done(True)
    try:
        objects = bench.find(position, bench.load(position))
    except ImageError as error:
        return Done(False, ((position, str(error)),))
    bench.records.put_objects("found", name, objects)
    return Done(False)


def do_tile(job: Job, item: tuple[Position, int]) -> Done:
    """Find everything in a tile of a plane, by its number."""
    bench, (position, number) = bench_of(job), item
    region, name = bench.tiles(position)[number]
    if bench.records.found(name) is not None:
        return Done(True)
    try:
        bench.records.put_found(name, bench.find_in_tile(bench.load(position), region))
    except ImageError as error:
        return Done(False, ((position, str(error)),))
    finally:
        bench.forget()
    return Done(False)


def do_paint(job: Job, item: tuple[Position, tuple[BatchObject, ...]]) -> bool:
    """Paint the objects of a plane; False if it was done before."""
    return bench_of(job).paint(*item)


def do_sweep(job: Job, item: tuple[Sequence[Position], str]) -> Done:
    """Carry objects through a stack in one direction."""
    bench, (stack, room) = bench_of(job), item
    planes = list(stack) if room == "forward" else list(stack)[::-1]
    errors, asked = [], False
    for step in sweep(bench, planes, room, lambda position, _: bench.load(position)):
        step.keep()
        asked |= step.asked
        if step.error is not None:
            errors.append((step.position, str(step.error)))
    return Done(not asked, tuple(errors))


def do_meet(job: Job, position: Position) -> Done:
    """Paint what both directions have brought to a plane."""
    bench = bench_of(job)
    return Done(not bench.paint(position, objects_of(bench, position)))
