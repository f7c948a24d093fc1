"""What the axes of an image are: their names, units, scale and place. Formats read and write it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sam3.errors import ImageError

__all__ = ["TIMES", "ImageAxes", "axis_letter", "unit_name"]

#: Names of axes about which a file says nothing, by their number; rows and columns are the last.
_DEFAULT_NAMES = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}
_SHORT_UNITS = {
    "angstrom": "angstrom å Å",
    "nanometer": "nm nanometre nanometers",
    "micrometer": "um µm μm \\u00b5m \\u03bcm micron microns micrometre micrometers",
    "millimeter": "mm millimetre millimeters",
    "centimeter": "cm centimetre centimeters",
    "meter": "m metre meters",
    "inch": "in inches",
    "nanosecond": "ns nanoseconds",
    "microsecond": "us µs μs microseconds",
    "millisecond": "ms msec milliseconds",
    "second": "s sec secs seconds",
    "minute": "min minutes",
    "hour": "h hr hours",
    "day": "d days",
}
_UNITS = {short: name for name, shorts in _SHORT_UNITS.items() for short in shorts.split()}
#: Units of time.
TIMES = ("nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day")
#: What axes before rows and columns are called, in any case.
_CALLED = {
    "t": re.compile(r"t|t[^a-z].*|time.*|frames?([^a-z].*)?"),
    "z": re.compile(r"z|z[^a-z].*|depth.*|slices?([^a-z].*)?|planes?|sections?|z-?stack"),
    "c": re.compile(r"c|c[^a-z].*|ch|channels?([^a-z].*)?|wavelengths?"),
}
_NO_UNITS = ("", "pixel", "pixels", "px", "none", "null", "dimensionless", "reference frame")


@dataclass(frozen=True)
class ImageAxes:
    """The axes of an image, colours left out, in the order of its data.

    Parameters
    ----------
    names : tuple of D str
        All different, such as ("t", "z", "y", "x"); rows and columns are the last two.
    units : tuple of D (str or None)
        Of `scale` and `translate`, by their full names such as "micrometer" (see `unit_name`);
        None where the axis counts pixels, planes or frames.
    scale : tuple of D float
        Distance between neighbouring pixels, planes or frames; negative where they come in the
        opposite direction, never 0.
    translate : tuple of D float
        Where the centre of the first pixel lies.

    Raises
    ------
    sam3.errors.ImageError
        If the lengths differ, a name comes twice, or a scale is 0 or not finite.
    """

    names: tuple[str, ...]
    units: tuple[str | None, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what does not hold together."""
        count = len(self.names)
        if {len(self.units), len(self.scale), len(self.translate)} != {count}:
            raise ImageError(
                f"{count} axes have {len(self.units)} units, {len(self.scale)} scales and "
                f"{len(self.translate)} translations; expected one of each an axis"
            )
        if len(set(self.names)) < count or "" in self.names:
            raise ImageError(f"the axes {self.names} need names, each its own")
        numbers = (*self.scale, *self.translate)
        if not all(map(math.isfinite, numbers)) or 0 in self.scale:
            raise ImageError(
                f"axes with scale {self.scale} and translation {self.translate} have no place; "
                "expected finite numbers, and no scale of 0"
            )

    @classmethod
    def default(cls, ndim: int) -> ImageAxes:
        """Return the axes of an image of which nothing but their number is known: all in px."""
        names = _DEFAULT_NAMES.get(ndim) or tuple(
            ["yx"[at - ndim] if at >= ndim - 2 else f"axis_{at}" for at in range(ndim)]
        )
        return cls(tuple(names), (None,) * ndim, (1.0,) * ndim, (0.0,) * ndim)

    @classmethod
    def of(
        cls,
        names: Iterable[str],
        *,
        units: Sequence[str | None] | None = None,
        scale: Sequence[float] | None = None,
        translate: Sequence[float] | None = None,
    ) -> ImageAxes:
        """Return axes with the properties that a file or layer gives.

        Parameters
        ----------
        names : iterable of D str
            One letter each, or words.
        units : sequence of D (str or None), optional
            In any spelling; pixels mean none.
        scale, translate : sequence of D float, optional
            A scale of 0, or one that is not finite, is taken as unknown: the axis counts pixels.
        """
        given = tuple(names)
        known = cls.default(len(given))
        steps = (1.0,) * len(given) if scale is None else tuple(map(float, scale))
        usable = [math.isfinite(step) and step != 0 for step in steps]
        if scale is not None:
            known = replace(
                known, scale=tuple(s if u else 1.0 for s, u in zip(steps, usable, strict=True))
            )
        if units is not None:
            pairs = zip(units, usable, strict=True)
            known = replace(known, units=tuple(unit_name(unit) if u else None for unit, u in pairs))
        if translate is not None:
            known = replace(known, translate=tuple(float(at) for at in translate))
        return replace(known, names=given)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.names)

    def letters(self, lengths: Sequence[int] | None = None) -> tuple[str, ...]:
        """Return which axes before rows and columns are depth, time and channels: z, t and c.

        Names decide, in any case, then units of time; an axis that nothing is known of becomes
        the first of these that is free. With more than three axes, some get "".

        Parameters
        ----------
        lengths : sequence of int, optional
            Of the axes. Those of length 1 come last.
        """
        names, units = self.names[:-2], self.units[:-2]
        letters = [""] * len(names)
        known = [2] * len(names) if lengths is None else list(lengths)
        order = sorted(range(len(names)), key=lambda at: known[at] == 1)
        for at in order:
            if axis_letter(names[at]) not in letters:
                letters[at] = axis_letter(names[at])
        for at in order:
            free = [one for one in ("z", "t", "c") if one not in letters]
            if not letters[at] and free:
                letters[at] = "t" if units[at] in TIMES and "t" in free else free[0]
        return tuple(letters)

    def take(self, axes: Iterable[int]) -> ImageAxes:
        """Return some of the axes, by number, in the order given."""
        chosen = tuple(axes)
        return ImageAxes(
            tuple(self.names[at] for at in chosen),
            tuple(self.units[at] for at in chosen),
            tuple(self.scale[at] for at in chosen),
            tuple(self.translate[at] for at in chosen),
        )


def axis_letter(name: str) -> str:
    """Return "z", "t" or "c" for the name of an axis, such as "Z" or "Time"; "" for others."""
    text = name.strip().lower()
    return next((letter for letter, called in _CALLED.items() if called.fullmatch(text)), "")


def unit_name(unit: object) -> str | None:
    """Return the full name of a unit, such as "micrometer" for "µm"; None for pixels or nothing.

    Names that are not known are kept as they are.
    """
    text = "" if unit is None else str(unit).strip()
    if text.lower() in _NO_UNITS:
        return None
    return _UNITS.get(text) or _UNITS.get(text.lower()) or text
