"""Values of the command `napari-sam3 batch`, read from text, and which mode takes which."""

from __future__ import annotations

import argparse
import json
from typing import Any

from sam3.errors import PromptError

__all__ = ["check_options", "json_settings", "mode_name", "plane_ranges", "spelled"]

#: Options of some modes only: the modes that take them, and the value of an option not given.
_OPTIONS: dict[str, tuple[tuple[str, ...], Any]] = {
    "prompts": (("placed", "repeated", "propagate"), None),
    "examples": (("similar",), None),
    "examples_image": (("similar",), None),
    "text": (("similar",), None),
    "min_score": (("similar",), None),
    "axis": (("propagate",), None),
    "direction": (("propagate",), "both"),
    "gap": (("propagate",), None),
    "tile": (("automatic", "similar"), None),
    "settings": (("propagate", "automatic"), {}),
}


def spelled(name: str) -> str:
    """Return an option as it is typed."""
    return f"--{name.replace('_', '-')}"


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that the mode would ignore.

    Raises
    ------
    sam3.errors.PromptError
        Naming the option, its value and the modes that take it.
    """
    for name, (modes, left_out) in _OPTIONS.items():
        value = getattr(arguments, name)
        if value != left_out and arguments.mode not in modes:
            text = json.dumps(value) if isinstance(value, dict) else value
            raise PromptError(
                f"the mode {arguments.mode} takes no {spelled(name)}: {text}. Expected it with "
                f"--mode {' or '.join(modes)} only. Leave it out, or choose another mode."
            )


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
