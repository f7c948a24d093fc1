"""Choice of memories for tracking a frame, in pure Python: frames are numbers here.

Source: Ravi et al., SAM 2 (2024), extended by the selection of Ding et al., SAM2Long (2024).

::

    frames with a prompt, at most 4, later ones too    frames tracked last       now
          P . . . . . P . . . . . . . . . . . . . .  6  5  4  3  2  1            x
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sam3.config import MemoryConfig

__all__ = ["Choice", "MemorySelection", "choose_memories", "nearest_first", "window"]

GOOD_SCORE = 0.01


class Choice(NamedTuple):
    """Frames to attend to.

    Attributes
    ----------
    memories : tuple of (frame, index)
        Frames whose memories are used, with the index into the temporal positions.
    pointers : tuple of (frame, distance)
        Frames whose pointers are used, with their distance in time.
    longest : int
        Largest distance, by which distances are normalised.
    """

    memories: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]
    longest: int


@dataclass(frozen=True)
class MemorySelection:
    """Choice of tracked frames by quality instead of distance.

    Parameters
    ----------
    score : callable
        Score of a tracked frame; frames above 0.01 are good.
    """

    score: Callable[[int], float]

    def is_good(self, frame: int) -> bool:
        """Tell whether a tracked frame is good."""
        return self.score(frame) > GOOD_SCORE


def window(config: MemoryConfig, frames: int | None) -> int:
    """Return the number of frames that provide pointers, fewer in a short series."""
    return config.pointers if frames is None else min(frames, config.pointers)


def nearest_first(frames: Iterable[int], now: int) -> list[int]:
    """Sort frames by their distance from `now`, the earlier of two equally distant ones first."""
    return sorted(frames, key=lambda frame: (abs(frame - now), frame))


def choose_memories(
    now: int,
    prompted: Collection[int],
    tracked: Collection[int],
    config: MemoryConfig,
    *,
    frames: int | None,
    reverse: bool = False,
    selection: MemorySelection | None = None,
) -> Choice:
    """Choose the memories for tracking the frame `now`.

    Parameters
    ----------
    now : int
        The frame.
    prompted, tracked : collection of int
        Frames with a prompt, and other frames that have been tracked.
    config : MemoryConfig
        Numbers of memories and pointers.
    frames : int, optional
        Length of the series, if known.
    reverse : bool
        Track backwards.
    selection : MemorySelection, optional
        Prefer good frames to recent ones.

    Returns
    -------
    Choice
    """
    step = 1 if reverse else -1
    conditioning = _conditioning(now, prompted, config.conditioning)
    unused = set(prompted) - set(conditioning)
    span = window(config, frames)
    if selection is None:
        # Frames by distance: the last one has index 0, and missing frames leave a gap.
        pointing = {k: now + step * k for k in range(1, span)}
        spatial = {k: now + step * k for k in range(1, config.frames)}
    else:
        ranked = _candidates(now, tracked, span - 1, step, selection)
        spatial = dict(enumerate(ranked[: config.frames - 1], start=1))
        # The oldest candidate contributes a memory, but no pointer.
        pointing = dict(enumerate(ranked[:-1][: span - 1], start=1))
    available = unused.union(tracked)
    memories = [(frame, config.frames - 1) for frame in conditioning]
    memories += [(f, k - 1) for k, f in sorted(spatial.items(), reverse=True) if f in available]
    past = [f for f in conditioning if (f >= now if reverse else f <= now)]
    pointers = [(frame, abs(now - frame)) for frame in past]
    pointers += [(frame, k) for k, frame in pointing.items() if frame in available]
    return Choice(tuple(memories), tuple(pointers), span - 1)


def _conditioning(now: int, prompted: Collection[int], most: int) -> list[int]:
    """Choose frames with a prompt: the nearest on both sides, then the nearest of the rest."""
    if len(prompted) <= most:
        return sorted(prompted)
    before = max((f for f in prompted if f < now), default=None)
    after = min((f for f in prompted if f >= now), default=None)
    chosen = [frame for frame in (before, after) if frame is not None]
    rest = nearest_first(set(prompted) - set(chosen), now)
    return (chosen + rest)[:most]


def _candidates(
    now: int, tracked: Collection[int], most: int, step: int, selection: MemorySelection
) -> list[int]:
    """List good frames, newest first, always including the one just before."""
    # Frame 0 is excluded, as in the original implementation.
    behind = sorted((f for f in tracked if (f - now) * step > 0 and f > 0), reverse=step < 0)
    good = [frame for frame in behind if selection.is_good(frame)][:most]
    last = now + step
    return good if good[:1] == [last] else [last, *good]
