"""Values of the command `napari-sam3 batch`, read from text."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["json_settings", "mode_name", "plane_ranges"]


def mode_name(text: str) -> str:
    """Return the present name of a mode."""
    return "propagate" if text == "carried" else text


def plane_ranges(text: str) -> list[range]:
    """Read ranges of planes, such as 7,0-23; one for each axis."""
    ranges = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            start, stop = int(first), int(last if dash else first)
        except ValueError:
            start, stop = 0, -1
        if not 0 <= start <= stop:
            raise argparse.ArgumentTypeError(
                f"{text!r} cannot be read. Expected a range for each axis, such as 0-9 or 7,0-23. "
                "Correct it."
            )
        ranges.append(range(start, stop + 1))
    return ranges


def json_settings(text: str) -> dict[str, Any]:
    """Read settings as JSON."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be read. Expected JSON such as '{{\"min_score\": 0.8}}'. Correct it."
        )
    return values
