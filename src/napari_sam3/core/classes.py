"""Classes of objects with names and colours, and their text form."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sam3.errors import Sam3Error

__all__ = ["PALETTE", "ClassError", "LabelClass", "format_classes", "next_color", "parse_classes"]

# Distinguishable for colour-blind users, on light and dark backgrounds.
PALETTE = ("#26a269", "#e66100", "#3584e4", "#e5a50a", "#c061cb", "#2ec2c2", "#e01b24", "#a2734c")
_COLOR = re.compile(r"#[0-9a-f]{6}")


class ClassError(Sam3Error, ValueError):
    """A list of classes that cannot be parsed."""


@dataclass(frozen=True)
class LabelClass:
    """A class of objects.

    Parameters
    ----------
    name : str
        Name in the window and in tables; without ";".
    color : str
        "#rrggbb", lower case.
    """

    name: str
    color: str


def parse_classes(text: str) -> tuple[LabelClass, ...]:
    """Parse classes from one line: ``nucleus #26a269; cell #e66100``. Colours are optional.

    Raises
    ------
    ClassError
        If a name is empty or not unique, or a colour is not valid.
    """
    classes: list[LabelClass] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, color = part.rpartition("#")
        if not name:
            name, color = part, next_color(tuple(classes)).removeprefix("#")
        parsed = LabelClass(name.strip(), f"#{color.strip().lower()}")
        if not parsed.name or not _COLOR.fullmatch(parsed.color):
            raise ClassError(
                f"the class {part!r} cannot be read. Expected a name and a colour such as "
                '"nucleus #26a269", and ";" between classes. Correct it.'
            )
        if parsed.name in [other.name for other in classes]:
            raise ClassError(
                f"two classes have the name {parsed.name!r}. Expected unique names. Rename one of "
                "them."
            )
        classes.append(parsed)
    return tuple(classes)


def format_classes(classes: tuple[LabelClass, ...]) -> str:
    """Format classes in one line for `parse_classes`."""
    return "; ".join(f"{one.name} {one.color}" for one in classes)


def next_color(classes: tuple[LabelClass, ...]) -> str:
    """Return the first colour of the palette that no class has, or repeat the palette."""
    used = {one.color for one in classes}
    free = [color for color in PALETTE if color not in used]
    return free[0] if free else PALETTE[len(classes) % len(PALETTE)]
