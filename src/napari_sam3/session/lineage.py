"""Commands that say which label came from which: a division, a link, a link taken away."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import Operation
from napari_sam3.core.tracks import Parents, TrackError, check_circle
from napari_sam3.labels.edits import LabelEdit, mask_of_label
from napari_sam3.labels.targets import LabelTarget, check_id_fits
from napari_sam3.records.packed import PackedWrite

from .changes import Changes
from .drafts import DraftsByPlane
from .history import History, Step

__all__ = ["Lineage"]


class Lineage:
    """The parents of labels. The labels may be any; who looks at time is the caller.

    Parameters
    ----------
    changes : Changes
        Takes the steps.
    drafts : DraftsByPlane
        Knows the current plane, whose label image is meant.
    history : History
        Has the links and the objects.
    """

    def __init__(self, changes: Changes, drafts: DraftsByPlane, history: History) -> None:
        self._changes, self._drafts, self._history = changes, drafts, history

    def parents_in(self, source: Hashable) -> dict[int, tuple[int, ...]]:
        """Return the parents of each label of an image that has any; see `LabelTarget.source`."""
        return self._history.links.within(source)

    def begin(self, source: Hashable, parents: Parents) -> None:
        """Note the links that a label image came with. No step: nobody did it here."""
        self._history.links.begin(source, parents)

    def link(self, parent: int, child: int = 0, tail: Sequence[LabelTarget] = ()) -> int:
        """Make a label the child of another one, its only parent. A step that can be undone.

        Parameters
        ----------
        parent : int
            A label of the image of the current plane.
        child : int
            Another one. With a tail it is a new id, the next free one if not given.
        tail : sequence of LabelTarget
            Planes on which pixels of the parent become the child's.

        Returns
        -------
        int
            The child.

        Raises
        ------
        TrackError
            If a label is not there, or would be its own ancestor.
        LabelError
            If there is no free id, or a plane of the tail does not have the parent.
        """
        plane, objects = self._drafts.need_plane(), self._history.objects
        labels = plane.labels
        if tail:
            child = child or objects.free_id(labels)
            check_id_fits(child, labels.dtype)
        for label in (parent,) if tail else (parent, child):
            if label <= 0 or not labels.holds(label):
                raise TrackError(
                    f"track {label} has no pixels, so it cannot be linked. Expected a label of "
                    "these labels. Choose one that is there"
                )
        check_circle(self.parents_in(labels.source) | {child: (parent,)})
        masks = [mask_of_label(target, parent) for target in tail]
        step = self._changes.begin(plane.key)
        step.source = labels.source
        edit = self._history.links.edit(labels.source, child, (parent,))
        if edit is not None:
            step.apply(edit)
        elif not tail:
            return child
        for target, mask in zip(tail, masks, strict=True):
            self._rename(step, target, mask, parent, child)
        if tail:
            objects.use_up(labels, child)
            step.fresh.add(child)
        writes = tuple(PackedWrite.of(write) for write in step.writes())
        step.operation = Operation("link", plane.key, labels=(parent, child), writes=writes)
        self._changes.finish(step)
        return child

    def unlink(self, child: int) -> None:
        """Take the parents of a label away, if it has any. A step that can be undone."""
        plane = self._drafts.need_plane()
        edit = self._history.links.edit(plane.labels.source, child, ())
        if edit is None:
            return
        step = self._changes.begin(plane.key)
        step.source = plane.labels.source
        step.apply(edit)
        step.operation = Operation("unlink", plane.key, labels=(child,))
        self._changes.finish(step)

    def divide(
        self,
        parent: int,
        daughter: int | None,
        tail: Sequence[LabelTarget] = (),
        moved: Sequence[int] = (),
    ) -> tuple[int, ...]:
        """Enter a division: both daughters get ids of their own, and the parent ends. One step.

        Parameters
        ----------
        parent : int
            The label that divides.
        daughter : int, optional
            A label that becomes its child.
        tail : sequence of LabelTarget
            Planes from the division on that have the parent's label: there it is the other
            daughter, which gets an id of its own.
        moved : sequence of int
            Children of the parent that come from that daughter.

        Returns
        -------
        tuple of int
            The daughters.

        Raises
        ------
        TrackError, LabelError
            As for `link`; nothing has changed then.
        """
        daughters = []
        with self._changes.all_or_nothing():
            if tail:
                rest = self.link(parent, tail=tail)
                daughters.append(rest)
                for child in moved:
                    self.link(rest, child)
            if daughter is not None:
                daughters.insert(0, self.link(parent, daughter))
        return tuple(daughters)

    def _rename(
        self, step: Step, target: LabelTarget, mask: PlaneMask, parent: int, child: int
    ) -> None:
        """Give the pixels of the parent on a plane, and what is known of them, to the child."""
        values = target.read(mask.region)
        values[mask.crop] = child
        edit = LabelEdit.between(target, mask.region, values)
        assert edit is not None, "the mask is not empty"
        step.apply(edit)
        objects = self._history.objects
        known = objects.find(target, parent)
        if known is not None:
            as_written = objects.is_as_written(target, parent, mask)
            renamed: tuple[AcceptedObject, PlaneMask | None] = (
                replace(known, id=child),
                mask if as_written else None,
            )
            self._history.exchange(step, [known], [renamed])
