"""Assign prompts to drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.prompt_rows import object_of
from napari_sam3.core.prompts import PromptSet

if TYPE_CHECKING:
    from napari_sam3.core.drafts import Draft, DraftSet

    from .options import Mode

__all__ = ["PromptRow", "group_rows"]


@dataclass(frozen=True)
class PromptRow:
    """One click, box or outline in a layer.

    Parameters
    ----------
    prompts : PromptSet
        Only that prompt.
    number : int
        Number of its draft; 0 if it has none yet.
    """

    prompts: PromptSet
    number: int = 0

    @property
    def is_box(self) -> bool:
        """Whether it is a box or an outline."""
        return self.prompts.box is not None


def group_rows(
    rows: Sequence[PromptRow],
    mode: Mode,
    draft_set: DraftSet,
    draft_at: Callable[[float, float], Draft | None],
    new_number: Callable[[], int],
) -> tuple[dict[int, PromptSet], list[int]]:
    """Group rows into drafts.

    Rows with a number keep it. The others belong to the current draft in the mode "one", and to
    that of `object_of` in the mode "many".

    Parameters
    ----------
    rows : sequence of PromptRow
        In the order of the layers.
    mode : {"one", "many"}
        See above.
    draft_set : DraftSet
        Drafts so far.
    draft_at : callable
        Called with (row, column); returns the draft there, or None.
    new_number : callable
        Returns the number of a new draft.

    Returns
    -------
    objects : dict from int to PromptSet
        Prompts by number of the draft.
    numbers : list of int
        The draft of each row.
    """
    current = draft_set.current
    objects: dict[int, PromptSet] = {}
    numbers: list[int] = []
    for row in rows:
        number: int | None = row.number
        if number == 0:
            hit = None if row.is_box else draft_at(*reversed(row.prompts.points[0]))
            over = None if hit is None else hit.number
            number = object_of(row.prompts, current, hit=over, one=mode == "one")
            if number is None:
                number = new_number()
            current = number
        assert number is not None
        objects[number] = objects.get(number, PromptSet()).joined(row.prompts)
        numbers.append(number)
    return objects, numbers
