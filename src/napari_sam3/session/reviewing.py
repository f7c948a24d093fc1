"""Objects and candidates in a row, the worst first: what a table shows and a key walks through."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.objects import AcceptedObject

from .candidates import CandidateObject, Candidates
from .objects import ObjectRegistry

__all__ = ["ReviewRow", "Reviewing"]

_Part = TypeVar("_Part", AcceptedObject, CandidateObject)


@dataclass(frozen=True, eq=False)
class ReviewRow:
    """An object or a candidate, on all of its planes.

    Parameters
    ----------
    label : int
        Its id; 0 for a candidate.
    parts : tuple of AcceptedObject or CandidateObject
        What it is on each plane, the worst first.
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
        """The score on its worst plane."""
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
        """Key of its worst plane."""
        worst = self.parts[0]
        return worst.plane.key if isinstance(worst, CandidateObject) else worst.plane

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """(row, column, row, column) of its pixels on that plane."""
        worst = self.parts[0]
        return worst.mask.bbox if isinstance(worst, CandidateObject) else worst.bbox

    @property
    def identity(self) -> Hashable:
        """What tells it from other rows, though its parts change."""
        worst = self.parts[0]
        if not isinstance(worst, CandidateObject):
            return "object", self.label
        return ("group", worst.group) if worst.group else ("candidate", id(worst))


class Reviewing:
    """Lists objects and candidates, and walks through them from the worst to the best.

    Parameters
    ----------
    objects : ObjectRegistry
        Accepted objects.
    candidates : Candidates
        Candidates; those filtered out are left out.
    """

    def __init__(self, objects: ObjectRegistry, candidates: Candidates) -> None:
        self._objects, self._candidates = objects, candidates
        self._at: tuple[float, str] | None = None

    def rows(self, source: Hashable = None) -> tuple[ReviewRow, ...]:
        """Return accepted objects and the candidates shown, the worst first.

        Parameters
        ----------
        source : hashable
            Only objects of one label image; see `LabelTarget.source`.
        """
        objects = self._objects.all() if source is None else self._objects.within(source)
        accepted: dict[int, list[AcceptedObject]] = {}
        for one in objects:
            accepted.setdefault(one.id, []).append(one)
        found: dict[Hashable, list[CandidateObject]] = {}
        for candidate in self._candidates.shown:
            group = candidate.group or ("alone", id(candidate))
            found.setdefault(group, []).append(candidate)
        rows = [ReviewRow(label, _worst_first(parts)) for label, parts in accepted.items()]
        rows += [ReviewRow(0, _worst_first(parts)) for parts in found.values()]
        return tuple(sorted(rows, key=_order))

    def next_worst(self, source: Hashable = None) -> ReviewRow:
        """Return the row after the one that is current; the first one after the last.

        Raises
        ------
        NothingThereError
            If there is neither object nor candidate.
        """
        rows = self.rows(source)
        if not rows:
            raise NothingThereError(
                "there is nothing to review. Expected accepted objects or candidates. Find or "
                "accept some first."
            )
        at = self._at
        row = next((row for row in rows if at is None or _order(row) > at), rows[0])
        self.look_at(row)
        return row

    def look_at(self, row: ReviewRow | None) -> None:
        """Note the row from which the walk continues; None begins it again."""
        self._at = None if row is None else _order(row)
        self._candidates.current = None if row is None else row.candidate


def _worst_first(parts: Iterable[_Part]) -> tuple[_Part, ...]:
    return tuple(sorted(parts, key=lambda one: one.score))


def _order(row: ReviewRow) -> tuple[float, str]:
    """Return what rows are sorted by; the same for a row though others come and go."""
    return row.score, f"{row.plane} {row.bbox}"
