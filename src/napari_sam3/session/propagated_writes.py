"""Write propagated masks into labels; all planes of a run are one undo step."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.core.drafts import Draft
from napari_sam3.core.masks import PlaneMask, around
from napari_sam3.core.operations import LabelWrite, Operation, Policy
from napari_sam3.labels.edits import LabelEdit

from .describing import describe_written
from .followed import FollowedObject, mask_now
from .history import packed

if TYPE_CHECKING:
    from napari_sam3.core.rendering import Rendering
    from napari_sam3.inference.tracking.propagate import PropagatedMask
    from napari_sam3.labels.targets import LabelTarget
    from sam3.predictor import Predictor

    from .changes import Changes
    from .drafts import DraftsByPlane
    from .history import History, Step

__all__ = ["PropagatedWrites"]

# Regions up to this many px are written at once; objects in larger ones are written one by one.
_MOST_PIXELS = 1 << 22


@dataclass(eq=False)
class PropagatedWrites:
    """Write the masks of a run, plane by plane.

    Parameters
    ----------
    changes : Changes
        Records the steps.
    drafts : DraftsByPlane
        Numbers of drafts.
    history : History
        Registry of objects and the undo stack.
    followed : mapping of int to FollowedObject
        Propagated objects, by label.
    policy : {"keep", "overwrite", "inside"}
        Write policy for pixels of other labels; "inside" keeps them, too.
    origin : hashable
        Key of the plane on which the user acted.

    Attributes
    ----------
    planes : set of int
        Planes with a propagated mask.
    labels : set of int
        Labels with a propagated mask.
    """

    changes: Changes
    drafts: DraftsByPlane
    history: History
    followed: Mapping[int, FollowedObject]
    policy: Policy
    origin: Hashable
    planes: set[int] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)
    _last: Step | None = field(default=None, init=False)
    _operations: list[Operation] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Insert the steps of the run behind the last step."""
        self._last = self.history.done[-1] if self.history.done else None

    def follow(self, step: Step) -> None:
        """Make the steps of the run one undo step with an earlier one, behind which they go."""
        step.batch, self._last = self, step
        if step.operation is not None:
            self._operations.append(step.operation)

    def holds(self, operation: Operation) -> bool:
        """Whether an operation belongs to this run."""
        return any(known is operation for known in self._operations)

    def write(
        self,
        plane: int,
        target: LabelTarget,
        masks: Iterable[PropagatedMask],
        predictor: Predictor,
        rendering: Rendering,
    ) -> None:
        """Write the masks of a plane, replacing earlier propagated ones.

        Pixels that the user gave to an object stay: prompted masks, and pixels of unknown origin.

        Raises
        ------
        LabelError
            If the labels were deleted.
        """
        found = {one.object_id: one for one in masks if not one.prompted}
        news = {label: one.mask for label, one in found.items()}
        step = self._begin(target)
        written = self._paint(step, plane, target, news)
        if written:
            accepted = [
                (
                    describe_written(
                        label,
                        step.key,
                        mask.bbox,
                        mask.area,
                        found[label].score,
                        Draft(self.drafts.new_number(), label=label),
                        predictor,
                        rendering,
                        category=self.followed[label].category,
                    ),
                    mask,
                )
                for label, mask in written.items()
            ]
            self.planes.add(plane)
            self.labels |= written.keys()
            known = [self.followed[label].found.pop(plane, None) for label in written]
            self.history.exchange(step, [one for one in known if one is not None], accepted)
            objects = tuple(one for one, _ in accepted)
            # Unchanged masks are recorded as well, with their new time.
            writes = step.writes() or tuple(_as_is(target, mask) for mask in written.values())
            step.operation = Operation(
                "batch", step.key, objects=objects, policy=self.policy, writes=packed(writes)
            )
            self._finish(step)
        self.clear(plane, target, news.keys() - written.keys())

    def clear(self, plane: int, target: LabelTarget, labels: Iterable[int]) -> None:
        """Erase propagated masks of objects on a plane; raises LabelError."""
        for label in labels:
            known = self.followed[label].found.pop(plane, None)
            old = None if known is None else mask_now(target, label, known)
            if known is None or old is None:
                continue
            values = target.read(old.region)
            values[old.crop] = 0
            edit = LabelEdit.between(target, old.region, values)
            assert edit is not None
            step = self._begin(target)
            step.apply(edit)
            step.operation = Operation("delete", step.key, labels=(label,))
            self.history.exchange(step, [known], [])
            self._finish(step)

    def _paint(
        self, step: Step, plane: int, target: LabelTarget, news: Mapping[int, PlaneMask]
    ) -> dict[int, PlaneMask]:
        """Write masks, and return the visible part of each."""
        olds = {
            label: old
            for label in news
            if (known := self.followed[label].found.get(plane)) is not None
            and (old := mask_now(target, label, known)) is not None
        }
        wanted = {label: mask for label, mask in news.items() if not mask.is_empty}
        if not wanted:
            return {}
        region = around(list(wanted.values()))
        height, width = (part.stop - part.start for part in region)
        groups = [wanted] if height * width <= _MOST_PIXELS else [{n: wanted[n]} for n in wanted]
        written: dict[int, PlaneMask] = {}
        for group in groups:
            self._paint_group(step, target, group, olds, written)
        return written

    def _paint_group(
        self,
        step: Step,
        target: LabelTarget,
        news: Mapping[int, PlaneMask],
        olds: Mapping[int, PlaneMask],
        written: dict[int, PlaneMask],
    ) -> None:
        replaced = [olds[label] for label in news if label in olds]
        region = around([*news.values(), *replaced])
        before = target.read(region)
        values = before.copy()
        for label in news.keys() & olds.keys():
            values[olds[label].within(region) & (values == label)] = 0
        for label, mask in news.items():
            if (values == label).any():  # pixels of the user
                continue
            free = mask.within(region)
            taken = np.isin(values, list(written)) if self.policy == "overwrite" else values != 0
            free &= ~taken
            if free.any():
                values[free] = label
                written[label] = PlaneMask.from_array(free, region[0].start, region[1].start)
        kept = [label for label in news.keys() & olds.keys() if label not in written]
        for label in kept:  # erased later, in a step of its own
            values[olds[label].within(region) & (before == label)] = label
        edit = LabelEdit.between(target, region, values, before)
        if edit is not None:
            step.apply(edit)

    def _begin(self, target: LabelTarget) -> Step:
        step = self.changes.begin(target.key)
        step.source, step.batch, step.policy = target.source, self, self.policy
        step.origin = self.origin
        return step

    def _finish(self, step: Step) -> None:
        assert step.operation is not None
        self._operations.append(step.operation)
        # Behind the steps of the run, so that undo reverts them as one, except with "overwrite":
        # there, pixels taken from newer objects must be restored in reverse order of writing.
        behind = None if self.policy == "overwrite" else self._last
        self.changes.finish(step, more=True, behind=behind)
        self._last = step


def _as_is(target: LabelTarget, mask: PlaneMask) -> LabelWrite:
    return LabelWrite(target.key, mask.region, target.read(mask.region))
