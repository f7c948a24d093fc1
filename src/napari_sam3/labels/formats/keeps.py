"""Properties of a label image that a format keeps, for the dialog and the documentation."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

__all__ = ["COLUMNS", "MARKS", "Keep", "Keeps"]

#: "ours": stored in the file for `read_labels`; other programs ignore it.
Keep = Literal["yes", "ours", "no"]
MARKS: dict[Keep, str] = {"yes": "yes", "ours": "(yes)", "no": "no"}


@dataclass(frozen=True)
class Keeps:
    """Properties that survive a write and a read; the contract tests check each of them.

    Parameters
    ----------
    pixels : Keep
        The pixels of each object.
    holes : Keep
        Holes inside objects.
    parts : Keep
        Separate parts that belong to one object.
    labels : Keep
        The label of each object.
    planes : Keep
        Stacks, time series and channels.
    scale : Keep
        Scale, units and names of axes.
    place : Keep
        Position of the first pixel.
    classes : Keep
        The class of each object.
    table : Keep
        Scores and other values of objects.
    """

    pixels: Keep = "yes"
    holes: Keep = "yes"
    parts: Keep = "yes"
    labels: Keep = "yes"
    planes: Keep = "yes"
    scale: Keep = "ours"
    place: Keep = "ours"
    classes: Keep = "yes"
    table: Keep = "yes"


#: Titles of the columns of a table of formats.
COLUMNS = {one.name: one.name.capitalize() for one in fields(Keeps)} | {
    "planes": "3D",
    "scale": "Scale, units",
    "place": "Position",
}
