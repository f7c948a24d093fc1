"""Prompts in the layers of a binding, as the prompts of a batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from napari_sam3.core.planes import PlaneIndex
from sam3.errors import PromptError

if TYPE_CHECKING:
    from napari_sam3.batch import BatchPrompts
    from napari_sam3.batch.prompts import Position
    from napari_sam3.core.prompts import PromptSet

    from .binding import Binding

__all__ = ["positions_along", "prompts_here", "prompts_in_layers"]


def positions_along(
    plane: PlaneIndex, axis: int | None, first: int = 0, last: int = 0
) -> list[Position]:
    """Return positions of planes along an axis of the data, with the other indices as shown.

    Parameters
    ----------
    plane : PlaneIndex
        The plane shown.
    axis : int, optional
        None for that plane only.
    first, last : int
        First and last index along the axis, inclusive.
    """
    if axis is None:
        return [plane.index]
    spans = (
        range(first, last + 1) if other == axis else (at,)
        for other, at in zip(plane.other_axes, plane.index, strict=True)
    )
    return list(itertools.product(*spans))


def prompts_in_layers(
    binding: Binding, plane: PlaneIndex, positions: Iterable[Position], *, one: bool
) -> BatchPrompts:
    """Return the prompts on planes, with ids from 1.

    Parameters
    ----------
    binding : Binding
        Binding whose layers hold the prompts.
    plane : PlaneIndex
        A plane with the same axes as all of them.
    positions : iterable of tuple of int
        Positions of the planes.
    one : bool
        Whether prompts on several planes belong to the same object.

    Raises
    ------
    sam3.errors.PromptError
        If they cannot be read, or no object has a target.
    """
    from napari_sam3.batch import BatchPrompts

    every = (PlaneIndex(plane.axes, position) for position in positions)
    ids: dict[tuple[Position, int], int] = {}
    planes: dict[Position, dict[int, PromptSet]] = {}
    for there in binding.sync.prompts.layers.planes(every):
        objects = binding.prompts_on(there)
        for place, (number, prompts) in enumerate(sorted(objects.items()), start=1):
            new = place if one else ids.setdefault((there.index, number), len(ids) + 1)
            planes.setdefault(there.index, {})[new] = prompts
    return BatchPrompts(planes)


def prompts_here(binding: Binding, plane: PlaneIndex) -> dict[int, PromptSet]:
    """Return the prompts on a plane by ids from 1.

    Raises
    ------
    sam3.errors.PromptError
        If there are none.
    """
    found = prompts_in_layers(binding, plane, [plane.index], one=True).on(plane.index)
    if not found:
        raise PromptError(
            "no prompts to repeat on the current plane. Expected at least one click or box. Click "
            "on the objects first."
        )
    return dict(found)
