"""List of objects and candidates for review, worst first."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.objects import AcceptedObject

from .candidates import CandidateObject, Candidates

if TYPE_CHECKING:
    from .objects import ObjectRegistry

__all__ = ["ReviewRow", "Reviewing"]

_Part = TypeVar("_Part", AcceptedObject, CandidateObject)


@dataclass(frozen=True, eq=False)
class ReviewRow:
    """An object or a candidate, on all of its planes.

    Parameters
    ----------
    label : int
        Id of the object; 0 for a candidate.
    parts : tuple of AcceptedObject or CandidateObject
        The object or candidate on each plane, worst first.
    """

    label: int
    parts: tuple[AcceptedObject, ...] | tuple[CandidateObject, ...]

    @property
    def candidate(self) -> CandidateObject | None:
        """The candidate on its worst plane; None for an accepted object."""
        worst = self.parts[0]
        return worst if isinstance(worst, CandidateObject) else None

    @property
    def score(self) -> float:
        """Score on the worst plane."""
        return self.parts[0].score

    @property
    def area(self) -> int:
        """Pixels on all planes."""
        return sum(one.area for one in self.parts)

    @property
    def category(self) -> str:
        """Class; "" for none."""
        worst = self.parts[0]
        return worst.category if isinstance(worst, AcceptedObject) else ""

    @property
    def plane(self) -> Hashable:
        """Key of the worst plane."""
        worst = self.parts[0]
        return worst.plane.key if isinstance(worst, CandidateObject) else worst.plane

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """(row, column, row, column) of the pixels on that plane."""
        worst = self.parts[0]
        return worst.mask.bbox if isinstance(worst, CandidateObject) else worst.bbox

    @property
    def identity(self) -> Hashable:
        """Identity of the row, which stays when its parts change."""
        worst = self.parts[0]
        if not isinstance(worst, CandidateObject):
            return "object", self.label
        return ("group", worst.group) if worst.group else ("candidate", id(worst))


class Reviewing:
    """List objects and candidates, and step through them from worst to best.

    Parameters
    ----------
    objects : ObjectRegistry
        Accepted objects.
    candidates : Candidates
        Candidates, of which those that pass the filter are listed.
    """

    def __init__(self, objects: ObjectRegistry, candidates: Candidates) -> None:
        self._objects, self._candidates = objects, candidates
        self._at: tuple[float, str] | None = None

    def rows(self, source: Hashable = None) -> tuple[ReviewRow, ...]:
        """Return accepted objects and the candidates shown, worst first.

        Parameters
        ----------
        source : hashable
            Only objects of one label image; see `LabelTarget.source`.
        """
        objects = self._objects.all() if source is None else self._objects.within(source)
        accepted: dict[int, list[AcceptedObject]] = {}
        for accepted_object in objects:
            accepted.setdefault(accepted_object.id, []).append(accepted_object)
        found: dict[Hashable, list[CandidateObject]] = {}
        for candidate in self._candidates.shown:
            group = candidate.group or ("alone", id(candidate))
            found.setdefault(group, []).append(candidate)
        rows = [ReviewRow(label, _worst_first(parts)) for label, parts in accepted.items()]
        rows += [ReviewRow(0, _worst_first(parts)) for parts in found.values()]
        return tuple(
            row
            for _, ties in groupby(sorted(rows, key=_score), key=_score)
            for row in _in_order(tuple(ties))
        )

    def next_worst(self, source: Hashable = None) -> ReviewRow:
        """Select and return the row after the current one; after the last, the first.

        Raises
        ------
        NothingThereError
            Without objects and candidates.
        """
        rows = self.rows(source)
        if not rows:
            raise NothingThereError(
                "no object to review. Expected accepted objects or candidates. Find or accept some "
                "first."
            )
        at = self._at
        row = next((row for row in rows if at is None or _order(row) > at), rows[0])
        self.select(row)
        return row

    def select(self, row: ReviewRow | None) -> None:
        """Make a row the current one; None starts again with the worst."""
        self._at = None if row is None else _order(row)
        self._candidates.current = None if row is None else row.candidate


def _worst_first(parts: Iterable[_Part]) -> tuple[_Part, ...]:
    return tuple(sorted(parts, key=lambda one: one.score))


def _score(row: ReviewRow) -> float:
    return row.score


def _in_order(ties: tuple[ReviewRow, ...]) -> Iterable[ReviewRow]:
    """Sort rows of equal score; the key is slow, and scores are rarely equal."""
    return ties if len(ties) == 1 else sorted(ties, key=_order)


def _order(row: ReviewRow) -> tuple[float, str]:
    """Return the sort key of a row, independent of other rows."""
    return row.score, f"{row.plane} {row.bbox} {row.identity}"
