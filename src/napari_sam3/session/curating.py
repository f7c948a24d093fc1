"""What is done to labels that are there: take up again, delete, merge, split, paint."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from napari_sam3.core.drafts import Draft
from napari_sam3.core.errors import LabelError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.core.operations import LabelWrite, Operation, Policy
from napari_sam3.inference.answers import ObjectPrediction, Question
from napari_sam3.labels.curation import delete_label, merge_labels, split_label
from napari_sam3.labels.edits import Edit, LabelEdit, mask_of_label

from .accepting import History

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
        known = self._ledger.find(plane.labels, label)
        draft = Draft(self.new_number(), seed=mask, label=label)
        made = known is not None and (known.draft.turns or known.draft.seed is not None)
        if known is not None and made and self._ledger.is_as_written(plane.labels, label, mask):
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

    def split(self, label: int, ids: Sequence[int] = ()) -> tuple[int, ...]:
        """Split a label of the plane into its parts, or at its waist; see `split_label`.

        Parameters
        ----------
        label : int
            What to split.
        ids : sequence of int
            Ids for the new parts, where they are not to be the next free ones.

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
        given = iter(ids)
        parts = split_label(
            plane.labels, label, lambda: next(given, 0) or self._ledger.next_id(plane.labels)
        )
        ids = tuple(number for _, _, number in parts)
        edits = [edit for _, edit, _ in parts if edit is not None]
        operation = Operation("split", plane.key, labels=ids)
        step = self._curate(plane, operation, edits, gone=[label])
        step.fresh |= set(ids[1:])
        known = self._known([label])
        added = [self._remade(one, number, mask) for one in known for mask, _, number in parts]
        self._ledger.exchange(step, known, added)
        self._finish_step(step)
        return ids

    def make_again(self, objects: Sequence[AcceptedObject], policy: Policy) -> None:
        """Predict objects of the plane again from what they were made of, and write them.

        Parameters
        ----------
        objects : sequence of AcceptedObject
            They keep their ids.
        policy : {"keep", "overwrite", "inside"}
            In force when they were accepted.

        Raises
        ------
        sam3.errors.Sam3Error
            If a mask cannot be made, or not be written; nothing has changed then.
        """
        plane = self._need_plane()
        step = self._step(plane.key, self.hand, self.hand)
        step.policy = policy
        predictions = [
            prediction
            for (level, size), alike in groupby(objects, lambda one: (one.level, one.typical_size))
            for prediction in self._answer_now(
                Question(plane.image, tuple(one.draft for one in alike), (), level, size)
            )
        ]
        predictor = self.predictor
        assert predictor is not None, "masks came from a predictor"
        written = []
        for known, prediction in zip(objects, predictions, strict=True):
            step.category = known.category
            rendering = plane.image.rendering
            try:
                one = self._ledger.write(
                    step, prediction, plane.labels, predictor, rendering, known.id
                )
            except LabelError:
                self._ledger.revert(step)
                raise
            written += [one] if one is not None else []
        step.operation = Operation("accept", plane.key, objects=tuple(written), policy=policy)
        self._finish_step(step)
        for one in written:
            self.accepted.emit(one)

    def paint(self, write: LabelWrite) -> None:
        """Write the labels of a region of the plane as somebody left them. Can be undone."""
        plane = self._need_plane()
        edit = LabelEdit.between(plane.labels, write.region, write.values)
        if edit is not None:
            edit.apply()
            self.note_edit(edit, plane.key)

    def note_edit(
        self, edit: Edit, key: Hashable, writes: tuple[LabelWrite, ...] | None = None
    ) -> None:
        """Take a change that somebody else made into the history, such as a painted stroke.

        Parameters
        ----------
        edit : Edit
            Able to take it back.
        key : hashable
            A plane that was changed.
        writes : tuple of LabelWrite, optional
            What it leaves, where that cannot be read from the labels yet.
        """
        step = self._step(key, self.hand_on(key), self.hand_on(key))
        step.edits.append(edit)
        step.operation = Operation("paint", key, writes=writes or edit.writes())
        self._finish_step(step)

    def _known(self, labels: Iterable[int]) -> list[AcceptedObject]:
        target = self._need_plane().labels
        found = [self._ledger.find(target, label) for label in dict.fromkeys(labels)]
        return [one for one in found if one is not None]

    def _remade(
        self, known: AcceptedObject, label: int, mask: PlaneMask
    ) -> tuple[AcceptedObject, PlaneMask]:
        """Describe an object whose mask was changed by other means than prompts."""
        draft = Draft(self.new_number(), seed=mask)
        made = replace(known, id=label, bbox=mask.bbox, area=mask.area, draft=draft)
        return made, mask
