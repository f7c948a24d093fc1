"""What each format keeps of a label image, as the dialog and the documentation show it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

__all__ = ["COLUMNS", "MARKS", "Keep", "Keeps"]

#: "ours": it stands in the file, for `read_labels`; other programs pass over it.
Keep = Literal["yes", "ours", "no"]
MARKS: dict[Keep, str] = {"yes": "yes", "ours": "(yes)", "no": "no"}


@dataclass(frozen=True)
class Keeps:
    """What comes back when a file is read; the tests of formats hold each to it.

    Parameters
    ----------
    pixels : Keep
        Which pixels are in objects.
    holes : Keep
        Holes in objects.
    parts : Keep
        That parts which do not touch are one object.
    labels : Keep
        The number of each object.
    planes : Keep
        Stacks, time series and channels.
    scale : Keep
        Scale, units and names of axes.
    place : Keep
        Where the first pixel lies.
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
