"""Which prompts belong to which object in hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from napari_sam3.core.drafts import Draft, DraftSet
from napari_sam3.core.prompt_rows import object_of
from napari_sam3.core.prompts import PromptSet

from .options import Mode

__all__ = ["PromptRow", "group_rows"]


@dataclass(frozen=True)
class PromptRow:
    """One click, box or outline of a layer.

    Parameters
    ----------
    prompts : PromptSet
        Nothing but that prompt.
    number : int
        Of the object it was assigned to; 0 for none yet.
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
    """Gather rows into objects.

    Rows that were assigned stay where they are. In the mode "one" all others belong to the current
    object, in the mode "many" to that of `object_of`.

    Parameters
    ----------
    rows : sequence of PromptRow
        In the order of the layers.
    mode : {"one", "many"}
        See above.
    draft_set : DraftSet
        Objects in hand so far.
    draft_at : callable
        Gives the object in hand at (row, column), if any.
    new_number : callable
        Gives the number of a new object.

    Returns
    -------
    objects : dict from int to PromptSet
        Prompts by the objects' numbers.
    numbers : list of int
        The object of each row.
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
