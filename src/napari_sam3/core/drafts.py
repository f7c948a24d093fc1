"""Drafts: objects that are not accepted yet, with the history of their prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .prompts import Box, PromptSet

if TYPE_CHECKING:
    from .masks import PlaneMask

__all__ = ["Draft", "DraftSet", "Turn"]


@dataclass(frozen=True)
class Turn:
    """All prompts of an object at one time, with the candidate chosen for them.

    Parameters
    ----------
    prompts : PromptSet
        The prompts.
    choice : int, optional
        Candidate chosen by the user; by default the one with the best score.
    """

    prompts: PromptSet
    choice: int | None = None


@dataclass(frozen=True, eq=False)
class Draft:
    """An object that is not accepted yet. Its mask depends on the draft alone, not on timing.

    Parameters
    ----------
    number : int
        Identifies the draft within a session; never reused.
    turns : tuple of Turn
        Oldest first, the present one last. The mask of each turn is the next one's mask prompt.
    seed : PlaneMask, optional
        Initial mask: the mask prompt of the first turn.
    label : int, optional
        Id of the accepted object that was reopened.
    """

    number: int
    turns: tuple[Turn, ...] = ()
    seed: PlaneMask | None = None
    label: int | None = None

    @property
    def prompts(self) -> PromptSet:
        """The present prompts."""
        return self.turns[-1].prompts if self.turns else PromptSet()

    @property
    def has_target(self) -> bool:
        """Whether a prompt or the seed marks the object."""
        return self.seed is not None or self.prompts.has_target

    @property
    def bounds(self) -> Box:
        """(x0, y0, x1, y1) around all prompts and the seed."""
        boxes = [] if self.prompts.is_empty else [self.prompts.bounds]
        if self.seed is not None and not self.seed.is_empty:
            row, column, row_stop, column_stop = self.seed.bbox
            boxes.append((column, row, column_stop - 1, row_stop - 1))
        if not boxes:
            return self.prompts.bounds  # raises the error for no prompt
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    @property
    def extent(self) -> float | None:
        """Longer side in px of the seed or the box, if there is one."""
        if self.seed is None or self.seed.is_empty:
            return self.prompts.extent
        return float(max(self.seed.crop.shape))

    def same_as(self, other: Draft) -> bool:
        """Tell whether both drafts have the same mask."""
        return self.turns == other.turns and self.seed is other.seed

    def continues(self, other: Draft) -> bool:
        """Tell whether the other draft's mask is the mask prompt of a later turn of this one."""
        turns = len(other.turns)
        return turns > 0 and self.turns[:turns] == other.turns and self.seed is other.seed

    def until(self, turns: int) -> Draft:
        """Return the draft as it was after a number of turns."""
        return self if turns == len(self.turns) else replace(self, turns=self.turns[:turns])

    def with_present(self, prompts: PromptSet) -> Draft:
        """Return the draft with its present prompts replaced and its turns unchanged."""
        if prompts == self.prompts:
            return self
        return replace(self, turns=(*self.turns[:-1], replace(self.turns[-1], prompts=prompts)))

    def asked(self, prompts: PromptSet) -> Draft:
        """Return the draft with other prompts: with one more turn, or restarted if any changed.

        Turns without a foreground click or a box are dropped, since nothing is predicted from them.
        """
        if prompts == self.prompts:
            return self
        turns = tuple(turn for turn in self.turns if turn.prompts.has_target or self.seed)
        while turns and not prompts.extends(turns[-1].prompts):
            turns = turns[:-1]
        return replace(self, turns=() if prompts.is_empty else (*turns, Turn(prompts)))

    def chosen(self, index: int) -> Draft:
        """Return the draft with a candidate chosen for its present prompts."""
        return replace(self, turns=(*self.turns[:-1], replace(self.turns[-1], choice=index)))


@dataclass(frozen=True, eq=False)
class DraftSet:
    """All drafts on one plane.

    Parameters
    ----------
    drafts : tuple of Draft
        In the order in which they were started.
    current : int, optional
        Number of the draft to which the next click belongs.
    """

    drafts: tuple[Draft, ...] = ()
    current: int | None = None

    @property
    def draft(self) -> Draft | None:
        """The current draft."""
        return self.get(self.current)

    def get(self, number: int | None) -> Draft | None:
        """Return a draft by its number."""
        return next((draft for draft in self.drafts if draft.number == number), None)

    def with_draft(self, draft: Draft) -> DraftSet:
        """Return the set with a draft added or replaced, as the current one."""
        if self.get(draft.number) is None:
            return DraftSet((*self.drafts, draft), draft.number)
        drafts = tuple(draft if one.number == draft.number else one for one in self.drafts)
        return DraftSet(drafts, draft.number)

    def without(self, number: int | None) -> DraftSet:
        """Return the set without a draft; the last remaining one becomes the current one."""
        drafts = tuple(draft for draft in self.drafts if draft.number != number)
        if self.current != number:
            return DraftSet(drafts, self.current)
        return DraftSet(drafts, drafts[-1].number if drafts else None)

    def same_as(self, other: DraftSet) -> bool:
        """Whether both hold the same drafts."""
        pairs = zip(self.drafts, other.drafts, strict=False)
        return len(self.drafts) == len(other.drafts) and all(
            a.number == b.number and a.same_as(b) for a, b in pairs
        )
