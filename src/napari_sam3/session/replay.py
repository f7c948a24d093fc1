"""Replay operations in a session, with the same ids and masks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.operations import Operation, ReplayError, check_operation
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.start import EMPTY, is_known
from napari_sam3.labels.targets import LabelTarget

if TYPE_CHECKING:
    from .history import Step
    from .session import LabelingSession

__all__ = ["is_start", "replay_into"]

#: Called with the key of a plane; returns its image and labels.
Planes = Callable[[Hashable], tuple[PlaneImage, LabelTarget]]


def replay_into(
    session: LabelingSession,
    operations: Iterable[Operation],
    planes: Planes,
    *,
    same_start: bool = False,
) -> int:
    """Replay operations in a session, oldest first: all of them, as one undo step, or none.

    The session's model predicts objects again from their recorded prompts. With the same weights,
    precision and rendering the labels are identical.

    Parameters
    ----------
    session : LabelingSession
        With the default `submit`, which predicts at once.
    operations : iterable of Operation
        From `LabelingSession.operations`, a session file or a journal.
    planes : callable
        Called with the key of a plane; returns its image and its labels.
    same_start : bool
        Whether the labels are known to be those that the operations began with. Otherwise pixels
        of labels that the operations did not make may not change.

    Returns
    -------
    int
        Number of operations.

    Raises
    ------
    ReplayError
        If an operation cannot be replayed, the labels already hold an id that it assigns, or
        pixels of other labels would change; nothing has changed then.
    sam3.errors.Sam3Error
        If a plane is missing, or a mask cannot be predicted or written; nothing has changed then.
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
            # Consecutive planes are treated as one batch.
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
        Descriptions of the labels then and now, from `describe_labels`.
    remedy : str
        Advice in the error on how to obtain the original labels.

    Raises
    ------
    ReplayError
        If they are known to differ.
    """
    if not (is_known(start) and is_known(now)):
        return False
    if now != start:
        expected = (
            "no label, as at the start of the session. Replay into a new labels layer."
            if start == EMPTY
            else f"the labels at the start of the session. {remedy}."
        )
        raise ReplayError(
            f"the labels differ from those at the start of the session. Expected {expected}"
        )
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
            session.merge(labels, [planes(operation.plane)[1]])
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
    """Raise ReplayError for ids in use, since two objects would share them."""
    given = _ids_given(operations)
    named = given | _ids_named(operations)
    taken = named & {accepted.id for accepted in session.objects_in(labels.source)}
    if taken:
        raise _in_use("accepted objects with ids to be replayed", taken)
    taken = {label for label in given if labels.holds(label)}
    if taken:
        raise _in_use("labels with ids to be replayed", taken)


def _check_changed(steps: Iterable[Step], ours: Mapping[Hashable, frozenset[int]]) -> None:
    """Raise ReplayError for steps that changed pixels of other labels."""
    edits = [edit for step in steps for edit in step.edits if isinstance(edit, LabelEdit)]
    theirs = {label for edit in edits for label in edit.ids() - ours[edit.target.source]}
    if theirs:
        raise _in_use("other labels where pixels are to be replayed", theirs)


def _ids_given(operations: Sequence[Operation]) -> set[int]:
    """Return the ids that operations assigned to new objects."""
    given = {one.id for op in operations for one in op.objects if one.draft.label is None}
    for operation in operations:
        if operation.kind == "split" or (operation.kind == "link" and operation.writes):
            given |= set(operation.labels[1:])
    return given


def _ids_named(operations: Sequence[Operation]) -> set[int]:
    made = {accepted.id for one in operations for accepted in one.objects}
    return made | {label for one in operations for label in one.labels}


def _ids_made(labels: LabelTarget, operations: Sequence[Operation]) -> frozenset[int]:
    """Return 0 and the ids of operations that the labels do not hold yet."""
    painted = (write.values for one in operations for write in one.writes)
    ids = _ids_named(operations) | {int(label) for part in painted for label in np.unique(part)}
    return frozenset({0} | {label for label in ids if label and not labels.holds(label)})


def _in_use(what: str, labels: set[int]) -> ReplayError:
    names = ", ".join(map(str, sorted(labels)[:5])) + (", ..." if len(labels) > 5 else "")
    return ReplayError(
        f"the labels already hold {what}: {names}. Expected the labels at the start of the "
        "session. Replay into a new labels layer, or undo or delete these first."
    )
