"""Choice of the memories that a frame is tracked with. Pure Python: frames are numbers here.

Source: Ravi et al., SAM 2 (2024), extended by the selection of Ding et al., SAM2Long (2024).

::

    prompted frames, at most 4, also later ones    the frames just tracked      now
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
        Frames whose memories are looked up, with the index into the temporal positions.
    pointers : tuple of (frame, distance)
        Frames whose pointers are looked up, with their distance in time.
    longest : int
        What distances are divided by.
    """

    memories: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]
    longest: int


@dataclass(frozen=True)
class MemorySelection:
    """Choose plain memories by quality instead of by distance.

    Parameters
    ----------
    score : callable
        Score of a tracked frame; those above 0.01 are good.
    """

    score: Callable[[int], float]

    def is_good(self, frame: int) -> bool:
        """Whether a tracked frame is worth remembering."""
        return self.score(frame) > GOOD_SCORE


def window(config: MemoryConfig, frames: int | None) -> int:
    """Return how many frames pointers come from; a short series has fewer."""
    return config.pointers if frames is None else min(frames, config.pointers)


def nearest_first(frames: Iterable[int], now: int) -> list[int]:
    """Sort frames by their distance from `now`; earlier ones first where it is the same."""
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
    """Choose what the frame `now` is tracked with.

    Parameters
    ----------
    now : int
        The frame.
    prompted, tracked : collection of int
        Frames with a prompt, and others that have been tracked.
    config : MemoryConfig
        How many are used.
    frames : int, optional
        Length of the series, where it is known.
    reverse : bool
        Track backwards.
    selection : MemorySelection, optional
        Use good frames, however long ago.

    Returns
    -------
    Choice
    """
    step = 1 if reverse else -1
    conditioning = _conditioning(now, prompted, config.conditioning)
    unused = set(prompted) - set(conditioning)
    most = window(config, frames)
    if selection is None:
        # Frames by distance: the nearest has index 0, and missing ones leave a gap.
        pointing = {k: now + step * k for k in range(1, most)}
        spatial = {k: now + step * k for k in range(1, config.frames)}
    else:
        ranked = _candidates(now, tracked, most - 1, step, selection)
        spatial = dict(enumerate(ranked[: config.frames - 1], start=1))
        # The oldest candidate gives a memory, but no pointer.
        pointing = dict(enumerate(ranked[:-1][: most - 1], start=1))
    there = unused.union(tracked)
    memories = [(frame, config.frames - 1) for frame in conditioning]
    memories += [(f, k - 1) for k, f in sorted(spatial.items(), reverse=True) if f in there]
    past = [f for f in conditioning if (f >= now if reverse else f <= now)]
    pointers = [(frame, abs(now - frame)) for frame in past]
    pointers += [(frame, k) for k, frame in pointing.items() if frame in there]
    return Choice(tuple(memories), tuple(pointers), most - 1)


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
    """Good frames, the newest first, and in any case the one just before."""
    # The original never looks at frame 0 here.
    behind = sorted((f for f in tracked if (f - now) * step > 0 and f > 0), reverse=step < 0)
    good = [frame for frame in behind if selection.is_good(frame)][:most]
    last = now + step
    return good if good[:1] == [last] else [last, *good]
