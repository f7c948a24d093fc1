"""An object while it is made: its prompts turn by turn, and what it was started from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .masks import PlaneMask
from .prompts import Box, PromptSet

__all__ = ["Draft", "Turn"]


@dataclass(frozen=True)
class Turn:
    """All prompts of an object at one time, and the mask that was taken for them.

    Parameters
    ----------
    prompts : PromptSet
        What was asked.
    choice : int, optional
        Candidate taken by the user; the one that scores best if None.
    """

    prompts: PromptSet = PromptSet()
    choice: int | None = None


@dataclass(frozen=True, eq=False)
class Draft:
    """An object in hand. A mask depends on its draft alone, never on how fast prompts came.

    Parameters
    ----------
    number : int
        Tells the objects in hand of a session apart; never used twice.
    turns : tuple of Turn
        Oldest first; the last one is the present. Each turn's mask is the next one's mask prompt.
    seed : PlaneMask, optional
        Mask it was started from, the first turn's mask prompt.
    label : int, optional
        Id of the accepted object that is taken up again.
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
        """Whether something says where the object is."""
        return self.seed is not None or self.prompts.has_target

    @property
    def bounds(self) -> Box:
        """(x0, y0, x1, y1) around all prompts and the seed."""
        boxes = [] if self.prompts.is_empty else [self.prompts.bounds]
        if self.seed is not None and not self.seed.is_empty:
            row, column, row_stop, column_stop = self.seed.bbox
            boxes.append((column, row, column_stop - 1, row_stop - 1))
        if not boxes:
            return self.prompts.bounds  # says that there is no prompt
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    def asked(self, prompts: PromptSet) -> Draft:
        """Return the draft with other prompts: one turn more, or a new start if any was changed.

        Turns without a foreground click or a box are not kept: nothing is predicted from them.
        """
        if prompts == self.prompts:
            return self
        turns = tuple(turn for turn in self.turns if turn.prompts.has_target or self.seed)
        while turns and not prompts.extends(turns[-1].prompts):
            turns = turns[:-1]
        return replace(self, turns=(*turns, Turn(prompts)))

    def chosen(self, index: int) -> Draft:
        """Return the draft with a candidate taken for its present prompts."""
        return replace(self, turns=(*self.turns[:-1], replace(self.turns[-1], choice=index)))
