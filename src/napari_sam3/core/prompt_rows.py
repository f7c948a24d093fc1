"""Which object a prompt belongs to: one rule for layers, tables and the command line."""

from __future__ import annotations

from .prompts import PromptSet

__all__ = ["object_of"]


def object_of(
    prompt: PromptSet, current: int | None, *, hit: int | None = None, one: bool = False
) -> int | None:
    """Return the number of the object that a prompt belongs to; None if there is none yet.

    A box starts an object, and so does a foreground click, unless it lies on one. A background
    click belongs to the object that it lies on, or else to the current one.

    Parameters
    ----------
    prompt : PromptSet
        Nothing but one click, box or outline.
    current : int, optional
        The object that was started last.
    hit : int, optional
        The object that the prompt lies on.
    one : bool
        All prompts belong to the current object.
    """
    if one:
        return current
    if hit is not None and prompt.box is None:
        return hit
    return None if prompt.has_target else current
