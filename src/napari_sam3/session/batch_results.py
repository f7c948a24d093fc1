"""What a batch found, or a journal left, written into labels: one step to be undone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask, Region
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, Policy
from napari_sam3.core.rendering import Rendering
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.targets import LabelTarget, check_id_fits
from napari_sam3.records.packed import PackedWrite

from .accepting import drawn_region
from .changes import Changes
from .describing import Maker, describe_written
from .drafts import DraftsByPlane
from .history import History, Step
from .options import SessionOptions

if TYPE_CHECKING:
    from napari_sam3.core.objects import Instance
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.labels.painting import Extent
    from napari_sam3.records.recovery import Restored
    from sam3.predictor import Predictor

    from .restoring import RestoreResult, Start

__all__ = ["BatchResults", "BatchWriting"]

# Labels are looked at in pieces of this side, so that planes of any size can be written.
PIECE = 2048


@dataclass(frozen=True, eq=False)
class BatchWriting:
    """What all planes of a batch have in common; from `LabelingSession.begin_batch`.

    Parameters
    ----------
    first : int
        Added to the ids of the batch, which begin at 1, as long as what comes of it is free.
    policy : {"keep", "overwrite", "inside"}
        What is done about pixels of labels that were there before. Inside leaves them alone, too,
        and cuts an object off at its drawn box or outline where it has one.
    category : str
        Class of its objects.
    level : int, optional
        Pyramid level, where it was pinned.
    ids : dict from int to int
        The label that each id of the batch got so far.
    """

    first: int
    policy: Policy
    category: str
    level: int | None
    ids: dict[int, int] = field(default_factory=dict)


class BatchResults:
    """Writes objects that were not made by a person's prompts, each plane a step of its own.

    Parameters
    ----------
    options : SessionOptions
        Policy, class and level of what is written.
    changes : Changes
        Takes the steps.
    drafts : DraftsByPlane
        Give the current plane, and numbers for the objects.
    history : History
        Notes objects and steps.
    """

    def __init__(
        self, options: SessionOptions, changes: Changes, drafts: DraftsByPlane, history: History
    ) -> None:
        self._options, self._changes, self._drafts = options, changes, drafts
        self._history, self._objects = history, history.objects
        self.all_or_nothing = changes.all_or_nothing

    def begin(self, labels: LabelTarget) -> BatchWriting:
        """Begin to write what a batch finds; its ids follow the largest one in the labels.

        Parameters
        ----------
        labels : LabelTarget
            Any plane of the label image.
        """
        options = self._options
        first = self._objects.highest(labels)
        return BatchWriting(first, options.policy, options.category, options.level)

    def write(
        self,
        batch: BatchWriting,
        key: Hashable,
        labels: LabelTarget,
        objects: Sequence[Instance],
        predictor: Predictor | Maker,
        rendering: Rendering,
    ) -> tuple[AcceptedObject, ...]:
        """Write what a batch found on one plane. Undo takes back all planes written in a row.

        Parameters
        ----------
        batch : BatchWriting
            Which batch.
        key : hashable
            Key of the plane.
        labels : LabelTarget
            The plane's labels.
        objects : sequence of Instance
            In the order in which they are painted: an earlier one keeps its pixels.
        predictor : Predictor or Maker
            What found them.
        rendering : Rendering
            How it saw the plane.

        Returns
        -------
        tuple of AcceptedObject
            Those of which something is to be seen.

        Raises
        ------
        LabelError
            If the labels are gone or cannot hold the ids; nothing has changed then.
        """
        ids = self._number(batch, labels, objects)
        numbered = [
            replace(one, id=ids[one.id], mask=_cut(one, batch.policy, labels.shape))
            for one in objects
        ]
        wanted = [one for one in numbered if not one.mask.is_empty]
        step = self._changes.begin(key)
        step.source, step.batch = labels.source, batch
        step.policy, step.category = batch.policy, batch.category
        accepted = [
            self._describe(one, extent, step, predictor, rendering, batch)
            for one, extent in zip(wanted, _paint(step, labels, wanted), strict=True)
            if extent.area
        ]
        # An id of which nothing is to be seen yet may be given to another object meanwhile.
        written = {one.id for one in accepted}
        step.fresh |= {label for one, label in ids.items() if one not in batch.ids} & written
        batch.ids.update((one, label) for one, label in ids.items() if label in written)
        self._keep(step, labels, accepted)
        return tuple(accepted)

    def write_again(self, operation: Operation, batch: Hashable) -> None:
        """Write on the present plane what a batch left there.

        Parameters
        ----------
        operation : Operation
            Of the kind "batch".
        batch : hashable
            Planes in a row with the same one are undone together.

        Raises
        ------
        LabelError
            If it does not lie on the plane.
        """
        plane = self._drafts.need_plane()
        height, width = plane.shape
        for write in operation.writes:
            rows, columns = write.region
            if rows.stop > height or columns.stop > width:
                raise LabelError(
                    f"a batch wrote up to row {rows.stop} and column {columns.stop}, but the "
                    f"plane has {height} x {width} px; choose the image it was made for"
                )
        step = self._changes.begin(plane.key)
        step.source, step.batch, step.policy = plane.labels.source, batch, operation.policy
        for write in operation.writes:
            edit = LabelEdit.between(plane.labels, write.region, write.values)
            if edit is not None:
                step.apply(edit)
        self._keep(step, plane.labels, operation.objects)

    def restore(
        self, restored: Restored, target_of: Callable[[PlaneIndex], LabelTarget], start: Start
    ) -> RestoreResult:
        """Write what a journal left behind, and note its objects. One step for undo.

        Pixels of labels that are there stay as they are, and ids that are in use are not used
        again; see `plan_restore`.

        Parameters
        ----------
        restored : Restored
            From `read_journal`, with `PlaneIndex` as the keys of planes.
        target_of : callable
            Called with a plane; returns its labels.
        start : {"same", "empty", "given"}
            What the labels were when the journal began.

        Raises
        ------
        LabelError
            If the labels are gone or cannot hold the ids; nothing has changed then.
        RecordError
            If pixels cannot be unpacked; nothing has changed then.
        """
        from .restoring import plan_restore

        plan = plan_restore(restored, target_of, self._objects.highest, start)
        batch, steps = object(), []
        for plane in plan.planes:
            labels, key = plane.target, plane.target.key
            step = self._changes.begin(key)
            step.source, step.batch, step.policy = labels.source, batch, "keep"
            step.fresh = set(plan.fresh)
            if plane.edit is not None:
                step.apply(plane.edit)
            # An object that was accepted here as well keeps what is known of it.
            news = [
                pair for pair in plane.objects if self._objects.find(labels, pair[0].id) is None
            ]
            self._history.exchange(step, (), news)
            objects = tuple(one for one, _ in news)
            if not step.edits and not objects:
                continue
            self._objects.use_up(labels, max((one.id for one in objects), default=0))
            writes = step.writes() or tuple(_pixels_of(labels, one) for one in objects)
            step.operation = Operation(
                "batch" if objects else "paint",
                key,
                objects=objects,
                policy="keep",
                writes=tuple(PackedWrite.of(write) for write in writes),
            )
            self._history.push(step)
            steps.append(step)
        linked = (self._link(*link, batch) for link in plan.links)
        steps += [one for one in linked if one is not None]
        self._changes.tell_all(steps)
        return plan.result

    def _link(self, labels: LabelTarget, parent: int, child: int, batch: Hashable) -> Step | None:
        edit = self._history.links.edit(labels.source, child, (parent,))
        if edit is None:
            return None
        step = self._changes.begin(labels.key)
        step.source, step.batch = labels.source, batch
        step.operation = Operation("link", labels.key, labels=(parent, child))
        step.apply(edit)
        self._history.push(step)
        return step

    def _number(
        self, batch: BatchWriting, labels: LabelTarget, objects: Iterable[Instance]
    ) -> dict[int, int]:
        """Return the label of each id of the batch, with those of objects that are new."""
        present = {one.id for one in objects}
        ids = dict(batch.ids)
        news = sorted(present - ids.keys())
        # Labels may have been accepted, or written by others, since the plane before.
        highest = self._objects.highest(labels) if news else 0
        for number in news:
            ids[number] = highest = max(highest + 1, batch.first + number)
        check_id_fits(max((ids[number] for number in present), default=0), labels.dtype)
        return ids

    def _keep(self, step: Step, labels: LabelTarget, accepted: Sequence[AcceptedObject]) -> None:
        if not accepted or not step.edits:
            return
        self._objects.use_up(labels, max(one.id for one in accepted))
        pairs = [(one, _written(labels, one)) for one in accepted]
        self._history.exchange(step, (), pairs)
        step.operation = Operation(
            "batch",
            step.key,
            objects=tuple(accepted),
            policy=step.policy,
            writes=tuple(PackedWrite.of(write) for write in step.writes()),
        )
        self._changes.finish(step, more=True)

    def _describe(
        self,
        one: Instance,
        extent: Extent,
        step: Step,
        predictor: Predictor | Maker,
        rendering: Rendering,
        batch: BatchWriting,
    ) -> AcceptedObject:
        turns = () if one.prompts.is_empty else (Turn(one.prompts),)
        return describe_written(
            one.id,
            step.key,
            extent.bbox,
            extent.area,
            one.score,
            Draft(self._drafts.new_number(), turns),
            predictor,
            rendering,
            level=batch.level,
            category=batch.category,
        )


def _paint(step: Step, labels: LabelTarget, objects: Sequence[Instance]) -> Sequence[Extent]:
    """Write objects into labels as a part of a step; returns what is to be seen of each."""
    from napari_sam3.labels.painting import paint_plane

    edits: list[LabelEdit] = []

    def note(region: Region, painted: npt.NDArray[Any]) -> None:
        if not painted.any():
            return
        values = labels.read(region)
        if step.policy != "overwrite":
            painted[values != 0] = 0  # so that what is measured is what is written
        np.copyto(values, painted, casting="unsafe", where=painted != 0)
        edit = LabelEdit.between(labels, region, values)
        if edit is not None:
            edits.append(edit)

    extents = paint_plane(objects, labels.shape, (PIECE, PIECE), note)
    for edit in edits:
        step.apply(edit)
    return extents


def _cut(one: Instance, policy: Policy, shape: tuple[int, int]) -> PlaneMask:
    drawn = drawn_region(one.prompts, shape) if policy == "inside" else None
    if drawn is None or one.mask.is_empty:
        return one.mask
    inside = one.mask.crop & drawn.within(one.mask.region)
    return PlaneMask.from_array(inside, one.mask.row, one.mask.column)


def _pixels_of(labels: LabelTarget, one: AcceptedObject) -> LabelWrite:
    y0, x0, y1, x1 = one.bbox
    region = slice(y0, y1), slice(x0, x1)
    return LabelWrite(labels.key, region, labels.read(region))


def _written(labels: LabelTarget, one: AcceptedObject) -> PlaneMask:
    y0, x0, y1, x1 = one.bbox
    values = labels.read((slice(y0, y1), slice(x0, x1)))
    return PlaneMask.from_array(values == one.id, y0, x0)
