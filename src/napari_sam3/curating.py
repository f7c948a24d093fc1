"""What is done to labels that are there: take up again, delete, merge, split, paint."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from .curation import delete_label, merge_labels, split_label
from .drafts import Draft
from .edits import Edit, mask_of_label
from .history import History
from .inference import ObjectPrediction
from .masks import PlaneMask
from .operations import AcceptedObject, Operation

__all__ = ["Curating"]


class Curating(History):
    """The part of `LabelingSession` for labels that were accepted, here or elsewhere."""

    def accept(self) -> AcceptedObject | None:
        """Accept what is in hand; see `LabelingSession`."""
        raise NotImplementedError

    def take_up(self, label: int) -> None:
        """Take a label into hand again, with the prompts it was made of if these are known.

        A label that came from elsewhere, or was changed since, is taken up with its mask as the
        mask prompt of the next click. Accepting it keeps its id. A step that can be undone; in the
        mode "one" the object in hand is accepted first.

        Raises
        ------
        LabelError
            If the label is not on the plane, or what is in hand cannot be accepted.
        """
        plane = self._need_plane()
        mask = mask_of_label(plane.labels, label)
        if any(draft.label == label for draft in self.hand.drafts):
            return
        if self.mode == "one" and any(draft.has_target for draft in self.hand.drafts):
            self.accept()
        known = self._ledger.find(plane.key, label)
        draft = Draft(self.new_number(), seed=mask, label=label)
        if known is not None and self._ledger.is_as_written(known, mask):
            draft = Draft(draft.number, known.draft.turns, known.draft.seed, label)
        score = known.score if known is not None else 1.0
        self._put_predictions((ObjectPrediction.of_label(draft, mask, score),))
        self._change_hand(plane.key, self.hand.with_draft(draft))
        self._tell_prediction()

    def delete(self, label: int) -> None:
        """Make a label of the plane background. Can be undone.

        Raises
        ------
        LabelError
            If the label is not on the plane.
        """
        plane = self._need_plane()
        edit = delete_label(plane.labels, label)
        operation = Operation("delete", plane.key, labels=(label,))
        step = self._curate(plane, operation, [edit], gone=[label])
        self._ledger.exchange(step, self._known([label]), [])
        self._finish_step(step)

    def merge(self, labels: Sequence[int]) -> None:
        """Make labels of the plane one; the first id is kept. Can be undone.

        Raises
        ------
        LabelError
            If there are not two different ones, or one is not on the plane.
        """
        plane = self._need_plane()
        edits = merge_labels(plane.labels, labels)
        operation = Operation("merge", plane.key, labels=tuple(dict.fromkeys(labels)))
        step = self._curate(plane, operation, edits, gone=labels[1:])
        known = self._known(labels)
        mask = mask_of_label(plane.labels, labels[0])
        added = [self._remade(known[0], labels[0], mask)] if known else []
        self._ledger.exchange(step, known, added)
        self._finish_step(step)

    def split(self, label: int) -> tuple[int, ...]:
        """Split a label of the plane into its parts, or at its waist; see `split_label`.

        Returns
        -------
        tuple of int
            The ids of the parts; the largest keeps the label's own.

        Raises
        ------
        LabelError
            If the label is not on the plane or cannot be split.
        """
        plane = self._need_plane()
        parts = split_label(plane.labels, label, lambda: self._ledger.next_id(plane.labels))
        ids = tuple(number for _, _, number in parts)
        edits = [edit for _, edit, _ in parts if edit is not None]
        operation = Operation("split", plane.key, labels=ids)
        step = self._curate(plane, operation, edits, gone=[label])
        known = self._known([label])
        added = [self._remade(one, number, mask) for one in known for mask, _, number in parts]
        self._ledger.exchange(step, known, added)
        self._finish_step(step)
        return ids

    def note_edit(self, edit: Edit, key: Hashable) -> None:
        """Take a change that somebody else made into the history, such as a painted stroke."""
        step = self._step(key, self.hand_on(key), self.hand_on(key))
        step.edits.append(edit)
        step.operation = Operation("paint", key, writes=edit.writes())
        self._finish_step(step)

    def adopt(self, operations: Sequence[Operation], objects: Iterable[AcceptedObject]) -> None:
        """Take over what an earlier session did; its labels are in place, it cannot be undone."""
        self._ledger.adopt(operations, objects)

    def _known(self, labels: Iterable[int]) -> list[AcceptedObject]:
        found = [self._ledger.find(self.plane_key, label) for label in dict.fromkeys(labels)]
        return [one for one in found if one is not None]

    def _remade(
        self, known: AcceptedObject, label: int, mask: PlaneMask
    ) -> tuple[AcceptedObject, PlaneMask]:
        """Describe an object whose mask was changed by other means than prompts."""
        draft = Draft(self.new_number(), seed=mask)
        made = replace(known, id=label, bbox=mask.bbox, area=mask.area, draft=draft)
        return made, mask
