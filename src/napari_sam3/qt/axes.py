"""Names of axes for people."""

from __future__ import annotations

from collections.abc import Mapping

from .text.panel import axis_name

__all__ = ["default_axis", "name_of_axis"]


def default_axis(axes: Mapping[int, tuple[str, int]]) -> int | None:
    """Return which of several axes, each with name and length, to offer first; None of none."""
    if not axes:
        return None
    from napari_sam3.core.axes import axis_to_follow  # not for the first view

    return axis_to_follow({axis: name for axis, (name, _) in axes.items()})


def name_of_axis(label: str, axis: int) -> str:
    """Return the name of an axis; napari calls the unnamed ones "-3" or "axis -3"."""
    unnamed = label.removeprefix("axis ").startswith("-")
    return axis_name(axis) if unnamed else label
