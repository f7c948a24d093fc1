"""Candidates: objects that the model found on any planes, until accepted or dropped."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.objects import AcceptedObject, Instance
from napari_sam3.core.rendering import Rendering

from .candidate_edits import CandidateEdit, PlaneCandidates
from .candidate_filter import CandidateFilter
from .describing import Maker

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.inference.automatic.suppression import Found
    from napari_sam3.labels.targets import LabelTarget

    from .batch_results import BatchResults
    from .changes import Changes
    from .events import SessionEvents

__all__ = ["CandidateObject", "CandidatePlane", "Candidates"]


@dataclass(frozen=True, eq=False)
class CandidatePlane:
    """A plane with candidates, its labels, and the model that found them.

    Parameters
    ----------
    key : hashable
        Key of the plane.
    labels : LabelTarget
        The plane's labels.
    maker : Maker
        Model that found them.
    rendering : Rendering
        How the plane was converted to 8 bits.
    """

    key: Hashable
    labels: LabelTarget
    maker: Maker = field(default_factory=Maker)
    rendering: Rendering = field(default_factory=Rendering)


@dataclass(frozen=True, eq=False)
class CandidateObject:
    """A candidate on a plane.

    Parameters
    ----------
    plane : CandidatePlane
        Its plane.
    mask : PlaneMask
        Its pixels.
    score : float
        Predicted quality, about 0 to 1.
    group : int
        Shared by the candidates of one object on several planes; 0 for an object of one plane.
    """

    plane: CandidatePlane
    mask: PlaneMask = field(repr=False)
    score: float
    group: int = 0
    area: int = field(init=False)

    def __post_init__(self) -> None:
        """Count the pixels, for filtering."""
        object.__setattr__(self, "area", self.mask.area)

    @property
    def found(self) -> Found:
        """The candidate as a result of the automatic search."""
        from napari_sam3.inference.automatic.seeds import Seed
        from napari_sam3.inference.automatic.suppression import Found

        top, left, bottom, right = self.mask.bbox
        middle = Seed((top + bottom - 1) / 2, (left + right - 1) / 2)
        return Found(self.mask, self.score, 1.0, middle)


class Candidates:
    """Store of candidates by plane, which filters, accepts and drops them without the model.

    Parameters
    ----------
    events : SessionEvents
        Emits the end of writing.
    batch : BatchResults
        Writes accepted candidates.
    changes : Changes
        Records what is accepted and dropped, so that undo brings it back.

    Attributes
    ----------
    changed : Signal
        After candidates, the filter, or the current one changed.
    accepted : Signal
        (number of candidates that stay because none of their pixels is free) after accepting.
    """

    changed = Signal()
    accepted = Signal(int)

    def __init__(self, events: SessionEvents, batch: BatchResults, changes: Changes) -> None:
        self._events, self._batch, self._changes = events, batch, changes
        self._planes: dict[Hashable, tuple[CandidateObject, ...]] = {}
        self._dropped: dict[Hashable, tuple[CandidateObject, ...]] = {}
        self._filter = CandidateFilter()
        self._shown: dict[Hashable, tuple[CandidateObject, ...]] = {}
        self._current: CandidateObject | None = None
        self._times_cleared = 0

    # ------------------------------------------------------------------ state

    def __len__(self) -> int:
        """Return the number of candidates, including those filtered out."""
        return sum(map(len, self._planes.values()))

    @property
    def count_shown(self) -> int:
        """Number of candidates that pass the filter, on all planes."""
        return sum(map(len, self._shown.values()))

    def on(self, key: Hashable) -> tuple[CandidateObject, ...]:
        """Return all candidates of a plane, best first."""
        return self._planes.get(key, ())

    def shown_on(self, key: Hashable) -> tuple[CandidateObject, ...]:
        """Return the candidates of a plane that pass the filter, best first."""
        return self._shown.get(key, ())

    def dropped_on(self, key: Hashable) -> tuple[CandidateObject, ...]:
        """Return the dropped candidates of a plane."""
        return self._dropped.get(key, ())

    @property
    def all(self) -> tuple[CandidateObject, ...]:
        """All candidates, plane by plane."""
        return tuple(one for some in self._planes.values() for one in some)

    @property
    def shown(self) -> tuple[CandidateObject, ...]:
        """Candidates that pass the filter, plane by plane."""
        return tuple(one for some in self._shown.values() for one in some)

    @property
    def filter(self) -> CandidateFilter:
        """Filter of the candidates shown. Setting it does not run the model."""
        return self._filter

    @filter.setter
    def filter(self, chosen: CandidateFilter) -> None:
        if chosen != self._filter:
            self._filter = chosen
            self._refresh()

    @property
    def current(self) -> CandidateObject | None:
        """The candidate under review, if any."""
        return self._current

    @current.setter
    def current(self, candidate: CandidateObject | None) -> None:
        if candidate is not self._current:
            self._current = candidate
            self.changed.emit()

    def at(self, key: Hashable, row: float, column: float) -> CandidateObject | None:
        """Return the candidate shown at a pixel of a plane, the smallest of several."""
        there = [one for one in self.shown_on(key) if one.mask.covers(row, column)]
        return min(there, key=lambda one: one.area, default=None)

    def group_of(self, candidate: CandidateObject) -> tuple[CandidateObject, ...]:
        """Return a candidate with those of the same object on other planes."""
        if not candidate.group:
            return (candidate,)
        return tuple(one for one in self.all if one.group == candidate.group)

    # --------------------------------------------------------------- commands

    def put(
        self,
        plane: CandidatePlane,
        found: Iterable[Found | Instance],
        min_score: float | None = None,
    ) -> tuple[CandidateObject, ...]:
        """Replace the candidates of a plane.

        Parameters
        ----------
        plane : CandidatePlane
            The plane.
        found : iterable of Found or Instance
            Objects found there. Instances with the same id are one object, also across planes.
        min_score : float, optional
            New filter: this minimum score, and any area. While other planes have candidates, their
            filter stays, with the higher minimum score: what it hides there is not shown again.

        Returns
        -------
        tuple of CandidateObject
            The candidates of the plane, best first.
        """
        made = [
            CandidateObject(plane, instance.mask, float(instance.score), getattr(instance, "id", 0))
            for instance in found
            if not instance.mask.is_empty
        ]
        made.sort(key=lambda instance: -instance.score)
        self._planes.pop(plane.key, None)
        if made:
            self._planes[plane.key] = tuple(made)
        chosen = self._filter
        if min_score is not None:
            others = self._planes.keys() - {plane.key}
            least = max(min_score, chosen.min_score)
            chosen = replace(chosen, min_score=least) if others else CandidateFilter(min_score)
        if chosen == self._filter:
            self._refresh([plane.key])
        else:
            self._filter = chosen
            self._refresh()
        return self.on(plane.key)

    def drop(self, candidate: CandidateObject) -> None:
        """Drop a candidate on all its planes, as one undo step.

        It becomes a negative example of the next search.
        """
        self._record(self._without(self.group_of(candidate), negative=True))

    def drop_all(self) -> None:
        """Drop all candidates and negative examples, as one undo step."""
        self._record(dict.fromkeys({**self._planes, **self._dropped}, ((), ())))

    def accept(
        self, candidates: Sequence[CandidateObject] | None = None
    ) -> tuple[AcceptedObject, ...]:
        """Write candidates into the labels, as one undo step; those without a free pixel stay.

        Parameters
        ----------
        candidates : sequence of CandidateObject, optional
            By default all that pass the filter, on all planes.

        Raises
        ------
        NothingThereError
            If there is none.
        LabelError
            If the labels were deleted or cannot hold the ids, or no pixel is free under the policy;
            nothing has changed then.
        """
        chosen = self.shown if candidates is None else tuple(candidates)
        if not chosen:
            raise NothingThereError(
                "no candidate to accept. Expected candidates of 'Find similar'. Lower the minimum "
                "score, or search first."
            )
        written: list[AcceptedObject] = []
        painted: list[tuple[CandidateObject, int]] = []
        numbers: dict[int, int] = {}
        by_plane: dict[Hashable, list[CandidateObject]] = {}
        for candidate in chosen:
            by_plane.setdefault(candidate.plane.key, []).append(candidate)
        writing = self._batch.begin(chosen[0].plane.labels)
        with self._batch.all_or_nothing():
            for some in by_plane.values():
                plane, pairs = some[0].plane, _instances(some, numbers)
                painted += [(candidate, instance.id) for candidate, instance in pairs]
                written += self._batch.write(
                    writing,
                    plane.key,
                    plane.labels,
                    [instance for _, instance in pairs],
                    plane.maker,
                    plane.rendering,
                )
            done = [candidate for candidate, number in painted if number in writing.ids]
            # An object with pixels on one plane is accepted on all.
            groups = {candidate.group for candidate in done} - {0}
            done += [candidate for candidate in chosen if candidate.group in groups]
            self._record(self._without(done))
        if not written:
            raise LabelError(
                f"all pixels of {len(chosen)} {'candidate' if len(chosen) == 1 else 'candidates'} "
                "already belong to accepted labels. Expected background. Drop them, or choose the "
                'policy "overwrite".'
            )
        self._events.batch_ended.emit()
        self.accepted.emit(len(chosen) - len(set(done)))
        return tuple(written)

    def clear(self, key: Hashable | None = None) -> None:
        """Forget all candidates and negative examples, or those of a plane; no undo step."""
        self._times_cleared += 1
        there = bool(self._planes)
        for kept in (self._planes, self._dropped):
            if key is None:
                kept.clear()
            else:
                kept.pop(key, None)
        if there:
            self._refresh()

    # ----------------------------------------------------------------- inside

    def _without(
        self, gone: Iterable[CandidateObject], *, negative: bool = False
    ) -> dict[Hashable, PlaneCandidates]:
        """Return the planes of some candidates without them; they may become negative."""
        ids = {id(one) for one in gone}
        left: dict[Hashable, PlaneCandidates] = {}
        for key, some in self._planes.items():
            kept = tuple(one for one in some if id(one) not in ids)
            if len(kept) < len(some):
                new = tuple(one for one in some if id(one) in ids) if negative else ()
                left[key] = kept, (*self.dropped_on(key), *new)
        return left

    def _record(self, after: Mapping[Hashable, PlaneCandidates]) -> None:
        """Replace the candidates of some planes, as an undo step."""
        if not after:
            return
        before = {key: (self.on(key), self.dropped_on(key)) for key in after}
        step = self._changes.begin(next(iter(after)))
        step.apply(CandidateEdit(partial(self._replace, self._times_cleared), before, after))
        self._changes.finish(step)

    def _replace(
        self,
        times_cleared: int,
        old: Mapping[Hashable, PlaneCandidates],
        new: Mapping[Hashable, PlaneCandidates],
    ) -> None:
        """Replace candidates, but not those that were found later."""
        if times_cleared != self._times_cleared:
            return
        for key, states in new.items():
            if self.on(key) is not old[key][0]:
                continue
            for kept, some in zip((self._planes, self._dropped), states, strict=True):
                if some:
                    kept[key] = some
                else:
                    kept.pop(key, None)
        self._refresh()

    def _refresh(self, keys: Iterable[Hashable] | None = None) -> None:
        """Apply the filter again, to all planes or to some, and emit the change."""
        if keys is None:
            self._shown, keys = {}, self._planes
        for key in keys:
            some = self.on(key)
            self._shown.pop(key, None)
            scores = np.array([one.score for one in some], np.float64)
            areas = np.array([one.area for one in some], np.float64)
            passed = np.flatnonzero(self._filter.passes(scores, areas)).tolist()
            if passed:
                self._shown[key] = tuple(some[at] for at in passed)
        current = self._current
        if current is not None and current not in self.on(current.plane.key):
            self._current = None
        self.changed.emit()


def _instances(
    some: Sequence[CandidateObject], numbers: dict[int, int]
) -> list[tuple[CandidateObject, Instance]]:
    """Return candidates of a plane as they are painted, numbered behind those of other planes."""
    from napari_sam3.inference.automatic.settings import AutomaticSettings
    from napari_sam3.inference.automatic.suppression import paint_order

    found = [one.found for one in some]
    origins = {id(one.seed): origin for one, origin in zip(found, some, strict=True)}
    made = []
    # A candidate of which better ones leave a pixel is painted.
    for one in paint_order(found, AutomaticSettings(min_area=1)):
        origin = origins[id(one.seed)]
        # A group of its own for each object of one plane.
        number = numbers.setdefault(origin.group or -len(numbers) - 1, len(numbers) + 1)
        made.append((origin, Instance(number, one.mask, one.score)))
    return made
