"""Objects through time: the place of each track on each frame, and the parents of tracks.

::

    frame     0  1  2  3  4  5
    track 1   o--o--o              ends at a division
    track 2            o--o--o     daughters of track 1, with ids of their own
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

#: Parents by track: one parent after a division, two after a merge.
Parents = Mapping[int, tuple[int, ...]]
#: First and last frame of a track.
Span = tuple[int, int]


class TrackError(Sam3Error, ValueError):
    """The tracks contradict each other, or cannot be written in a format."""


@dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks of objects, with one row per object and frame. Made by `Tracks.of`.

    Parameters
    ----------
    ids, frames : ndarray of int64, N
        Track and frame of each row, sorted by these. Tracks may have gaps.
    places : ndarray of float64, N x D
        Centroids along the spatial axes in px. Pixel centres are at integers.
    areas : ndarray of int64, N
        Numbers of pixels or voxels.
    parents : mapping of int to tuple of int
        Parents by track.
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
        """Sort and check rows given in any order.

        Parameters
        ----------
        ids, frames, places, areas
            See `Tracks`. Areas default to 0.
        parents : mapping, optional
            Parent or parents by track.

        Raises
        ------
        TrackError
            If a track has two rows on a frame, or the parents are invalid; see `check_parents`.
        """
        numbers, times = np.asarray(ids, np.int64).ravel(), np.asarray(frames, np.int64).ravel()
        points = np.asarray(places, np.float64)
        sizes = np.zeros(len(numbers), np.int64) if areas is None else np.asarray(areas, np.int64)
        order = np.lexsort((times, numbers))
        numbers, times = numbers[order], times[order]
        if len(numbers) and (numbers.min() <= 0 or times.min() < 0):
            raise TrackError(
                f"a track has the id {numbers.min()} or the frame {times.min()}. Expected ids "
                "from 1 and frames from 0. Renumber them."
            )
        duplicates = np.flatnonzero((np.diff(numbers) == 0) & (np.diff(times) == 0))
        if duplicates.size:
            at = duplicates[0]
            raise TrackError(
                f"track {numbers[at]} is twice on frame {times[at]}. Expected each track at most "
                "once per frame. Give one of the two another id."
            )
        tracks = cls(numbers, times, points[order], sizes[order], _plain(parents or {}))
        check_parents(tracks.spans, tracks.parents)
        return tracks

    def with_parents(self, parents: Parents) -> Tracks:
        """Return the same tracks with other parents; raises like `check_parents`."""
        check_parents(self.spans, parents)
        return replace(self, parents=_plain(parents))

    @property
    def spans(self) -> dict[int, Span]:
        """First and last frame of each track."""
        ids, starts, counts = np.unique(self.ids, return_index=True, return_counts=True)
        stops = starts + counts - 1
        pairs = zip(self.frames[starts].tolist(), self.frames[stops].tolist(), strict=True)
        return dict(zip(ids.tolist(), pairs, strict=True))

    def runs(self) -> dict[int, list[Span]]:
        """Return the runs of consecutive frames of each track, as first and last frame."""
        runs: dict[int, list[Span]] = {}
        for track, frame in zip(self.ids.tolist(), self.frames.tolist(), strict=True):
            spans = runs.setdefault(track, [])
            if spans and spans[-1][1] == frame - 1:
                spans[-1] = spans[-1][0], frame
            else:
                spans.append((frame, frame))
        return runs


def check_parents(spans: Mapping[int, Span], parents: Parents) -> None:
    """Raise TrackError for parents that are impossible.

    Parameters
    ----------
    spans : mapping of int to (int, int)
        First and last frame of each track.
    parents : mapping of int to tuple of int
        Parents by track.

    Raises
    ------
    TrackError
        If a parent or child has no pixels, is its own ancestor, or overlaps its child in time.
    """
    # Every parent and child exists.
    for child, several in parents.items():
        for parent in several:
            problem = _missing(spans, child, parent)
            if problem is not None:
                raise TrackError(problem)
    # No track is its own ancestor.
    check_circle(parents)
    # Parents end before their children begin.
    for child, several in parents.items():
        for parent in several:
            problem = _contradiction(spans, child, parent)
            if problem is not None:
                raise TrackError(problem)


def check_circle(parents: Parents) -> None:
    """Raise TrackError if a track is its own ancestor."""
    circle = _circle(parents)
    if circle:
        raise TrackError(
            f"the tracks {' -> '.join(map(str, circle))} are each other's parents, in a circle. "
            "Expected parents that end before their children begin. Remove one of these links."
        )


def sound_parents(spans: Mapping[int, Span], parents: Parents) -> dict[int, tuple[int, ...]]:
    """Return the links that are still valid after labels have changed."""
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
                "Expected a label on at least one frame. Draw it, or remove the link."
            )
    return None


def _contradiction(spans: Mapping[int, Span], child: int, parent: int) -> str | None:
    (begin, end), start = spans[parent], spans[child][0]
    if begin > start:
        return (
            f"the parent {parent} begins on frame {begin}, after its child {child} on frame "
            f"{start}. Expected a parent that ends before the child begins. Exchange the two, or "
            "remove the link."
        )
    if end >= start:
        return (
            f"the parent {parent} is still present on frame {end}, and its child {child} begins on "
            f"frame {start}. Expected a parent that ends before the child begins. Give it another "
            "id from there on, or remove the link."
        )
    return None


def _circle(parents: Parents) -> list[int]:
    """Return a cycle of ancestors, with its first track repeated at the end, or an empty list."""
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
                todo += [(track, True), *((parent, False) for parent in parents.get(track, ()))]
    return []


def _plain(parents: Mapping[int, Any]) -> dict[int, tuple[int, ...]]:
    """Return parents as tuples of ints without duplicates, and without empty ones."""
    plain: dict[int, tuple[int, ...]] = {}
    for child, given in parents.items():
        several: Iterable[Any] = given if isinstance(given, Iterable) else (given,)
        found = tuple(dict.fromkeys(int(parent) for parent in several))
        if found:
            plain[int(child)] = found
    return plain
