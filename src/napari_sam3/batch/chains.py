"""Objects carried through a stack: one sweep up, one down, and where the two meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from napari_sam3.core.objects import Instance
from napari_sam3.core.rendering import PlaneImage
from sam3.errors import ImageError

from .prompts import Position
from .unit_records import name_of
from .units import State, Workbench, state_digest

__all__ = ["ChainStep", "meet", "sweep"]

Load = Callable[[Position, Position | None], PlaneImage]


@dataclass(frozen=True, eq=False)
class ChainStep:
    """What a sweep did on one plane.

    Parameters
    ----------
    position : tuple of int
        The plane.
    objects : tuple of Instance
        Those carried there, and those that ended there.
    keep : callable
        Writes the record; to be called once, by any thread, before the next sweep.
    known : bool
        Whether it was done in an earlier run.
    asked : bool
        Whether the model predicted now; false where there is nothing to propagate.
    error : ImageError, optional
        Why the plane could not be read. Objects are carried on across it.
    """

    position: Position
    objects: tuple[Instance, ...]
    keep: Callable[[], None]
    known: bool = False
    asked: bool = False
    error: ImageError | None = None


def sweep(
    bench: Workbench, stack: Sequence[Position], room: str, load: Load
) -> Iterator[ChainStep]:
    """Go through a stack in one direction.

    Parameters
    ----------
    bench : Workbench
        Does the steps. The records of planes with prompts have to be there.
    stack : sequence of tuple of int
        Planes in order.
    room : {"forward", "backward"}
        Name of the records.
    load : callable
        Reads a plane; called with it and the next one.
    """
    state: State = {}
    for at, position in enumerate(stack):
        name, records = name_of(position), bench.records
        anchors = {
            one.id: one for one in records.objects("found", name) or () if not one.mask.is_empty
        }
        # Prompts are a new beginning: nothing is carried to where the object has its own.
        todo = {number: one for number, one in state.items() if number not in anchors}
        objects: tuple[Instance, ...] = ()
        error, keep = None, _nothing
        known = records.objects(room, name, state_digest(todo)) if todo else None
        if todo:
            if known is not None:
                objects = known
            else:
                try:
                    plane = load(position, stack[at + 1] if at + 1 < len(stack) else None)
                    objects = bench.step(plane, todo)
                    keep = _keeper(bench, room, name, objects, state_digest(todo))
                except ImageError as caught:
                    error = caught
        if (not todo or error) and records.has(room, name):
            keep = _forgetter(bench, room, name)  # of a run in which the chain came here
        if error is not None:
            state = {number: (mask, steps + 1) for number, (mask, steps) in todo.items()}
        else:
            state = {one.id: (one.mask, one.steps) for one in objects if not one.ended}
        state |= {number: (one.mask, 0) for number, one in anchors.items()}
        asked = bool(todo) and known is None
        yield ChainStep(position, objects, keep, known is not None, asked, error)


def meet(
    anchors: Iterable[Instance],
    forward: Iterable[Instance],
    backward: Iterable[Instance],
) -> tuple[Instance, ...]:
    """Choose what stands on a plane, out of what has prompts there and what was carried there.

    Prompts come first, then what was carried fewer steps, then the better score; in doubt what
    came forward.

    Returns
    -------
    tuple of Instance
        By their ids.
    """
    chosen = {one.id: one for one in anchors if not one.mask.is_empty}
    ranks: dict[int, tuple[int, float]] = {}
    for one in (*forward, *backward):
        rank = one.steps, -one.score
        if one.ended or (one.id in chosen and one.id not in ranks):
            continue
        if one.id not in ranks or rank < ranks[one.id]:
            chosen[one.id], ranks[one.id] = one, rank
    return tuple(chosen[number] for number in sorted(chosen))


def _nothing() -> None:
    """Leave the record as it is."""


def _keeper(
    bench: Workbench, room: str, name: str, objects: tuple[Instance, ...], made_from: str
) -> Callable[[], None]:
    return lambda: bench.records.put_objects(room, name, objects, made_from)


def _forgetter(bench: Workbench, room: str, name: str) -> Callable[[], None]:
    return lambda: bench.records.forget(room, name)
