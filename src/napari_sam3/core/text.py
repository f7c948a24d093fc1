"""Durations and counts as text, for the panel and the command line."""

from __future__ import annotations

__all__ = ["duration", "units_done"]

# Largest durations in seconds given in seconds, and in minutes.
SECONDS, MINUTES = 90, 5400


def units_done(done: int, total: int, *, failed: int = 0, seconds_each: float | None = None) -> str:
    """Format the progress of a batch: units done, their rate if known, and failures."""
    parts = [f"{done} of {total} units"]
    if seconds_each is not None:
        fast = seconds_each < 1
        parts.append(f"{1 / seconds_each:.1f} a second" if fast else f"{seconds_each:.1f} s each")
        parts.append(f"{duration((total - done) * seconds_each)} left")
    if failed:
        parts.append(f"{failed} failed")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Format a duration."""
    if seconds < SECONDS:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < MINUTES else f"{seconds / 3600:.1f} h"
