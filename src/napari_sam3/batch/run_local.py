"""A batch in one process: read ahead, ask the model, write behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from napari_sam3.core.objects import Instance
from napari_sam3.core.rendering import PlaneImage
from sam3.errors import ImageError, Sam3Error

from .chains import ChainStep, meet, sweep
from .modes import Automatic, Placed, Propagate
from .pipeline import ReadAhead, WriteBehind
from .progress import BatchControl
from .prompts import Position
from .results import PlaneResult
from .unit_records import name_of
from .units import BatchJob, Stopped, Workbench, plane_index

__all__ = ["count_units", "run_here"]


def count_units(bench: Workbench, positions: Sequence[Position]) -> int:
    """Return how many units of work there are; see `Progress`."""
    mode = bench.job.mode
    if isinstance(mode, Automatic):
        return sum(len(bench.tiles(position)) for position in positions)
    if isinstance(mode, Propagate):
        anchors = sum(bool(mode.prompts.on(position)) for position in positions)
        return anchors + len(mode.sweeps) * len(positions)
    return len(positions)


def run_here(
    job: BatchJob, positions: Sequence[Position], control: BatchControl, cache: Any = None
) -> Iterator[PlaneResult]:
    """Do a job in this process.

    Parameters
    ----------
    job : BatchJob
        What there is to do.
    positions : sequence of tuple of int
        Planes, in the order in which they are done.
    control : BatchControl
        Called with the progress; cancels the run.
    cache : EmbeddingCache, optional
        Features from before.

    Yields
    ------
    PlaneResult
        Each plane once it is written. Once the control is cancelled, those in progress.
    """
    bench = Workbench(job, control, cache) if cache is not None else Workbench(job, control)
    control.begin(count_units(bench, positions))
    run = _LocalRun(bench, control, keep_features=cache is not None)
    try:
        try:
            if isinstance(job.mode, Placed):
                yield from run.placed(positions)
            elif isinstance(job.mode, Propagate):
                for stack in job.mode.stacks(positions):
                    yield from run.propagated(stack)
            elif isinstance(job.mode, Automatic):
                yield from run.automatic(positions)
        except Stopped:
            pass
        yield from filter(None, run.writer.drain())
    finally:
        run.close()


class _LocalRun:
    """One run: the bench, and the threads before and behind it."""

    def __init__(self, bench: Workbench, control: BatchControl, *, keep_features: bool) -> None:
        self.bench, self.control = bench, control
        self.reader: ReadAhead[Position, PlaneImage] = ReadAhead(bench.load)
        self.writer: WriteBehind[PlaneResult | None] = WriteBehind()
        self._keep_features = keep_features

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def placed(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        """Ask for the prompts that stand on each plane."""
        for at, position in enumerate(positions):
            objects, error, known = self._found(position, positions[at + 1 :])
            self.control.count(skipped=known, failed=error is not None)
            yield from self._paint(position, objects, error, known, keep=not known)
            self._forget()

    def automatic(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        """Find everything, tile by tile; ids run on from plane to plane."""
        first = 1
        for at, position in enumerate(positions):
            error, known = None, True
            tiles = self.bench.tiles(position)
            for region, name in tiles:
                self._check()
                done = self.bench.records.found(name) is not None
                if not done and error is None:
                    known = False
                    try:
                        plane = self.reader.take(position, self._next(positions[at + 1 :]))
                        found = self.bench.find_in_tile(plane, region)
                        self.bench.records.put_found(name, found)
                    except ImageError as caught:
                        error = caught
                self.control.count(skipped=done, failed=error is not None)
                self._forget()
            objects = () if error else self.bench.merge(position, first)
            first += len(objects)
            yield from self._paint(position, objects, error, known)

    def propagated(self, stack: Sequence[Position]) -> Iterator[PlaneResult]:
        """Ask where there are prompts, then go up and down; planes are done on the way down.

        Those behind the last prompts are done on the way up already.
        """
        mode = self.bench.job.mode
        assert isinstance(mode, Propagate)
        anchors = [position for position in stack if mode.prompts.on(position)]
        errors: dict[Position, Sam3Error] = {}
        skipped = dict.fromkeys(stack, True)
        for at, position in enumerate(anchors):
            objects, error, known = self._found(position, anchors[at + 1 :])
            skipped[position] &= known
            if error is not None:
                errors[position] = error
            self.control.count(skipped=known, failed=error is not None)
            if not known and error is None:
                yield from self._keep_found(position, objects)
        yield from filter(None, self.writer.drain())
        for room in mode.sweeps:
            for step in sweep(self.bench, stack, room, self._load):
                self._check()
                if step.error is not None:
                    errors[step.position] = step.error
                skipped[step.position] &= not step.asked
                self.control.count(skipped=step.known, failed=step.error is not None)
                behind = (room == "forward") == (step.position >= anchors[-1])
                last = behind or len(mode.sweeps) == 1
                yield from self._settle(step, room, errors, skipped[step.position], last)
            yield from filter(None, self.writer.drain())

    def _settle(
        self,
        step: ChainStep,
        room: str,
        errors: dict[Position, Sam3Error],
        skipped: bool,
        last: bool,
    ) -> Iterator[PlaneResult]:
        """Keep a step; paint its plane if no other sweep will come there."""
        position, records = step.position, self.bench.records
        name = name_of(position)

        def keep() -> PlaneResult | None:
            step.keep()
            if not last:
                return None
            if position in errors:
                return self._result(position, (), skipped, errors[position])
            anchors = records.objects("found", name) or ()
            other = records.objects("forward", name, None) if room == "backward" else ()
            pair = (other or (), step.objects) if room == "backward" else (step.objects, ())
            objects = meet(anchors, *pair)
            painted = self.bench.paint(position, objects)
            return self._result(position, objects, skipped and not painted)

        yield from filter(None, self.writer.put(keep))

    def _found(
        self, position: Position, later: Sequence[Position]
    ) -> tuple[tuple[Instance, ...], Sam3Error | None, bool]:
        """Return the objects with prompts on a plane, or why not, and whether they were known."""
        self._check()
        known = self.bench.records.objects("found", name_of(position))
        if known is not None:
            return known, None, True
        try:
            plane = self._load(position, self._next(later))
            return self.bench.find(position, plane), None, False
        except ImageError as error:
            return (), error, False

    def _keep_found(
        self, position: Position, objects: tuple[Instance, ...]
    ) -> Iterator[PlaneResult]:
        def keep() -> None:
            self.bench.records.put_objects("found", name_of(position), objects)

        yield from filter(None, self.writer.put(keep))

    def _paint(
        self,
        position: Position,
        objects: tuple[Instance, ...],
        error: Sam3Error | None,
        known: bool,
        keep: bool = False,
    ) -> Iterator[PlaneResult]:
        def write() -> PlaneResult:
            if error is not None:
                return self._result(position, (), False, error)
            if keep:
                self.bench.records.put_objects("found", name_of(position), objects)
            painted = self.bench.paint(position, objects)
            return self._result(position, objects, known and not painted)

        yield from filter(None, self.writer.put(write))

    def _result(
        self,
        position: Position,
        objects: tuple[Instance, ...],
        skipped: bool,
        error: Sam3Error | None = None,
    ) -> PlaneResult:
        return PlaneResult(plane_index(position), self.bench.shape, objects, skipped, error)

    def _load(self, position: Position, then: Position | None) -> PlaneImage:
        return self.reader.take(position, then)

    def _next(self, later: Sequence[Position]) -> Position | None:
        """Return the plane that is likely to be read next: one that is not done."""
        room = "tiles" if isinstance(self.bench.job.mode, Automatic) else "found"
        for position in later:
            name = self.bench.tiles(position)[-1][1] if room == "tiles" else name_of(position)
            if not self.bench.records.has(room, name):
                return position
        return None

    def _check(self) -> None:
        if self.control.cancelled:
            raise Stopped

    def _forget(self) -> None:
        if not self._keep_features:
            self.bench.forget()
