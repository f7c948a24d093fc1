"""Texts of the part of the panel that finds objects. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

SIMILAR = Wording("Find similar", "Find objects that resemble those accepted on this plane")
EVERYTHING = Wording("Find all", "Find all objects on this plane, without examples")
ACCEPT = Wording("Accept all", "Write the candidates of all planes into the labels, as one step")
CLEAR = Wording("Drop all", "Drop all candidates; click a candidate to drop only that one")
STOP = Wording("Stop", "Stop the search; earlier candidates stay")
NAME = Wording("Find by name", "Type a noun, such as nucleus, and press Enter", "Find by name")
LEAST_SCORE = Wording("", "Hide candidates with a lower score", "Minimum score")
PROGRESS_NAME = "Progress of the search"
NONE_FOUND = "No similar object found. Accept another example, or click on those that are missing."

NONE_AT_ALL = "No further object found on this plane. Click on those that are missing."
SEARCH_LEFT = "The search ended, since another plane was shown. Go back and search again."


def count(shown: int, kept: int, threshold: float, elsewhere: int = 0) -> str:
    """Say how many candidates are shown, of how many, above which score, and on other planes."""
    here = f"{shown} of {kept} shown, score ≥ {threshold:.2f}"
    return f"{here}; {elsewhere} on other planes" if elsewhere else here


def candidates_left(count: int) -> str:
    """Say how many candidates were not accepted, and why."""
    stay = "1 candidate stays" if count == 1 else f"{count} candidates stay"
    return (
        f"{stay}: no free pixel, since all belong to accepted labels. Drop what is not needed, or "
        'choose the policy "overwrite" and accept again.'
    )
