"""Propagation of objects through a stack: a sweep per direction, and their combination."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.tracking.followers import follower_of
from napari_sam3.inference.tracking.memories import has_memory, memory_of
from napari_sam3.inference.tracking.sweeps import PropagatedMask, Sweep
from sam3.errors import ImageError

from .modes import Propagate, SweepName
from .prompts import Position
from .unit_records import name_of
from .units import UnitRunner

__all__ = ["ChainStep", "meet", "sweep"]

Load = Callable[[Position, Position | None], PlaneImage]


@dataclass(frozen=True, eq=False)
class ChainStep:
    """Result of a sweep on one plane.

    Parameters
    ----------
    position : tuple of int
        The plane.
    objects : tuple of Instance
        Objects found on the plane, bridged there, or ended there.
    keep : callable
        Writes the record; to be called once, from any thread, before the next sweep.
    known : bool
        Whether it was done in an earlier run.
    asked : bool
        Whether the model predicted in this run; false if there was nothing to propagate.
    error : ImageError, optional
        Reason why the plane could not be read. Objects are propagated across it.
        Why the plane could not be read. Objects are propagated across it.
    """

    position: Position
    objects: tuple[Instance, ...]
    keep: Callable[[], None]
    known: bool = False
    asked: bool = False
    error: ImageError | None = None


def sweep(
    runner: UnitRunner, stack: Sequence[Position], kind: SweepName, load: Load
) -> Iterator[ChainStep]:
    """Propagate objects through a stack in one direction.

    What an earlier run has recorded is not asked again. A model with a memory would have to see
    it again, though: with one, a direction that was not finished starts again.

    Parameters
    ----------
    runner : UnitRunner
        Executes the steps. The records of planes with prompts must exist.
    stack : sequence of tuple of int
        Planes in ascending order.
    kind : {"forward", "backward"}
        Direction, and kind of the records.
    load : callable
        Reads a plane; called with its position and the next one.
    """
    remembers = has_memory(runner.predictor)
    if remembers:
        steps = list(_Chain(runner, stack, kind, load, recorded="alone").steps())
        if all(step.known or not step.asked for step in steps):
            yield from steps
            return
    recorded = "never" if remembers else "first"
    yield from _Chain(runner, stack, kind, load, recorded).steps()


class _Chain:
    """One direction of a stack.

    Parameters
    ----------
    runner, stack, kind, load
        As for `sweep`.
    recorded : {"first", "alone", "never"}
        Whether to use records before the model, instead of the model, or never.
    """

    def __init__(
        self,
        runner: UnitRunner,
        stack: Sequence[Position],
        kind: SweepName,
        load: Load,
        recorded: str,
    ) -> None:
        mode = runner.job.mode
        assert isinstance(mode, Propagate)
        self._runner, self._stack, self._kind, self._recorded = runner, stack, kind, recorded
        self._ahead = step = -1 if kind == "backward" else 1

        @lru_cache(2)  # planes with prompts are read again to measure their objects
        def load_at(index: int) -> PlaneImage:
            following = index + step
            return load(stack[index], stack[following] if 0 <= following < len(stack) else None)

        shown: dict[int, dict[int, PlaneMask]] = {}
        for index, position in enumerate(stack):
            for one in runner.records.objects("found", name_of(position)) or ():
                shown.setdefault(one.id, {})[index] = one.mask
        follower = follower_of(
            runner.predictor,
            runner.cache,
            runner.stop,
            memory_of(runner.predictor),
            load_at,
            len(stack),
        )
        self._shown = shown
        self._sweep = Sweep(
            shown,
            follower,
            load_at,
            mode.rules,
            len(stack),
            reverse=kind == "backward",
            halves=mode.direction == "both",
        )
        self._digests: dict[int, str] = {}

    def steps(self) -> Iterator[ChainStep]:
        """Yield the objects plane by plane. Without the model, stop at the first missing record."""
        for index in self._sweep.order:
            numbers = sorted(self._sweep.active(index))
            step = self._step(index, numbers) if numbers else None
            if step is not None:
                yield step
                if self._recorded == "alone" and not step.known:
                    return
            else:
                yield ChainStep(self._stack[index], (), self._forgetting(index))
            self._begin(index)

    def _step(self, index: int, numbers: Sequence[int]) -> ChainStep:
        runner, position = self._runner, self._stack[index]
        name, digests = name_of(position), [self._digests[number] for number in numbers]
        shown = sorted(self._sweep.shown_on(index).items())  # which end the objects that it meets
        made_from = _joined([*digests, *(f"{n} shown {_digest(mask)}" for n, mask in shown)])
        starts = {number: self._sweep.trail(number).shown.plane for number in numbers}
        known = None
        if self._recorded != "never":
            known = runner.records.objects(self._kind, name, made_from)
        if known is not None:
            found = [PropagatedMask(index, o.id, o.mask, o.score, o.ended) for o in known]
            self._sweep.replay(found)
            self._note(found)
            return ChainStep(position, known, _nothing, known=True)
        if self._recorded == "alone":
            return ChainStep(position, (), _nothing, asked=True)
        try:
            found = runner.while_wanted(lambda: self._sweep.step(index))
        except ImageError as error:
            forget = self._forgetting(index)
            return ChainStep(position, (), forget, asked=True, error=error)
        self._note(found)
        objects = tuple(
            Instance(
                one.object_id,
                one.mask,
                float(one.score),
                steps=abs(index - starts[one.object_id]),
                ended=one.ended,
            )
            for one in sorted(found, key=lambda one: one.object_id)
        )

        def keep_objects() -> None:
            runner.records.put_objects(self._kind, name, objects, made_from)

        return ChainStep(position, objects, keep_objects, asked=True)

    def _forgetting(self, index: int) -> Callable[[], None]:
        """Return a function that deletes the record of a run that reached the plane."""
        records, name = self._runner.records, name_of(self._stack[index])
        if not records.has(self._kind, name):
            return _nothing
        return lambda: records.forget(self._kind, name)

    def _begin(self, index: int) -> None:
        """Start from the prompts of a plane. Read it now unless the next plane is recorded."""
        next_one = index + self._ahead
        following = self._stack[next_one : next_one + 1] if next_one >= 0 else ()
        read = self._recorded == "never" or not any(
            self._runner.records.has(self._kind, name_of(position)) for position in following
        )
        read = read and self._recorded != "alone"
        begun = self._runner.while_wanted(lambda: self._sweep.begin(index, read=read))
        for number in begun:
            parts = (
                f"{plane} {_digest(mask)}" for plane, mask in sorted(self._shown[number].items())
            )
            self._digests[number] = _joined([f"{number} from {index}", *parts])

    def _note(self, found: Iterable[PropagatedMask]) -> None:
        """Update the digests of objects, which the records of later planes contain."""
        for one in found:
            before = self._digests[one.object_id]
            self._digests[one.object_id] = _joined([before, str(one.plane), _digest(one.mask)])


def meet(
    anchors: Iterable[Instance],
    forward: Iterable[Instance],
    backward: Iterable[Instance],
) -> tuple[Instance, ...]:
    """Choose the objects of a plane from those with prompts on it and those propagated to it.

    Returns
    -------
    tuple of Instance
        Objects by id. Those with prompts take precedence, then those with fewer steps.
    """
    chosen = {one.id: one for one in anchors if not one.mask.is_empty}
    for instance in sorted((*forward, *backward), key=lambda one: one.steps):
        if not instance.ended and not instance.mask.is_empty:
            chosen.setdefault(instance.id, instance)
    return tuple(chosen[number] for number in sorted(chosen))


def _digest(mask: PlaneMask) -> str:
    digest = hashlib.blake2b(repr(mask.bbox).encode(), digest_size=16)
    digest.update(np.packbits(mask.crop).tobytes())
    return digest.hexdigest()


def _joined(parts: Iterable[str]) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


def _nothing() -> None:
    """Leave the record unchanged."""
