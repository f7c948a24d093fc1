"""Operations replayed in a session: the same ids, the same masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

import numpy as np

from napari_sam3.core.operations import Operation, ReplayError, check_operation
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.labels.targets import LabelTarget

from .session import LabelingSession

__all__ = ["replay_into"]

#: Gives the image and the labels of a plane by its key.
Planes = Callable[[Hashable], tuple[PlaneImage, LabelTarget]]


def replay_into(session: LabelingSession, operations: Iterable[Operation], planes: Planes) -> int:
    """Replay operations in a session, oldest first, each on its own plane.

    All are checked before the first is done.

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
    for number, operation in enumerate(todo):
        check_operation(operation, number)
    _check_free(session, todo, planes)
    batch: Hashable = None
    for operation in todo:
        # Planes in a row were one batch, or may as well have been.
        batch = (batch or object()) if operation.kind == "batch" else None
        _replay_one(session, operation, planes, batch)
    return len(todo)


def _replay_one(
    session: LabelingSession, operation: Operation, planes: Planes, batch: Hashable
) -> None:
    labels = operation.labels
    if operation.kind != "paint":
        _go_to(session, operation.plane, planes)
    match operation.kind:
        case "accept":
            session.make_again(operation.objects, operation.policy)
        case "delete":
            for label in labels:
                session.delete(label)
        case "merge":
            session.merge(labels)
        case "split":
            session.split(labels[0], labels[1:])
        case "paint":  # a stroke of an n-D brush may lie on several planes
            for write in operation.writes:
                _go_to(session, write.plane, planes)
                session.paint(write)
        case "batch":
            session.batch_again(operation, batch)


def _go_to(session: LabelingSession, key: Hashable, planes: Planes) -> None:
    if session.plane_key != key:
        image, labels = planes(key)
        session.set_plane(image, key, labels)


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
