"""Write the instances of a batch, or a restored journal, into labels as one undo step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask, Region
from napari_sam3.core.operations import LabelWrite, Operation, Policy
from napari_sam3.labels.edits import LabelEdit
from napari_sam3.labels.targets import LabelTarget, check_id_fits

from .accepting import drawn_region
from .describing import Maker, describe_written
from .history import packed

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject, Instance
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.core.rendering import Rendering
    from napari_sam3.labels.painting import Extent
    from napari_sam3.records.recovery import Restored
    from sam3.predictor import Predictor

    from .changes import Changes
    from .drafts import DraftsByPlane
    from .history import History, Step
    from .options import SessionOptions
    from .restoring import RestoredPlane, RestoreResult, Start

__all__ = ["BatchResults", "BatchWriting"]

# Labels are read in tiles of this side, so that planes of any size can be written.
PIECE = 2048


@dataclass(frozen=True, eq=False)
class BatchWriting:
    """Settings shared by all planes of a batch; from `LabelingSession.begin_batch`.

    Parameters
    ----------
    first : int
        Offset of the batch's ids, which begin at 1. An id that is in use is replaced by a free one.
    policy : {"keep", "overwrite", "inside"}
        Write policy for pixels of existing labels. "inside" keeps them, and crops an object to
        its drawn box or outline if it has one.
    category : str
        Class of the objects.
    level : int, optional
        Pinned pyramid level.
    ids : dict from int to int
        Label of each id of the batch that was written so far.
    """

    first: int
    policy: Policy
    category: str
    level: int | None
    ids: dict[int, int] = field(default_factory=dict)


class BatchResults:
    """Write objects that were not drawn interactively, one step per plane.

    Parameters
    ----------
    options : SessionOptions
        Policy, class and level of the objects.
    changes : Changes
        Records the steps.
    drafts : DraftsByPlane
        Current plane, and numbers of drafts.
    history : History
        Registry of objects and the undo stack.
    """

    def __init__(
        self, options: SessionOptions, changes: Changes, drafts: DraftsByPlane, history: History
    ) -> None:
        self._options, self._changes, self._drafts = options, changes, drafts
        self._history, self._objects = history, history.objects
        self.all_or_nothing = changes.all_or_nothing

    def begin(self, labels: LabelTarget) -> BatchWriting:
        """Begin writing a batch; its ids follow the largest one in the labels.

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
        """Write the instances of one plane. Undo reverts all consecutive planes of a batch.

        Parameters
        ----------
        batch : BatchWriting
            The batch.
        key : hashable
            Key of the plane.
        labels : LabelTarget
            The plane's labels.
        objects : sequence of Instance
            In the order of painting: an earlier one keeps its pixels.
        predictor : Predictor or Maker
            Predictor that found them.
        rendering : Rendering
            How the plane was converted to 8 bits.

        Returns
        -------
        tuple of AcceptedObject
            Those with at least one pixel in the labels.

        Raises
        ------
        LabelError
            If the labels are gone or cannot hold the ids; nothing has changed then.
        """
        ids = self._number(batch, labels, objects)
        numbered = [
            replace(instance, id=ids[instance.id], mask=_cut(instance, batch.policy, labels.shape))
            for instance in objects
        ]
        wanted = [instance for instance in numbered if not instance.mask.is_empty]
        step = self._changes.begin(key)
        step.source, step.batch = labels.source, batch
        step.policy, step.category = batch.policy, batch.category
        accepted = [
            self._describe(instance, extent, step, predictor, rendering, batch)
            for instance, extent in zip(wanted, _paint(step, labels, wanted), strict=True)
            if extent.area
        ]
        # The id of an object without pixels may be given to another object later.
        written = {instance.id for instance in accepted}
        step.fresh |= {
            label for instance, label in ids.items() if instance not in batch.ids
        } & written
        batch.ids.update((instance, label) for instance, label in ids.items() if label in written)
        self._keep(step, labels, accepted)
        return tuple(accepted)

    def write_again(self, operation: Operation, batch: Hashable) -> None:
        """Write the recorded pixels of a batch to the current plane.

        Parameters
        ----------
        operation : Operation
            Operation of the kind "batch".
        batch : hashable
            Consecutive planes with the same value are undone together.

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
                    f"the batch does not fit the plane of {height} x {width} px: it wrote up to "
                    f"row {rows.stop} and column {columns.stop}. Expected the image it was made "
                    "for. Choose that image."
                )
        step = self._changes.begin(plane.key)
        step.source, step.batch, step.policy = plane.labels.source, batch, operation.policy
        for write in operation.writes:
            edit = LabelEdit.between(plane.labels, write.region, write.values)
            if edit is not None:
                step.apply(edit)
        known = self._objects.find_all(plane.labels, [one.id for one in operation.objects])
        self._keep(step, plane.labels, operation.objects, known, operation.writes)

    def restore(
        self, restored: Restored, target_of: Callable[[PlaneIndex], LabelTarget], start: Start
    ) -> RestoreResult:
        """Write the labels of a journal, and register its objects, as one undo step.

        Existing labels keep their pixels, and ids in use are not used again; see `plan_restore`.

        Parameters
        ----------
        restored : Restored
            From `read_journal`, with `PlaneIndex` as the keys of planes.
        target_of : callable
            Called with a plane; returns its labels.
        start : {"same", "empty", "given"}
            State of the labels when the journal began.

        Raises
        ------
        LabelError
            If the labels are gone or cannot hold the ids; nothing has changed then.
        RecordError
            If pixels cannot be decompressed; nothing has changed then.
        """
        from .restoring import plan_restore

        plan = plan_restore(restored, target_of, self._objects.highest, start)
        with self.all_or_nothing():
            steps = [one for plane in plan.planes if (one := self._put_back(plane, plan.fresh))]
            linked = (self._link(*link) for link in plan.links)
            steps += [one for one in linked if one is not None]
            for step in steps:
                self._changes.emit(step)
        self._drafts.emit_masks()
        return plan.result

    def _put_back(self, plane: RestoredPlane, fresh: Iterable[int]) -> Step | None:
        """Write the restored labels of a plane, register its objects, and drop their drafts."""
        labels, key = plane.target, plane.target.key
        after = self._drafts.on(key)
        # A session that was saved before its last objects were accepted holds their drafts as they
        # were then.
        for draft in after.drafts:
            turns = len(draft.turns)
            if turns and any(one.draft.turns[:turns] == draft.turns for one, _ in plane.objects):
                after = after.without(draft.number)
        step = self._changes.begin(key, after)
        step.source, step.policy, step.fresh = labels.source, "keep", set(fresh)
        if plane.edit is not None:
            step.apply(plane.edit)
        # An object that is already registered here keeps its description.
        news = [pair for pair in plane.objects if self._objects.find(labels, pair[0].id) is None]
        self._history.exchange(step, (), news)
        objects = tuple(one for one, _ in news)
        if not step.edits and not objects:
            return None
        self._objects.use_up(labels, max((one.id for one in objects), default=0))
        writes = step.writes() or tuple(_pixels_of(labels, one) for one in objects)
        step.operation = Operation(
            "batch" if objects else "paint",
            key,
            objects=objects,
            policy="keep",
            writes=packed(writes),
        )
        self._history.push(step)
        self._drafts.put(key, after)
        return step

    def _link(self, labels: LabelTarget, parent: int, child: int) -> Step | None:
        edit = self._history.links.edit(labels.source, child, (parent,))
        if edit is None:
            return None
        step = self._changes.begin(labels.key)
        step.source = labels.source
        step.operation = Operation("link", labels.key, labels=(parent, child))
        step.apply(edit)
        self._history.push(step)
        return step

    def _number(
        self, batch: BatchWriting, labels: LabelTarget, objects: Iterable[Instance]
    ) -> dict[int, int]:
        """Return the label of each id of the batch, including new objects."""
        present = {one.id for one in objects}
        ids = dict(batch.ids)
        news = sorted(present - ids.keys())
        # Labels may have been accepted or painted since the previous plane.
        highest = self._objects.highest(labels) if news else 0
        for number in news:
            ids[number] = highest = max(highest + 1, batch.first + number)
        check_id_fits(max((ids[number] for number in present), default=0), labels.dtype)
        return ids

    def _keep(
        self,
        step: Step,
        labels: LabelTarget,
        accepted: Sequence[AcceptedObject],
        gone: Sequence[AcceptedObject] = (),
        as_is: tuple[LabelWrite, ...] = (),
    ) -> None:
        """Note objects that were written; `as_is` where only their records change."""
        if not accepted or not (step.edits or as_is):
            return
        self._objects.use_up(labels, max(one.id for one in accepted))
        pairs = [(one, _written(labels, one)) for one in accepted]
        self._history.exchange(step, gone, pairs)
        step.operation = Operation(
            "batch",
            step.key,
            objects=tuple(accepted),
            policy=step.policy,
            writes=packed(step.writes()) or as_is,
        )
        self._changes.finish(step, more=True)

    def _describe(
        self,
        instance: Instance,
        extent: Extent,
        step: Step,
        predictor: Predictor | Maker,
        rendering: Rendering,
        batch: BatchWriting,
    ) -> AcceptedObject:
        turns = () if instance.prompts.is_empty else (Turn(instance.prompts),)
        return describe_written(
            instance.id,
            step.key,
            extent.bbox,
            extent.area,
            instance.score,
            Draft(self._drafts.new_number(), turns),
            predictor,
            rendering,
            level=batch.level,
            category=batch.category,
        )


def _paint(step: Step, labels: LabelTarget, objects: Sequence[Instance]) -> Sequence[Extent]:
    """Write objects into labels as a part of a step; return the visible extent of each."""
    from napari_sam3.labels.painting import paint_plane

    edits: list[LabelEdit] = []

    def note(region: Region, painted: npt.NDArray[Any]) -> None:
        if not painted.any():
            return
        values = labels.read(region)
        if step.policy != "overwrite":
            painted[values != 0] = 0  # so that only written pixels are measured
        np.copyto(values, painted, casting="unsafe", where=painted != 0)
        edit = LabelEdit.between(labels, region, values)
        if edit is not None:
            edits.append(edit)

    extents = paint_plane(objects, labels.shape, (PIECE, PIECE), note)
    for edit in edits:
        step.apply(edit)
    return extents


def _cut(instance: Instance, policy: Policy, shape: tuple[int, int]) -> PlaneMask:
    drawn = drawn_region(instance.prompts, shape) if policy == "inside" else None
    if drawn is None or instance.mask.is_empty:
        return instance.mask
    inside = instance.mask.crop & drawn.within(instance.mask.region)
    return PlaneMask.from_array(inside, instance.mask.row, instance.mask.column)


def _pixels_of(labels: LabelTarget, one: AcceptedObject) -> LabelWrite:
    y0, x0, y1, x1 = one.bbox
    region = slice(y0, y1), slice(x0, x1)
    return LabelWrite(labels.key, region, labels.read(region))


def _written(labels: LabelTarget, one: AcceptedObject) -> PlaneMask:
    y0, x0, y1, x1 = one.bbox
    values = labels.read((slice(y0, y1), slice(x0, x1)))
    return PlaneMask.from_array(values == one.id, y0, x0)
