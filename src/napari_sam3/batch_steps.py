"""What a batch found, written into labels plane by plane: one step to whoever takes it back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .curating import Curating
from .drafts import Draft, Turn
from .edits import LabelEdit
from .errors import LabelError
from .fields import Field
from .ledger import Step, drawn_region
from .masks import PlaneMask, Region
from .operations import AcceptedObject, Operation, Policy, Rendering
from .packed_writes import PackedWrite
from .targets import LabelTarget, check_id_fits

if TYPE_CHECKING:
    from sam3.predictor import Predictor

    from .batch import BatchObject
    from .batch.painting import Extent

__all__ = ["BatchSteps", "BatchWriting"]

# Labels are looked at in pieces of this side, so that planes of any size can be written.
PIECE = 2048


@dataclass(frozen=True, eq=False)
class BatchWriting:
    """What all planes of a batch have in common; from `LabelingSession.begin_batch`.

    Parameters
    ----------
    first : int
        Added to the ids of the batch, which begin at 1.
    policy : {"keep", "overwrite", "inside"}
        What is done about pixels of labels that were there before. Inside leaves them alone, too,
        and cuts an object off at its drawn box or outline where it has one.
    category : str
        Class of its objects.
    level : int, optional
        Pyramid level, where it was pinned.
    """

    first: int
    policy: Policy
    category: str
    level: int | None


class BatchSteps(Curating):
    """The part of `LabelingSession` that takes in what a batch found."""

    def begin_batch(self, labels: LabelTarget) -> BatchWriting:
        """Begin to write what a batch finds; its ids follow the largest one in the labels.

        Parameters
        ----------
        labels : LabelTarget
            Any plane of the label image.
        """
        first = self._ledger.highest(labels)
        return BatchWriting(first, self.policy, self.category, self.level)

    def write_batch(
        self,
        batch: BatchWriting,
        key: Hashable,
        labels: LabelTarget,
        objects: Sequence[BatchObject],
        predictor: Predictor,
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
        objects : sequence of BatchObject
            In the order in which they are painted: an earlier one keeps its pixels.
        predictor : Predictor
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
        from .batch.painting import paint_plane

        height, width = labels.shape
        numbered = [
            replace(one, id=one.id + batch.first, mask=_cut(one, batch.policy, (height, width)))
            for one in objects
        ]
        check_id_fits(max((one.id for one in numbered), default=0), labels.dtype)
        step = self._step(key, self.hand_on(key), self.hand_on(key))
        step.source, step.batch = labels.source, batch
        step.policy, step.category = batch.policy, batch.category

        def note(region: Region, painted: npt.NDArray[Any]) -> None:
            if not painted.any():
                return
            values = labels.read(region)
            if batch.policy != "overwrite":
                painted[values != 0] = 0  # so that what is measured is what is written
            np.copyto(values, painted, casting="unsafe", where=painted != 0)
            edit = LabelEdit.between(labels, region, values)
            if edit is not None:
                step.edits.append(edit)

        wanted = [one for one in numbered if not one.mask.is_empty]
        extents = paint_plane(wanted, (height, width), (PIECE, PIECE), note)
        for edit in step.edits:
            edit.apply()
        accepted = [
            self._describe(one, extent, step, predictor, rendering, batch)
            for one, extent in zip(wanted, extents, strict=True)
            if extent.area
        ]
        self._keep_batch(step, labels, accepted)
        return tuple(accepted)

    def end_batch(self) -> None:
        """Tell that no more planes of a batch are to come."""
        self.batch_ended.emit()

    def batch_again(self, operation: Operation, batch: Hashable) -> None:
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
        plane = self._need_plane()
        height, width = plane.shape
        for write in operation.writes:
            rows, columns = write.region
            if rows.stop > height or columns.stop > width:
                raise LabelError(
                    f"a batch wrote up to row {rows.stop} and column {columns.stop}, but the "
                    f"plane has {height} x {width} px; choose the image it was made for"
                )
        step = self._step(plane.key, self.hand, self.hand)
        step.source, step.batch, step.policy = plane.labels.source, batch, operation.policy
        for write in operation.writes:
            edit = LabelEdit.between(plane.labels, write.region, write.values)
            if edit is not None:
                edit.apply()
                step.edits.append(edit)
        self._keep_batch(step, plane.labels, operation.objects)

    def _keep_batch(
        self, step: Step, labels: LabelTarget, accepted: Sequence[AcceptedObject]
    ) -> None:
        if not accepted or not step.edits:
            return
        self._ledger.use_up(labels, max(one.id for one in accepted))
        pairs = [(one, _written(labels, one)) for one in accepted]
        self._ledger.exchange(step, (), pairs)
        step.operation = Operation(
            "batch",
            step.key,
            objects=tuple(accepted),
            policy=step.policy,
            writes=tuple(PackedWrite.of(write) for write in step.writes()),
        )
        self._finish_step(step, more=True)

    def _describe(
        self,
        one: BatchObject,
        extent: Extent,
        step: Step,
        predictor: Predictor,
        rendering: Rendering,
        batch: BatchWriting,
    ) -> AcceptedObject:
        y0, x0, y1, x1 = extent.bbox
        turns = () if one.prompts.is_empty else (Turn(one.prompts),)
        return AcceptedObject(
            id=one.id,
            plane=step.key,
            bbox=extent.bbox,
            area=extent.area,
            score=one.score,
            draft=Draft(self.new_number(), turns),
            field=Field(0, (y0, y1), (x0, x1)),
            candidate=0,
            level=batch.level,
            typical_size=None,
            model=predictor.config.name,
            fingerprint=predictor.fingerprint,
            precision=str(predictor.dtype).removeprefix("torch."),
            rendering=rendering,
            category=batch.category,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )


def _cut(one: BatchObject, policy: Policy, shape: tuple[int, int]) -> PlaneMask:
    drawn = drawn_region(one.prompts, shape) if policy == "inside" else None
    if drawn is None or one.mask.is_empty:
        return one.mask
    inside = one.mask.crop & drawn.within(one.mask.region)
    return PlaneMask.from_array(inside, one.mask.row, one.mask.column)


def _written(labels: LabelTarget, one: AcceptedObject) -> PlaneMask:
    y0, x0, y1, x1 = one.bbox
    values = labels.read((slice(y0, y1), slice(x0, x1)))
    return PlaneMask.from_array(values == one.id, y0, x0)
