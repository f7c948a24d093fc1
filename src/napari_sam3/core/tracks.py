"""Objects through time: where each track is on each frame, and which track came from which.

::

    frame     0  1  2  3  4  5
    track 1   o--o--o              ends where it divides
    track 2            o--o--o     its daughters, with ids of their own
    track 3            o--o
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3.errors import Sam3Error

__all__ = [
    "Parents",
    "Span",
    "TrackError",
    "Tracks",
    "check_circle",
    "check_parents",
    "sound_parents",
]

#: The parents of each track that has any: one after a division, two where tracks merge.
Parents = Mapping[int, tuple[int, ...]]
#: The first and the last frame of a track.
Span = tuple[int, int]


class TrackError(Sam3Error, ValueError):
    """Tracks that contradict each other, or cannot be written in a format."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of objects, a row for each object on each frame; made by `Tracks.of`.

    Parameters
    ----------
    ids, frames : ndarray of int64, N
        The track and the frame of each row, sorted by these; an id may be missing on frames in
        between.
    places : ndarray of float64, N x D
        Centroids along the axes of space in px, pixel centres at integers.
    areas : ndarray of int64, N
        Numbers of pixels, or of voxels.
    parents : mapping of int to tuple of int
        The parents of each track that has any.
    """

    ids: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    places: npt.NDArray[np.float64]
    areas: npt.NDArray[np.int64]
    parents: Parents

    @classmethod
    def of(
        cls,
        ids: npt.ArrayLike,
        frames: npt.ArrayLike,
        places: npt.ArrayLike,
        areas: npt.ArrayLike | None = None,
        parents: Mapping[int, int | Sequence[int]] | None = None,
    ) -> Tracks:
        """Sort rows given in any order, and check them.

        Parameters
        ----------
        ids, frames, places, areas
            See `Tracks`; without areas these are 0.
        parents : mapping, optional
            The parent of each track that has one, or its parents.

        Raises
        ------
        TrackError
            If a track is twice on a frame, or the parents contradict it; see `check_parents`.
        """
        numbers, times = np.asarray(ids, np.int64).ravel(), np.asarray(frames, np.int64).ravel()
        points = np.asarray(places, np.float64)
        sizes = np.zeros(len(numbers), np.int64) if areas is None else np.asarray(areas, np.int64)
        order = np.lexsort((times, numbers))
        numbers, times = numbers[order], times[order]
        if len(numbers) and (numbers.min() <= 0 or times.min() < 0):
            raise TrackError(
                f"a track has the id {numbers.min()} or the frame {times.min()}. Expected ids "
                "from 1 and frames from 0. Number them anew"
            )
        twice = np.flatnonzero((np.diff(numbers) == 0) & (np.diff(times) == 0))
        if twice.size:
            at = twice[0]
            raise TrackError(
                f"track {numbers[at]} is twice on frame {times[at]}. Expected each track once on "
                "a frame. Give one of the two another id"
            )
        found = cls(numbers, times, points[order], sizes[order], _plain(parents or {}))
        check_parents(found.spans, found.parents)
        return found

    def with_parents(self, parents: Parents) -> Tracks:
        """Return the same tracks with other parents; raises like `check_parents`."""
        check_parents(self.spans, parents)
        return replace(self, parents=_plain(parents))

    @property
    def spans(self) -> dict[int, Span]:
        """The first and last frame of each track."""
        ids, starts, counts = np.unique(self.ids, return_index=True, return_counts=True)
        stops = starts + counts - 1
        pairs = zip(self.frames[starts].tolist(), self.frames[stops].tolist(), strict=True)
        return dict(zip(ids.tolist(), pairs, strict=True))

    def runs(self) -> dict[int, list[Span]]:
        """Return for each track its frames in a row: first and last, again after each gap."""
        runs: dict[int, list[Span]] = {}
        for track, frame in zip(self.ids.tolist(), self.frames.tolist(), strict=True):
            mine = runs.setdefault(track, [])
            if mine and mine[-1][1] == frame - 1:
                mine[-1] = mine[-1][0], frame
            else:
                mine.append((frame, frame))
        return runs


def check_parents(spans: Mapping[int, Span], parents: Parents) -> None:
    """Refuse parents that cannot be.

    Parameters
    ----------
    spans : mapping of int to (int, int)
        The first and last frame of each track.
    parents : mapping of int to tuple of int
        The parents of each track that has any.

    Raises
    ------
    TrackError
        If a track in it has no pixels, is its own ancestor, or is not over when its child begins.
    """
    for child, several in parents.items():
        for parent in several:
            problem = _missing(spans, child, parent)
            if problem is not None:
                raise TrackError(problem)
    check_circle(parents)
    for child, several in parents.items():
        for parent in several:
            problem = _contradiction(spans, child, parent)
            if problem is not None:
                raise TrackError(problem)


def check_circle(parents: Parents) -> None:
    """Refuse parents by which a track is its own ancestor; raises TrackError."""
    circle = _circle(parents)
    if circle:
        raise TrackError(
            f"the tracks {' -> '.join(map(str, circle))} are each other's parents, in a circle. "
            "Expected parents that end before their children begin. Take one of these links away"
        )


def sound_parents(spans: Mapping[int, Span], parents: Parents) -> dict[int, tuple[int, ...]]:
    """Return the links that hold, of parents some of which may be gone or not over any more."""
    sound = {}
    for child, several in parents.items():
        kept = tuple(
            parent
            for parent in several
            if _missing(spans, child, parent) is None
            and _contradiction(spans, child, parent) is None
        )
        if kept:
            sound[child] = kept
    return sound


def _missing(spans: Mapping[int, Span], child: int, parent: int) -> str | None:
    for track in (parent, child):
        if track not in spans:
            return (
                f"track {track} has no pixels, but the link from {parent} to {child} names it. "
                "Expected a label that is on at least one frame. Draw it, or take the link away"
            )
    return None


def _contradiction(spans: Mapping[int, Span], child: int, parent: int) -> str | None:
    (begin, end), start = spans[parent], spans[child][0]
    if begin > start:
        return (
            f"the parent {parent} begins on frame {begin}, after its child {child} on frame "
            f"{start}. Expected a parent that ends before the child begins. Exchange the two, or "
            "take the link away"
        )
    if end >= start:
        return (
            f"the parent {parent} is still there on frame {end}, and its child {child} begins on "
            f"frame {start}. Expected a parent that ends before the child begins. Give it another "
            "id from there on, or take the link away"
        )
    return None


def _circle(parents: Parents) -> list[int]:
    """Return tracks that are each other's ancestors, the first one again at the end; or none."""
    checked: set[int] = set()
    for start in parents:
        path: dict[int, None] = {}
        todo: list[tuple[int, bool]] = [(start, False)]
        while todo:
            track, left = todo.pop()
            if left:
                path.pop(track)
                checked.add(track)
            elif track in path:
                chain = list(path)
                return [*chain[chain.index(track) :], track]
            elif track not in checked:
                path[track] = None
                todo += [(track, True), *((one, False) for one in parents.get(track, ()))]
    return []


def _plain(parents: Mapping[int, Any]) -> dict[int, tuple[int, ...]]:
    """Return parents as tuples of plain ints, each once; children without any are left out."""
    plain: dict[int, tuple[int, ...]] = {}
    for child, given in parents.items():
        several: Iterable[Any] = given if isinstance(given, Iterable) else (given,)
        found = tuple(dict.fromkeys(int(parent) for parent in several))
        if found:
            plain[int(child)] = found
    return plain
