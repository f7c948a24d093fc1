"""Axes, units and scale from the metadata of TIFF files: OME's and ImageJ's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .axes import ImageAxes

__all__ = ["tiff_axes"]

_KNOWN = "tczyx"


def tiff_axes(file: Any) -> ImageAxes:
    """Return the axes of a TIFF's first series, colours left out.

    Parameters
    ----------
    file : tifffile.TiffFile
        Open.

    Returns
    -------
    ImageAxes
        In px where the file says nothing: the resolution of other TIFFs is that of a printer.
    """
    letters = [str(letter).lower() for letter in file.series[0].axes if letter != "S"]
    sizes: Mapping[str, tuple[float, str | None]] = {}
    if file.is_ome:
        sizes = _ome_sizes(file)
    elif file.is_imagej:
        sizes = _imagej_sizes(file)
    return ImageAxes.of(
        _names(letters),
        scale=[sizes.get(letter, (1.0, None))[0] for letter in letters],
        units=[sizes.get(letter, (1.0, None))[1] for letter in letters],
    )


def _names(letters: list[str]) -> tuple[str, ...]:
    """Name the axes: tifffile calls those that it knows nothing of Q and I."""
    default = ImageAxes.default(len(letters)).names
    if not any(letter in _KNOWN for letter in letters[:-2]):
        return default
    known = letters.count
    return tuple(
        letter if letter in _KNOWN and known(letter) == 1 else f"axis_{at}"
        for at, letter in enumerate(letters)
    )


def _ome_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    import tifffile

    try:
        images = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    except Exception:  # damaged XML raises many kinds; the pixels can be read all the same
        return {}
    found: dict[str, tuple[float, str | None]] = {}
    for axis, size, unit in (
        *((axis, f"PhysicalSize{axis.upper()}", "micrometer") for axis in "zyx"),
        ("t", "TimeIncrement", "second"),
    ):
        step = _number(pixels.get(size))
        if step is not None:
            found[axis] = step, str(pixels.get(f"{size}Unit", unit))
    return found


def _imagej_sizes(file: Any) -> dict[str, tuple[float, str | None]]:
    about = file.imagej_metadata or {}
    found: dict[str, tuple[float, str | None]] = {}
    unit = about.get("unit")
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = file.pages.first.tags.get(name)
        pixels, whole = tag.value if tag is not None else (0, 0)
        if unit is not None and pixels and whole:  # pixels a unit, as a fraction
            found[axis] = whole / pixels, str(about.get(f"{axis}unit") or unit)
    for axis, name, unit_of in (("z", "spacing", unit), ("t", "finterval", about.get("tunit"))):
        step = _number(about.get(name))
        if step is not None and (axis == "t" or unit is not None):
            found[axis] = step, str(unit_of or "second")
    return found


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if number > 0 else None
