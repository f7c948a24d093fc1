"""Classes of objects: their names and colours, and how they are written in one line."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sam3.errors import Sam3Error

__all__ = ["PALETTE", "ClassError", "LabelClass", "format_classes", "next_color", "parse_classes"]

# Colours that colour-blind people can distinguish, on light and on dark backgrounds.
PALETTE = ("#26a269", "#e66100", "#3584e4", "#e5a50a", "#c061cb", "#2ec2c2", "#e01b24", "#a2734c")
_COLOR = re.compile(r"#[0-9a-f]{6}")


class ClassError(Sam3Error, ValueError):
    """A list of classes that cannot be understood."""


@dataclass(frozen=True)
class LabelClass:
    """A class of objects.

    Parameters
    ----------
    name : str
        As it is shown and written into tables; without ";".
    color : str
        "#rrggbb", lower case.
    """

    name: str
    color: str


def parse_classes(text: str) -> tuple[LabelClass, ...]:
    """Read classes from one line: ``nucleus #26a269; cell #e66100``. Colours may be left out.

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
        one = LabelClass(name.strip(), f"#{color.strip().lower()}")
        if not one.name or not _COLOR.fullmatch(one.color):
            raise ClassError(
                f"the class {part!r} cannot be read; expected a name and a colour such as "
                '"nucleus #26a269", classes separated by ";"'
            )
        if one.name in [other.name for other in classes]:
            raise ClassError(f"the class {one.name!r} comes twice; give each class its own name")
        classes.append(one)
    return tuple(classes)


def format_classes(classes: tuple[LabelClass, ...]) -> str:
    """Write classes in one line, as `parse_classes` reads them."""
    return "; ".join(f"{one.name} {one.color}" for one in classes)


def next_color(classes: tuple[LabelClass, ...]) -> str:
    """Return a colour that no class has yet, as long as there are some."""
    taken = {one.color for one in classes}
    free = [color for color in PALETTE if color not in taken]
    return free[0] if free else PALETTE[len(classes) % len(PALETTE)]
