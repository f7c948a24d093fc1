"""What stands on the part of the panel that finds objects. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

SIMILAR = Wording(
    "Find similar", "Find everything on the plane that resembles the objects accepted on it"
)
EVERYTHING = Wording("Find all", "Find all objects of the plane, without any example")
ACCEPT = Wording("Accept all", "Write all candidates shown into the labels, as one step")
CLEAR = Wording("Drop all", "Drop all candidates; a click on one drops it alone")
STOP = Wording("Stop", "End the search; candidates from before stay")
NAME = Wording(
    "Find by name", "Type a short noun phrase and press Enter to find what it names", "Find by name"
)
LEAST_SCORE = Wording("", "Hide candidates that score lower", "Least score")
PROGRESS_NAME = "Progress of the search"
NONE_FOUND = "Nothing like it was found on this plane."


def count(shown: int, kept: int, threshold: float) -> str:
    """Say how many candidates are shown, of how many, and above which score."""
    return f"{shown} of {kept} (≥ {threshold:.2f})"
