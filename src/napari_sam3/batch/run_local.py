"""Execution of a batch in one process, reading ahead of the model and writing behind it."""

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
from .units import BatchJob, Stopped, UnitRunner, plane_index

__all__ = ["count_units", "run_here"]


def count_units(runner: UnitRunner, positions: Sequence[Position]) -> int:
    """Return the number of units; see `Progress`."""
    mode = runner.job.mode
    if isinstance(mode, Automatic):
        return sum(len(runner.tiles(position)) for position in positions)
    if isinstance(mode, Propagate):
        anchors = sum(bool(mode.prompts.on(position)) for position in positions)
        return anchors + len(mode.sweeps) * len(positions)
    return len(positions)


def run_here(
    job: BatchJob, positions: Sequence[Position], control: BatchControl, cache: Any = None
) -> Iterator[PlaneResult]:
    """Run a job in this process.

    Parameters
    ----------
    job : BatchJob
        The job.
    positions : sequence of tuple of int
        Planes, in the order of execution.
    control : BatchControl
        Called with the progress; cancels the run.
    cache : EmbeddingCache, optional
        Cached features.

    Yields
    ------
    PlaneResult
        Each plane after it was written. After cancellation, those in progress.
    """
    runner = UnitRunner(job, control, cache) if cache is not None else UnitRunner(job, control)
    control.begin(count_units(runner, positions))
    run = _LocalRun(runner, control, keep_features=cache is not None)
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
    """One run: the unit runner, and the threads that read and write."""

    def __init__(self, runner: UnitRunner, control: BatchControl, *, keep_features: bool) -> None:
        self.runner, self.control = runner, control
        self.reader: ReadAhead[Position, PlaneImage] = ReadAhead(runner.load)
        self.writer: WriteBehind[PlaneResult | None] = WriteBehind()
        self._keep_features = keep_features

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def placed(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        """Segment each plane from its own prompts."""
        for at, position in enumerate(positions):
            objects, error, known = self._found(position, positions[at + 1 :])
            self.control.count(skipped=known, failed=error is not None)
            yield from self._paint(position, objects, error, known, keep=not known)
            self._forget()

    def automatic(self, positions: Sequence[Position]) -> Iterator[PlaneResult]:
        """Find all objects, tile by tile; ids are consecutive over all planes."""
        first = 1
        for at, position in enumerate(positions):
            error, known = None, True
            tiles = self.runner.tiles(position)
            for region, name in tiles:
                self._check()
                done = self.runner.records.found(name) is not None
                if not done and error is None:
                    known = False
                    try:
                        plane = self.reader.take(position, self._next(positions[at + 1 :]))
                        found = self.runner.find_in_tile(plane, region)
                        self.runner.records.put_found(name, found)
                    except ImageError as caught:
                        error = caught
                self.control.count(skipped=done, failed=error is not None)
                self._forget()
            objects = () if error else self.runner.merge(position, first)
            first += len(objects)
            yield from self._paint(position, objects, error, known)

    def propagated(self, stack: Sequence[Position]) -> Iterator[PlaneResult]:
        """Segment planes with prompts, then propagate in each direction.

        A plane is finished when no further sweep reaches it: on the way down, or already on the way
        up after the last prompts.
        """
        mode = self.runner.job.mode
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
        for kind in mode.sweeps:
            for step in sweep(self.runner, stack, kind, self._load):
                self._check()
                if step.error is not None:
                    errors[step.position] = step.error
                skipped[step.position] &= not step.asked
                self.control.count(skipped=step.known, failed=step.error is not None)
                behind = (kind == "forward") == (step.position >= anchors[-1])
                last = behind or len(mode.sweeps) == 1
                yield from self._settle(step, kind, errors, skipped[step.position], last)
            yield from filter(None, self.writer.drain())

    def _settle(
        self,
        step: ChainStep,
        kind: str,
        errors: dict[Position, Sam3Error],
        skipped: bool,
        last: bool,
    ) -> Iterator[PlaneResult]:
        """Record a step; paint its plane if no other sweep will reach it."""
        position, records = step.position, self.runner.records
        name = name_of(position)

        def keep() -> PlaneResult | None:
            step.keep()
            if not last:
                return None
            if position in errors:
                return self._result(position, (), skipped, errors[position])
            anchors = records.objects("found", name) or ()
            other = records.objects("forward", name, None) if kind == "backward" else ()
            pair = (other or (), step.objects) if kind == "backward" else (step.objects, ())
            objects = meet(anchors, *pair)
            painted = self.runner.paint(position, objects)
            return self._result(position, objects, skipped and not painted)

        yield from filter(None, self.writer.put(keep))

    def _found(
        self, position: Position, later: Sequence[Position]
    ) -> tuple[tuple[Instance, ...], Sam3Error | None, bool]:
        """Return the objects with prompts on a plane, any error, and whether they were recorded."""
        self._check()
        known = self.runner.records.objects("found", name_of(position))
        if known is not None:
            return known, None, True
        try:
            plane = self._load(position, self._next(later))
            return self.runner.find(position, plane), None, False
        except ImageError as error:
            return (), error, False

    def _keep_found(
        self, position: Position, objects: tuple[Instance, ...]
    ) -> Iterator[PlaneResult]:
        def keep() -> None:
            self.runner.records.put_objects("found", name_of(position), objects)

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
                self.runner.records.put_objects("found", name_of(position), objects)
            painted = self.runner.paint(position, objects)
            return self._result(position, objects, known and not painted)

        yield from filter(None, self.writer.put(write))

    def _result(
        self,
        position: Position,
        objects: tuple[Instance, ...],
        skipped: bool,
        error: Sam3Error | None = None,
    ) -> PlaneResult:
        return PlaneResult(plane_index(position), self.runner.shape, objects, skipped, error)

    def _load(self, position: Position, then: Position | None) -> PlaneImage:
        return self.reader.take(position, then)

    def _next(self, later: Sequence[Position]) -> Position | None:
        """Return the plane that is likely to be read next: the first one that is not recorded."""
        kind = "tiles" if isinstance(self.runner.job.mode, Automatic) else "found"
        for position in later:
            name = self.runner.tiles(position)[-1][1] if kind == "tiles" else name_of(position)
            if not self.runner.records.has(kind, name):
                return position
        return None

    def _check(self) -> None:
        if self.control.cancelled:
            raise Stopped

    def _forget(self) -> None:
        if not self._keep_features:
            self.runner.forget()
