"""Candidates that leave their planes, as a part of an undo step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam3.core.operations import LabelWrite

__all__ = ["CandidateEdit", "PlaneCandidates"]

#: The candidates of a plane, and those that were dropped.
PlaneCandidates = tuple[tuple[Any, ...], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)
class CandidateEdit:
    """A change of the candidates of some planes; an `Edit`.

    Parameters
    ----------
    replace : callable
        Called with the old and the new candidates by plane; keeps those of a later search.
    before, after : mapping of hashable to PlaneCandidates
        Candidates by the keys of the planes.
    """

    replace: Callable[
        [Mapping[Hashable, PlaneCandidates], Mapping[Hashable, PlaneCandidates]], None
    ]
    before: Mapping[Hashable, PlaneCandidates]
    after: Mapping[Hashable, PlaneCandidates]

    def apply(self) -> None:
        """Remove the candidates, unless they were replaced since."""
        self.replace(self.before, self.after)

    def revert(self) -> None:
        """Bring the candidates back, unless they were replaced since."""
        self.replace(self.after, self.before)

    def writes(self) -> tuple[LabelWrite, ...]:
        """Return no region, since no pixel changes."""
        return ()

    def sides(self) -> tuple[tuple[LabelWrite, LabelWrite], ...]:
        """Return no region, since no pixel changes."""
        return ()
