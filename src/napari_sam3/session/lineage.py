"""Commands on whole tracks: link labels, unlink them, divide them, join them, split them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from napari_sam3.core.operations import Operation
from napari_sam3.core.tracks import Parents, TrackError, check_circle
from napari_sam3.labels.edits import LabelEdit, find_mask_of_label, mask_of_label
from napari_sam3.labels.targets import LabelTarget, check_id_fits

from .history import packed

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask

    from .changes import Changes
    from .curating import Curating
    from .drafts import DraftsByPlane
    from .history import History, Step

__all__ = ["Lineage"]


class Lineage:
    """The parents of labels. The order in time is the caller's concern.

    Parameters
    ----------
    changes : Changes
        Records the steps.
    drafts : DraftsByPlane
        Current plane, whose label image is edited.
    history : History
        Links and objects.
    curating : Curating
        Merges labels.
    """

    def __init__(
        self, changes: Changes, drafts: DraftsByPlane, history: History, curating: Curating
    ) -> None:
        self._changes, self._drafts, self._history = changes, drafts, history
        self._curating = curating

    def parents_in(self, source: Hashable) -> dict[int, tuple[int, ...]]:
        """Return the parents of each label of an image that has any; see `LabelTarget.source`."""
        return self._history.links.within(source)

    def planes_of(self, source: Hashable, label: int) -> set[Hashable] | None:
        """Return the keys of all planes that may hold a label; see `History.planes_of`."""
        return self._history.planes_of(source, label)

    def begin(self, source: Hashable, parents: Parents) -> None:
        """Set the links that a label image was opened with; not a step."""
        self._history.links.begin(source, parents)

    def link(self, parent: int, child: int = 0, tail: Sequence[LabelTarget] = ()) -> int:
        """Make a label the child of another one, its only parent. Can be undone.

        Parameters
        ----------
        parent : int
            A label of the image of the current plane.
        child : int
            Another label. With a tail it is a new id, by default the next free one.
        tail : sequence of LabelTarget
            Planes on which pixels of the parent become the child's.

        Returns
        -------
        int
            The child.

        Raises
        ------
        TrackError
            If a label does not exist, or would be its own ancestor.
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
                    f"track without pixels cannot be linked: {label}. Expected a label in these "
                    "labels. Choose an existing one."
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
        writes = packed(step.writes())
        step.operation = Operation("link", plane.key, labels=(parent, child), writes=writes)
        self._changes.finish(step)
        return child

    def unlink(self, child: int) -> None:
        """Remove the parents of a label, if it has any. Can be undone."""
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
        """Divide a label: both daughters get ids of their own, and the parent ends. One step.

        Parameters
        ----------
        parent : int
            The label that divides.
        daughter : int, optional
            A label that becomes its child.
        tail : sequence of LabelTarget
            Planes from the division on with the parent's label, which become the second
            daughter with a new id.
        moved : sequence of int
            Children of the parent that belong to that daughter.

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
                self._drop_drafts(parent, tail)
                rest = self.link(parent, tail=tail)
                daughters.append(rest)
                for child in moved:
                    self.link(rest, child)
            if daughter is not None:
                daughters.insert(0, self.link(parent, daughter))
        return tuple(daughters)

    def join(self, first: int, second: int, planes: Sequence[LabelTarget]) -> tuple[int, int]:
        """Give all pixels of a label the id of another one, with its links. One step for undo.

        Children of the second become children of the first; so do its parents become its parents
        if the first has none. Where both are on a plane, they are merged.

        Parameters
        ----------
        first : int
            The label that remains; on any planes of the image of the current plane.
        second : int
            The label that becomes it.
        planes : sequence of LabelTarget
            All planes on which the second may be.

        Returns
        -------
        tuple of int
            The number of planes that changed, and of those among them that held both labels.

        Raises
        ------
        LabelError, TrackError
            If the labels are the same or the second is on none of the planes, or a label would
            become its own ancestor; nothing has changed then, as with other errors.
        """
        labels = self._drafts.need_plane().labels
        with self._changes.all_or_nothing():
            counts = self._curating.merge([first, second], planes)
            parents = self.parents_in(labels.source)
            own, theirs = (
                [one for one in parents.get(label, ()) if one not in (first, second)]
                for label in (first, second)
            )
            if not own:  # such as the second
                self.unlink(first)
            self.unlink(second)
            if not own and theirs and labels.holds(theirs[0]):
                self.link(theirs[0], first)
            self._hand_over(second, first, labels)
        return counts

    def split_off(self, label: int, tail: Sequence[LabelTarget]) -> tuple[int, int]:
        """Give the pixels of a label on some planes a new id. One step for undo.

        Children of the label become children of the new one, which has no parent.

        Parameters
        ----------
        label : int
            A label of the image of the current plane.
        tail : sequence of LabelTarget
            The planes, from the split on.

        Returns
        -------
        tuple of int
            The new label, and the number of planes that changed.

        Raises
        ------
        LabelError, TrackError
            If there is no free id, or the label is on none of the planes; nothing has changed
            then, as with other errors.
        """
        found = [one for one in tail if find_mask_of_label(one, label) is not None]
        with self._changes.all_or_nothing():
            self._drop_drafts(label, found)
            new = self.link(label, tail=found or tail[:1])
            self.unlink(new)
            self._hand_over(label, new, found[0])
        return new, len(found)

    def _hand_over(self, parent: int, other: int, labels: LabelTarget) -> None:
        """Link the children of a label to another one; a link without pixels stays as it is."""
        for child, many in self.parents_in(labels.source).items():
            if parent in many and child != other and labels.holds(child):
                self.link(other, child)

    def _drop_drafts(self, label: int, planes: Sequence[LabelTarget]) -> None:
        """Drop the drafts of a label that was reopened on planes where it gets another id."""
        for target in planes:
            before = after = self._drafts.on(target.key)
            for draft in before.drafts:
                after = after.without(draft.number) if draft.label == label else after
            if after is not before:
                self._changes.finish(self._changes.begin(target.key, after))

    def _rename(
        self, step: Step, target: LabelTarget, mask: PlaneMask, parent: int, child: int
    ) -> None:
        """Give the pixels and the object of the parent on a plane to the child."""
        values = target.read(mask.region)
        values[mask.crop] = child
        edit = LabelEdit.between(target, mask.region, values)
        assert edit is not None, "the mask is not empty"
        step.apply(edit)
        objects = self._history.objects
        known = objects.find(target, parent)
        if known is not None:
            self._history.exchange(step, [known], [objects.renamed(target, known, child, mask)])
