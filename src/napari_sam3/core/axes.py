"""Names, units, scale and origin of the axes of an image, for all file formats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sam3.errors import ImageError

__all__ = ["TIMES", "ImageAxes", "axis_letter", "axis_to_follow", "is_time", "unit_name"]

#: Default names of axes, by their number; rows and columns come last.
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
#: Names of z, t and c axes in files, in lower case.
_NAMES = {
    "t": re.compile(r"t|t[^a-z].*|time.*|frames?([^a-z].*)?"),
    "z": re.compile(r"z|z[^a-z].*|depth.*|slices?([^a-z].*)?|planes?|sections?|z-?stack"),
    "c": re.compile(r"c|c[^a-z].*|ch|channels?([^a-z].*)?|wavelengths?"),
}
_NO_UNITS = ("", "pixel", "pixels", "px", "none", "null", "dimensionless", "reference frame")


@dataclass(frozen=True)
class ImageAxes:
    """The axes of an image, without colours, in the order of its data.

    Parameters
    ----------
    names : tuple of D str
        Unique names such as ("t", "z", "y", "x"); rows and columns are the last two.
    units : tuple of D (str or None)
        Units of `scale` and `translate` by their full names, such as "micrometer" (see
        `unit_name`); None for an axis that counts pixels, planes or frames.
    scale : tuple of D float
        Distance between neighbouring pixels, planes or frames; negative for a reversed axis, never
        0.
    translate : tuple of D float
        Position of the centre of the first pixel.

    Raises
    ------
    sam3.errors.ImageError
        If the lengths differ, a name is not unique, or a scale is 0 or not finite.
    """

    names: tuple[str, ...]
    units: tuple[str | None, ...]
    scale: tuple[float, ...]
    translate: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the properties are consistent."""
        count = len(self.names)
        if {len(self.units), len(self.scale), len(self.translate)} != {count}:
            raise ImageError(
                f"{count} axes have {len(self.units)} units, {len(self.scale)} scales and "
                f"{len(self.translate)} translations. Expected one of each per axis. Pass as many "
                "of each."
            )
        if len(set(self.names)) < count or "" in self.names:
            raise ImageError(
                f"invalid names of axes: {self.names}. Expected a unique name each. Rename them."
            )
        numbers = (*self.scale, *self.translate)
        if not all(map(math.isfinite, numbers)) or 0 in self.scale:
            raise ImageError(
                f"invalid scale {self.scale} or translation {self.translate} of axes. Expected "
                "finite numbers, and no scale of 0. Correct them."
            )

    @classmethod
    def default(cls, ndim: int) -> ImageAxes:
        """Return the axes of an image without metadata: all in px."""
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
        """Return axes with the properties from a file or layer.

        Parameters
        ----------
        names : iterable of D str
            One letter each, or words.
        units : sequence of D (str or None), optional
            In any spelling; units of pixels become None.
        scale, translate : sequence of D float, optional
            Zero or infinite scales are ignored: such an axis counts pixels.
        """
        names = tuple(names)
        axes = cls.default(len(names))
        steps = (1.0,) * len(names) if scale is None else tuple(map(float, scale))
        usable = [math.isfinite(step) and step != 0 for step in steps]
        if scale is not None:
            axes = replace(
                axes, scale=tuple(s if u else 1.0 for s, u in zip(steps, usable, strict=True))
            )
        if units is not None:
            pairs = zip(units, usable, strict=True)
            axes = replace(axes, units=tuple(unit_name(unit) if u else None for unit, u in pairs))
        if translate is not None:
            axes = replace(axes, translate=tuple(float(at) for at in translate))
        return replace(axes, names=names)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.names)

    def letters(self, lengths: Sequence[int] | None = None) -> tuple[str, ...]:
        """Return the letters z, t or c of the axes before rows and columns.

        Names decide, then units of time. Any other axis gets the first free letter, or "" beyond
        three axes.

        Parameters
        ----------
        lengths : sequence of int, optional
            Lengths of the axes. Axes of length 1 are assigned last.
        """
        names, units = self.names[:-2], self.units[:-2]
        letters = [""] * len(names)
        sizes = [2] * len(names) if lengths is None else list(lengths)
        order = sorted(range(len(names)), key=lambda at: sizes[at] == 1)
        for at in order:
            if axis_letter(names[at]) not in letters:
                letters[at] = axis_letter(names[at])
        for at in order:
            free = [letter for letter in ("z", "t", "c") if letter not in letters]
            if not letters[at] and free:
                letters[at] = "t" if units[at] in TIMES and "t" in free else free[0]
        return tuple(letters)

    def number_of(self, axis: int | str | None) -> int:
        """Return the number of an axis before rows and columns; a number is returned as it is.

        Parameters
        ----------
        axis : int, str or None
            Number; or name, in upper or lower case, or the letter of it, such as "t" for "Time".
            None for the one along which objects most likely continue, counted from the end.

        Raises
        ------
        sam3.errors.ImageError
            If no axis before rows and columns has the name.
        """
        if axis is None:
            followed = axis_to_follow(dict(enumerate(self.names[:-2])))
            return -1 if followed is None else followed - (self.ndim - 2)
        if isinstance(axis, int):
            return axis
        names, wanted = [name.lower() for name in self.names[:-2]], axis.strip().lower()
        for known in (names, [axis_letter(name) for name in names]):
            if wanted and wanted in known:
                return known.index(wanted)
        there = ", ".join(self.names[:-2]) or "none: it is a single plane"
        raise ImageError(
            f"there is no axis {axis!r} before rows and columns. Expected one of the file's "
            f"({there}), or a number. Choose one of these."
        )

    def take(self, axes: Iterable[int]) -> ImageAxes:
        """Return some of the axes, by index, in the given order."""
        chosen = tuple(axes)
        return ImageAxes(
            tuple(self.names[at] for at in chosen),
            tuple(self.units[at] for at in chosen),
            tuple(self.scale[at] for at in chosen),
            tuple(self.translate[at] for at in chosen),
        )


def is_time(name: str, unit: object = None) -> bool:
    """Whether an axis is time, by its name or unit."""
    return axis_letter(name) == "t" or unit_name(unit) in TIMES


def axis_letter(name: str) -> str:
    """Return "z", "t" or "c" for the name of an axis, such as "Z" or "Time"; "" for others."""
    text = name.strip().lower()
    return next((letter for letter, pattern in _NAMES.items() if pattern.fullmatch(text)), "")


def axis_to_follow(names: Mapping[int, str]) -> int | None:
    """Return the axis along which objects most likely continue.

    Parameters
    ----------
    names : mapping of int to str
        Names of the possible axes.

    Returns
    -------
    int or None
        The last one that is not a channel, if there is one; None without axes.
    """
    objects = [axis for axis, name in names.items() if axis_letter(name) != "c"]
    return max(objects or names, default=None)


def unit_name(unit: object) -> str | None:
    """Return the full name of a unit, such as "micrometer" for "µm"; None for pixels or none.

    Unknown names are returned unchanged.
    """
    text = "" if unit is None else str(unit).strip()
    if text.lower() in _NO_UNITS:
        return None
    return _UNITS.get(text) or _UNITS.get(text.lower()) or text
