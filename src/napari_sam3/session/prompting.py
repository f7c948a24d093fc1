"""Prompts of drafts: set, asked about and withdrawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from napari_sam3.core.drafts import Draft, Hand
from napari_sam3.core.prompts import PromptSet
from sam3.errors import PromptError

from .changes import Changes
from .drafts import DraftsByPlane
from .predictions import Predictions

__all__ = ["Prompting"]


class Prompting:
    """Commands about the drafts of the current plane.

    Parameters
    ----------
    changes : Changes
        Takes the steps.
    drafts : DraftsByPlane
        Get the prompts.
    predictions : Predictions
        Are requested anew where a draft is withdrawn.
    """

    def __init__(self, changes: Changes, drafts: DraftsByPlane, predictions: Predictions) -> None:
        self._changes, self._drafts, self._predictions = changes, drafts, predictions

    def set_prompts(self, prompts: PromptSet) -> None:
        """Replace the prompts of the current draft. A step that can be undone.

        Raises
        ------
        sam3.errors.PromptError
            If a prompt lies outside the plane; nothing changes then.
        """
        plane, hand = self._drafts.need_plane(), self._drafts.here
        prompts.check_inside(plane.shape)
        draft = hand.draft
        if draft is None:
            draft = Draft(self._drafts.new_number())
        self._changes.change_drafts(_with_prompts(hand, draft.asked(prompts)))

    def set_objects(
        self, objects: Mapping[int, PromptSet] | Iterable[PromptSet], current: int | None
    ) -> None:
        """Replace the prompts of all drafts. A step that can be undone.

        Parameters
        ----------
        objects : mapping from int to PromptSet, or iterable of PromptSet
            Prompts by the numbers of the drafts (see `new_number`), or of new drafts. Labels
            that were reopened stay drafts without prompts.
        current : int, optional
            Number of the draft that becomes the current one.

        Raises
        ------
        sam3.errors.PromptError
            If a prompt lies outside the plane; nothing changes then.
        """
        plane, before = self._drafts.need_plane(), self._drafts.here
        if not isinstance(objects, Mapping):
            objects = {self._drafts.new_number(): prompts for prompts in objects}
        for prompts in objects.values():
            prompts.check_inside(plane.shape)
        numbers = dict.fromkeys([*(draft.number for draft in before.drafts), *objects])
        hand, changed = Hand(), None
        for number in numbers:
            held = before.get(number)
            draft = (held or Draft(number)).asked(objects.get(number, PromptSet()))
            changed = changed if draft is held else number
            hand = _with_prompts(hand, draft)
        wanted = (current, changed, before.current, hand.current)
        current = next((number for number in wanted if hand.get(number) is not None), None)
        self._changes.change_drafts(replace(hand, current=current))

    def choose(self, index: int) -> None:
        """Take another of the masks that the model offers for the current draft."""
        held, draft = self._drafts.current_mask, self._drafts.here.draft
        offered = len(held.candidates) if held is not None else 0
        if held is None or draft is None or not 0 <= index < offered:
            raise PromptError(f"there is no mask {index}; the model offers {offered}, from 0")
        if index == held.index:
            return
        chosen = draft.chosen(index)
        self._drafts.keep_masks((replace(held, draft=chosen, index=index),))
        self._drafts.put(self._drafts.key, self._drafts.here.with_draft(chosen))
        self._drafts.tell_masks()

    def reject(self) -> None:
        """Withdraw the current draft."""
        self._drafts.need_plane()
        self._predictions.stop()
        hand = self._drafts.here
        self._changes.change_drafts(hand.without(hand.current))
        self._drafts.tell_masks()
        if self._drafts.without_mask(self._drafts.here):
            self._predictions.predict()


def _with_prompts(hand: Hand, draft: Draft) -> Hand:
    """Put a draft into a hand, or drop it if nothing is left of it."""
    if draft.prompts.is_empty and draft.seed is None:
        return hand.without(draft.number)
    return hand.with_draft(draft)
