"""Names of axes for people."""

from __future__ import annotations

from .text.panel import axis_name

__all__ = ["name_of_axis"]


def name_of_axis(label: str, axis: int) -> str:
    """Return the name of an axis; napari calls the unnamed ones "-3" or "axis -3"."""
    unnamed = label.removeprefix("axis ").startswith("-")
    return axis_name(axis) if unnamed else label
