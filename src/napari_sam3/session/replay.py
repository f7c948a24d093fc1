"""Operations replayed in a session: the same ids, the same masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np

from napari_sam3.core.operations import Operation, ReplayError, check_operation
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.start import EMPTY, is_known
from napari_sam3.labels.targets import LabelTarget

from .history import Step
from .session import LabelingSession

__all__ = ["is_start", "replay_into"]

#: Gives the image and the labels of a plane by its key.
Planes = Callable[[Hashable], tuple[PlaneImage, LabelTarget]]


def replay_into(
    session: LabelingSession,
    operations: Iterable[Operation],
    planes: Planes,
    *,
    same_start: bool = False,
) -> int:
    """Replay operations in a session, oldest first: all of them, as one step for undo, or none.

    Objects are made anew by the session's model, from the prompts they were made of: with the same
    weights, precision and rendering the labels are the same.

    Parameters
    ----------
    session : LabelingSession
        With the default `submit`, so that every mask is there at once.
    operations : iterable of Operation
        From `LabelingSession.operations`, a session file or a journal.
    planes : callable
        Called with the key of a plane, returns its image and its labels.
    same_start : bool
        The labels are known to be those that the operations began with. Otherwise no pixel may
        change that belongs to a label which the operations did not make.

    Returns
    -------
    int
        How many were done.

    Raises
    ------
    ReplayError
        If one of them cannot be done, the labels already hold an id that it gives, or pixels of
        other labels would change; none has been done then.
    sam3.errors.Sam3Error
        If a plane is missing, or a mask cannot be made or written; none has been done then.
    """
    todo = tuple(operations)
    for number, operation in enumerate(todo):
        check_operation(operation, number)
    images = _label_images(todo, planes)
    for labels, some in images.values():
        _check_ids(session, labels, some)
    ours = {source: _ids_made(labels, some) for source, (labels, some) in images.items()}
    batch: Hashable = None
    with session.all_or_nothing() as steps:
        for operation in todo:
            # Planes in a row were one batch, or may as well have been.
            batch = (batch or object()) if operation.kind == "batch" else None
            count = len(steps)
            _replay_one(session, operation, planes, batch)
            if not same_start:
                _check_changed(steps[count:], ours)
    return len(todo)


def is_start(start: str, now: str, remedy: str = "Choose these") -> bool:
    """Whether labels are known to be those that a session began with.

    Parameters
    ----------
    start, now : str
        What the labels were, and are, from `describe_labels`.
    remedy : str
        How to come to the labels that it began with.

    Raises
    ------
    ReplayError
        If they are known to be others.
    """
    if not (is_known(start) and is_known(now)):
        return False
    if now != start:
        expected = (
            "no label, as the session began with. Replay into a new labels layer"
            if start == EMPTY
            else f"the labels that the session began with. {remedy}"
        )
        raise ReplayError(f"the labels are others than the session began with. Expected {expected}")
    return True


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
        case "link":
            tail = [planes(write.plane)[1] for write in operation.writes]
            session.lineage.link(labels[0], labels[1], tail)
        case "unlink":
            session.lineage.unlink(labels[0])
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


def _label_images(
    operations: tuple[Operation, ...], planes: Planes
) -> dict[Hashable, tuple[LabelTarget, list[Operation]]]:
    """Return the operations on each label image, with one of its planes; by `source`."""
    touched = [{one.plane, *(write.plane for write in one.writes)} for one in operations]
    targets = {key: planes(key)[1] for key in {key for keys in touched for key in keys}}
    images: dict[Hashable, tuple[LabelTarget, list[Operation]]] = {}
    for operation, keys in zip(operations, touched, strict=True):
        for labels in {targets[key].source: targets[key] for key in keys}.values():
            images.setdefault(labels.source, (labels, []))[1].append(operation)
    return images


def _check_ids(
    session: LabelingSession, labels: LabelTarget, operations: Sequence[Operation]
) -> None:
    """Refuse ids that are in use: objects would become mixtures."""
    given = _ids_given(operations)
    named = given | _ids_named(operations)
    taken = named & {accepted.id for accepted in session.objects_in(labels.source)}
    if taken:
        raise _in_use("accepted objects with ids to be replayed", taken)
    taken = {label for label in given if labels.holds(label)}
    if taken:
        raise _in_use("labels with ids to be replayed", taken)


def _check_changed(steps: Iterable[Step], ours: Mapping[Hashable, frozenset[int]]) -> None:
    """Refuse steps that changed pixels of other labels."""
    edits = [edit for step in steps for edit in step.edits if isinstance(edit, LabelEdit)]
    theirs = {label for edit in edits for label in edit.ids() - ours[edit.target.source]}
    if theirs:
        raise _in_use("other labels where pixels are to be replayed", theirs)


def _ids_given(operations: Sequence[Operation]) -> set[int]:
    """Return the ids that operations gave: the labels that they began with held none of them."""
    given = {one.id for op in operations for one in op.objects if one.draft.label is None}
    renamed = [
        one for one in operations if one.kind == "split" or (one.kind == "link" and one.writes)
    ]
    return given | {label for one in renamed for label in one.labels[1:]}


def _ids_named(operations: Sequence[Operation]) -> set[int]:
    made = {accepted.id for one in operations for accepted in one.objects}
    return made | {label for one in operations for label in one.labels}


def _ids_made(labels: LabelTarget, operations: Sequence[Operation]) -> frozenset[int]:
    """Return the background, and the ids of operations that the labels do not hold yet."""
    painted = (write.values for one in operations for write in one.writes)
    ids = _ids_named(operations) | {int(label) for part in painted for label in np.unique(part)}
    return frozenset({0} | {label for label in ids if label and not labels.holds(label)})


def _in_use(what: str, labels: set[int]) -> ReplayError:
    names = ", ".join(map(str, sorted(labels)[:5])) + (", ..." if len(labels) > 5 else "")
    return ReplayError(
        f"the labels already hold {what}: {names}. Expected the labels that the session began "
        "with. Replay into a new labels layer, or undo or delete these first"
    )
