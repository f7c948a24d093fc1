"""Edit existing labels: reopen, delete, merge, split, paint."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft
from napari_sam3.core.operations import LabelWrite, Operation
from napari_sam3.inference.questions import ObjectPrediction
from napari_sam3.labels.curation import delete_label, merge_labels, split_label
from napari_sam3.labels.edits import Edit, LabelEdit, find_mask_of_label, mask_of_label

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.labels.targets import LabelTarget

    from .accepting import Accepting
    from .changes import Changes
    from .drafts import DraftsByPlane
    from .history import History
    from .options import SessionOptions

__all__ = ["Curating"]


class Curating:
    """Commands on existing labels, accepted in this session or not.

    Parameters
    ----------
    options : SessionOptions
        In the mode "one", drafts are accepted before another object is reopened.
    changes : Changes
        Records the steps.
    drafts : DraftsByPlane
        Drafts, with the reopened objects.
    history : History
        Registry of objects.
    accepting : Accepting
        Accepts the drafts of the plane.
    """

    def __init__(
        self,
        options: SessionOptions,
        changes: Changes,
        drafts: DraftsByPlane,
        history: History,
        accepting: Accepting,
    ) -> None:
        self._options, self._changes, self._drafts = options, changes, drafts
        self._history, self._objects = history, history.objects
        self._accepting = accepting

    def reopen(self, label: int) -> None:
        """Make a label a draft again, with its recorded prompts if there are any.

        A label from outside the session, or one that was changed since, is reopened with its mask
        as the mask prompt of the next click. Accepting it keeps its id. In the mode "one", the
        current draft is accepted first. Can be undone.

        Raises
        ------
        LabelError
            If the label is not on the plane, or the current draft cannot be accepted.
        """
        drafts, plane = self._drafts, self._drafts.need_plane()
        mask = mask_of_label(plane.labels, label)
        if any(draft.label == label for draft in drafts.here.drafts):
            return
        if self._options.mode == "one" and any(draft.has_target for draft in drafts.here.drafts):
            self._accepting.accept()
        known = self._objects.find(plane.labels, label)
        draft = Draft(drafts.new_number(), seed=mask, label=label)
        made = known is not None and (known.draft.turns or known.draft.seed is not None)
        if known is not None and made and self._objects.is_as_written(plane.labels, label, mask):
            draft = Draft(draft.number, known.draft.turns, known.draft.seed, label)
        score = known.score if known is not None else 1.0
        drafts.keep_masks((ObjectPrediction.of_label(draft, mask, score),))
        drafts.reopened[draft.number] = mask
        self._changes.change_drafts(drafts.here.with_draft(draft))
        drafts.emit_masks()

    def delete(self, label: int, planes: Sequence[LabelTarget] = ()) -> int:
        """Make a label background. One step for undo.

        Parameters
        ----------
        label : int
            Its id.
        planes : sequence of LabelTarget
            Planes of one label image on which it may be; by default the current plane.

        Returns
        -------
        int
            Number of planes that changed.

        Raises
        ------
        LabelError
            If the label is on none of the planes; nothing has changed then, as with other errors.
        """
        targets = self._targets(label, planes)
        with self._changes.all_or_nothing():
            for target in targets:
                self._delete(target.key, target, label)
        return len(targets)

    def _targets(self, label: int, planes: Sequence[LabelTarget]) -> list[LabelTarget]:
        """Return the planes that have a label, or else the first; without any, the current one."""
        if not planes:
            return [self._drafts.need_plane().labels]
        found = [one for one in planes if find_mask_of_label(one, label) is not None]
        return found or [planes[0]]

    def _delete(self, key: Hashable, labels: LabelTarget, label: int) -> None:
        edit = delete_label(labels, label)
        operation = Operation("delete", key, labels=(label,))
        step = self._changes.begin_edit(labels, operation, [edit], gone=[label])
        self._history.exchange(step, self._objects.find_all(labels, [label]), [])
        self._changes.finish(step)

    def merge(self, labels: Sequence[int], planes: Sequence[LabelTarget] = ()) -> tuple[int, int]:
        """Merge labels; the first id is kept. One step for undo.

        Parameters
        ----------
        labels : sequence of int
            Labels of the plane.
        planes : sequence of LabelTarget
            Planes of one label image on which two labels are merged instead of on the current
            plane. The second gets the id of the first on all of them, also where it is alone.

        Returns
        -------
        tuple of int
            The number of planes that changed, and of those among them that held the first label.

        Raises
        ------
        LabelError
            If there are fewer than two different labels, or one is not on the plane, or the second
            on none of the planes; nothing has changed then, as with other errors.
        """
        targets = self._targets(labels[-1], planes)
        same = (one for one in self._objects.within(targets[0].source) if one.id == labels[0])
        category, shared = next((one.category for one in same), None), 0
        with self._changes.all_or_nothing():
            for target in targets:
                edits = merge_labels(target, labels)
                if not planes:
                    mask_of_label(target, labels[0])
                shared += self._merge(target, labels, edits, category)
        return len(targets), shared

    def _merge(
        self,
        target: LabelTarget,
        labels: Sequence[int],
        edits: Sequence[Edit],
        category: str | None,
    ) -> bool:
        """Merge labels of a plane, and return whether it holds the first one.

        The object gets the class that it has on other planes, if any.
        """
        kept, *others = dict.fromkeys(labels)
        shared = find_mask_of_label(target, kept) is not None
        known = self._objects.find_all(target, labels)
        added: list[tuple[AcceptedObject, PlaneMask | None]] = []
        if known and len(others) == 1 and not shared:
            mask = mask_of_label(target, others[0])
            added = [self._objects.renamed(target, known[0], kept, mask)]
        operation = Operation("merge", target.key, labels=(kept, *others))
        step = self._changes.begin_edit(target, operation, edits, gone=others)
        if known and not added:
            added = [self._remade(known[0], kept, mask_of_label(target, kept))]
        if category is not None:
            added = [(replace(one, category=category), mask) for one, mask in added]
        self._objects.use_up(target, max(labels))
        self._history.exchange(step, known, added)
        self._changes.finish(step)
        return shared

    def split(self, label: int, ids: Sequence[int] = ()) -> tuple[int, ...]:
        """Split a label of the plane into its parts, or at its waist; see `split_label`.

        Parameters
        ----------
        label : int
            Label to split.
        ids : sequence of int
            Ids for the new parts, instead of the next free ones.

        Returns
        -------
        tuple of int
            Ids of the parts; the largest part keeps the original id.

        Raises
        ------
        LabelError
            If the label is not on the plane or cannot be split.
        """
        plane = self._drafts.need_plane()
        new = chain(ids, count(max(self._objects.highest(plane.labels), *ids, 0) + 1))
        parts = split_label(plane.labels, label, lambda: next(new))
        ids = tuple(number for _, _, number in parts)
        edits = [edit for _, edit, _ in parts if edit is not None]
        operation = Operation("split", plane.key, labels=ids)
        step = self._changes.begin_edit(plane.labels, operation, edits, gone=[label])
        step.fresh |= set(ids[1:])
        self._objects.use_up(plane.labels, max(ids))
        known = self._objects.find_all(plane.labels, [label])
        added = [self._remade(one, number, mask) for one in known for mask, _, number in parts]
        self._history.exchange(step, known, added)
        self._changes.finish(step)
        return ids

    def paint(self, write: LabelWrite) -> None:
        """Write the labels of a region of the plane, such as a replayed stroke. Can be undone."""
        plane = self._drafts.need_plane()
        edit = LabelEdit.between(plane.labels, write.region, write.values)
        if edit is not None:
            edit.apply()
            self.note_edit(edit, plane.key, source=plane.labels.source)

    def note_edit(
        self,
        edit: Edit,
        key: Hashable,
        writes: tuple[LabelWrite, ...] | None = None,
        source: Hashable = None,
    ) -> None:
        """Add a change made outside the session to the history, such as a painted stroke.

        Parameters
        ----------
        edit : Edit
            The change.
        key : hashable
            Key of a changed plane.
        writes : tuple of LabelWrite, optional
            Pixels after the change, if they cannot be read from the labels yet.
        source : hashable
            Identity of the label image, if known.
        """
        step = self._changes.begin(key)
        step.source = source
        step.edits.append(edit)
        step.operation = Operation("paint", key, writes=writes or edit.writes())
        self._changes.finish(step)

    def _remade(
        self, known: AcceptedObject, label: int, mask: PlaneMask
    ) -> tuple[AcceptedObject, PlaneMask]:
        """Describe an object whose mask was not made from prompts."""
        draft = Draft(self._drafts.new_number(), seed=mask)
        made = replace(known, id=label, bbox=mask.bbox, area=mask.area, draft=draft)
        return made, mask
