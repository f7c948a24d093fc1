"""Commands on the prompts of drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft, DraftSet
from napari_sam3.core.prompt_rows import object_of
from napari_sam3.core.prompts import PromptSet
from sam3.errors import PromptError

if TYPE_CHECKING:
    from .changes import Changes
    from .drafts import DraftsByPlane
    from .options import SessionOptions
    from .predictions import Predictions

__all__ = ["Prompting"]


class Prompting:
    """Commands on the drafts of the current plane.

    Parameters
    ----------
    options : SessionOptions
        Whether there is one draft, or many.
    changes : Changes
        Records the steps.
    drafts : DraftsByPlane
        Drafts to change.
    predictions : Predictions
        Predicts masks of announced clicks, and again after a draft is rejected.
    """

    def __init__(
        self,
        options: SessionOptions,
        changes: Changes,
        drafts: DraftsByPlane,
        predictions: Predictions,
    ) -> None:
        self._options, self._changes = options, changes
        self._drafts, self._predictions = drafts, predictions

    def set_prompts(self, prompts: PromptSet) -> None:
        """Replace the prompts of the current draft. Can be undone.

        Raises
        ------
        sam3.errors.PromptError
            If a prompt lies outside the plane; nothing changes then.
        """
        plane, draft_set = self._drafts.need_plane(), self._drafts.here
        prompts.check_inside(plane.shape)
        draft = draft_set.draft
        if draft is None:
            draft = Draft(self._drafts.new_number())
        self._changes.change_drafts(_with_prompts(draft_set, draft.asked(prompts)))

    def expect(self, click: PromptSet) -> None:
        """Predict the mask of a click that a mouse press announces, without changing anything."""
        if self._drafts.plane is None:
            return
        draft_set, one = self._drafts.here, self._options.mode == "one"
        hit = self._drafts.at(*reversed(click.points[0]))
        over = None if hit is None else hit.number
        number = object_of(click, draft_set.current, hit=over, one=one)
        draft = draft_set.get(number) or Draft(self._drafts.next_number)
        draft = draft.asked(draft.prompts.joined(click))
        if draft.has_target:
            self._predictions.expect(draft)

    def set_objects(
        self, objects: Mapping[int, PromptSet] | Iterable[PromptSet], current: int | None
    ) -> None:
        """Replace the prompts of all drafts. Can be undone.

        Parameters
        ----------
        objects : mapping from int to PromptSet, or iterable of PromptSet
            Prompts by number of the draft (see `new_number`), or of new drafts. Reopened labels
            remain drafts even without prompts.
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
        draft_set, changed = DraftSet(), None
        for number in numbers:
            held = before.get(number)
            draft = (held or Draft(number)).asked(objects.get(number, PromptSet()))
            changed = changed if draft is held else number
            draft_set = _with_prompts(draft_set, draft)
        wanted = (current, changed, before.current, draft_set.current)
        current = next((number for number in wanted if draft_set.get(number) is not None), None)
        self._changes.change_drafts(replace(draft_set, current=current))

    def choose(self, index: int) -> None:
        """Choose another candidate mask of the current draft."""
        held, draft = self._drafts.current_mask, self._drafts.here.draft
        offered = len(held.candidates) if held is not None else 0
        if held is None or draft is None or not 0 <= index < offered:
            raise PromptError(
                f"invalid index of a candidate mask: {index}. Expected an index from 0 of "
                f"{offered} masks. Choose one of these."
            )
        if index == held.index:
            return
        chosen = draft.chosen(index)
        self._drafts.keep_masks((replace(held, draft=chosen, index=index),))
        self._drafts.put(self._drafts.key, self._drafts.here.with_draft(chosen))
        self._drafts.emit_masks()

    def reject(self) -> None:
        """Reject the current draft. Can be undone."""
        self._drafts.need_plane()
        self._predictions.stop()
        draft_set = self._drafts.here
        self._changes.change_drafts(draft_set.without(draft_set.current))
        self._drafts.emit_masks()
        if self._drafts.without_mask(self._drafts.here):
            self._predictions.predict()


def _with_prompts(draft_set: DraftSet, draft: Draft) -> DraftSet:
    """Add a draft to a set, or remove it if it is empty."""
    if draft.prompts.is_empty and draft.seed is None:
        return draft_set.without(draft.number)
    return draft_set.with_draft(draft)
