"""A session that does again what was done before: the same ids, the same masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

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
        If one of them cannot be done, the labels already hold an id that it gives, or pixels of
        accepted objects would be overwritten; none has been done then.
    sam3.errors.Sam3Error
        If a plane is missing, or a mask cannot be made or written.
    """
    todo = tuple(operations)
    _check_free(session, todo, planes)
    return replay(todo, _Target(session, planes))


def _check_free(
    session: LabelingSession, operations: tuple[Operation, ...], planes: Planes
) -> None:
    """Refuse ids that are in use, and pixels of accepted objects: objects would become mixtures."""
    made = {accepted.id for one in operations for accepted in one.objects}
    named = made | {label for one in operations for label in one.labels}
    taken = named & {accepted.id for accepted in session.objects}
    if taken:
        raise _in_use("accepted objects with ids to be replayed", taken)
    # Ids that the operations gave themselves: none of them stood in the labels they began with.
    given = {one.id for op in operations for one in op.objects if one.draft.label is None}
    given |= {label for one in operations if one.kind == "split" for label in one.labels[1:]}
    if operations and given:
        _, labels = planes(operations[0].plane)
        taken = {label for label in given if labels.holds(label)}
        if taken:
            raise _in_use("labels with ids to be replayed", taken)
    for operation in operations if session.objects else ():
        _check_pixels(session, operation, planes)


def _check_pixels(session: LabelingSession, operation: Operation, planes: Planes) -> None:
    """Refuse to write over objects that were accepted in this session."""
    for write in operation.writes:
        _, labels = planes(write.plane)
        ids = [accepted.id for accepted in session.objects_in(labels.source)]
        now = labels.read(write.region)
        # Pixels that keep their object are no loss; new pixels of its id are none of its own.
        lost = (now != write.values) & (np.isin(now, ids) | np.isin(write.values, ids))
        if lost.any():
            both = {*now[lost].tolist(), *write.values[lost].tolist()}
            raise _in_use("accepted objects where pixels are to be replayed", both & set(ids))
    if operation.kind == "accept" and operation.policy == "overwrite":
        # How far a mask reaches is known once it is predicted: all objects there are at risk.
        _, labels = planes(operation.plane)
        objects = session.objects_in(labels.source)
        ids = [accepted.id for accepted in objects]
        taken = {accepted.id for accepted in objects if accepted.plane == operation.plane}
        for y0, x0, y1, x1 in (accepted.bbox for accepted in operation.objects):
            now = labels.read((slice(y0, y1), slice(x0, x1)))
            taken |= set(now[np.isin(now, ids)].tolist())
        if taken:
            raise _in_use("accepted objects on a plane to be overwritten", taken)


def _in_use(what: str, labels: set[int]) -> ReplayError:
    names = ", ".join(map(str, sorted(labels)[:5])) + (", ..." if len(labels) > 5 else "")
    return ReplayError(
        f"the labels already hold {what}: {names}. Replay into a new labels layer, or undo or "
        "delete these first"
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
