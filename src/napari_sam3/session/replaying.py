"""A session that does again what was done before: the same ids, the same masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, Policy, ReplayError
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.labels.targets import LabelTarget

from .replay import replay
from .session import LabelingSession

__all__ = ["replay_into"]

#: Gives the image and the labels of a plane by its key.
Planes = Callable[[Hashable], tuple[PlaneImage, LabelTarget]]


def replay_into(session: LabelingSession, operations: Iterable[Operation], planes: Planes) -> int:
    """Do operations again in a session, each on its own plane.

    Objects are made anew by the session's model, from the prompts they were made of: with the same
    weights, precision and rendering the labels are the same.

    Parameters
    ----------
    session : LabelingSession
        With the default `submit`, so that every mask is there at once.
    operations : iterable of Operation
        From `LabelingSession.operations`, a session file or a journal.
    planes : callable
        Given the key of a plane, returns its image and its labels.

    Returns
    -------
    int
        How many were done.

    Raises
    ------
    ReplayError
        If one of them cannot be done, or the session has accepted objects with the same ids; none
        has been done then.
    sam3.errors.Sam3Error
        If a plane is missing, or a mask cannot be made or written.
    """
    todo = tuple(operations)
    _check_free(session, todo)
    return replay(todo, _Target(session, planes))


def _check_free(session: LabelingSession, operations: tuple[Operation, ...]) -> None:
    """Refuse ids that accepted objects have: two objects would become one."""
    made = {accepted.id for operation in operations for accepted in operation.objects}
    made |= {label for one in operations if one.kind == "split" for label in one.labels[1:]}
    taken = sorted(made & {accepted.id for accepted in session.objects})
    if taken:
        names = ", ".join(map(str, taken[:5])) + (", ..." if len(taken) > 5 else "")
        raise ReplayError(
            f"the labels already hold accepted objects with ids to be replayed: {names}. Replay "
            "into a new labels layer, or undo these objects first"
        )


class _Target:
    """A session as a `ReplayTarget`."""

    def __init__(self, session: LabelingSession, planes: Planes) -> None:
        self._session, self._planes = session, planes
        self._batch: Hashable = None

    def accept(self, objects: Sequence[AcceptedObject], policy: Policy) -> None:
        self._go_to(objects[0].plane)
        self._session.make_again(objects, policy)

    def delete(self, plane: Hashable, labels: Sequence[int]) -> None:
        self._go_to(plane)
        for label in labels:
            self._session.delete(label)

    def merge(self, plane: Hashable, labels: Sequence[int]) -> None:
        self._go_to(plane)
        self._session.merge(labels)

    def split(self, plane: Hashable, labels: Sequence[int]) -> None:
        self._go_to(plane)
        self._session.split(labels[0], labels[1:])

    def paint(self, writes: Sequence[LabelWrite]) -> None:
        for write in writes:
            self._go_to(write.plane)
            self._session.paint(write)

    def batch(self, operation: Operation) -> None:
        # Planes in a row were one batch, or may as well have been.
        batch = self._batch or object()
        self._go_to(operation.plane)
        self._batch = batch
        self._session.batch_again(operation, batch)

    def _go_to(self, key: Hashable) -> None:
        self._batch = None
        if self._session.plane_key != key:
            image, labels = self._planes(key)
            self._session.set_plane(image, key, labels)
