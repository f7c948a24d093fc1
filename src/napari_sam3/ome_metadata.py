"""The metadata of OME-Zarr: axes and pyramids as JSON, in versions 0.4 and 0.5.

Written from the specification, https://ngff.openmicroscopy.org/0.5/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from sam3.errors import ImageError

from .axes import ImageAxes, unit_name

__all__ = ["OmeVersion", "axes_from_ome", "check_axes", "multiscale", "ome_part", "version_of"]

OmeVersion = Literal["0.4", "0.5"]
_TIMES = ("nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day")
MOST_AXES = 5


def ome_part(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes, whichever version wrote it; may be empty."""
    part = attributes.get("ome", attributes)
    return part if isinstance(part, Mapping) else {}


def version_of(attributes: Mapping[str, Any]) -> OmeVersion:
    """Return the version that new groups beside one with these attributes should have."""
    return "0.5" if "ome" in attributes else "0.4"


def check_axes(axes: ImageAxes) -> None:
    """Refuse axes that no OME-Zarr holds.

    Raises
    ------
    sam3.errors.ImageError
        Naming the axes and the way out.
    """
    types = _types(axes)
    if not 2 <= axes.ndim <= MOST_AXES or types.count(None) > 1:
        raise ImageError(
            f"an OME-Zarr cannot hold an image with the axes {', '.join(axes.names)}; expected t, "
            "c, z, y, x, or some of them in this order. Choose another format, such as a TIFF"
        )


def multiscale(
    axes: ImageAxes, factors: Sequence[int], version: OmeVersion, name: str
) -> dict[str, Any]:
    """Return one entry of "multiscales".

    Parameters
    ----------
    axes : ImageAxes
        Of the finest level, all right by `check_axes`.
    factors : sequence of int
        How many rows and columns of the finest level a row and column of each level stand for.
        The levels are the arrays "0", "1" and so on.
    version : {"0.4", "0.5"}
        Of the metadata.
    name : str
        Of the image.
    """
    described = []
    for axis, kind, unit in zip(axes.names, _types(axes), axes.units, strict=True):
        one = {"name": axis}
        if kind is not None:
            one["type"] = kind
        if unit is not None:
            one["unit"] = unit
        described.append(one)
    datasets = [
        {"path": str(level), "coordinateTransformations": _transformations(axes, factor)}
        for level, factor in enumerate(factors)
    ]
    entry: dict[str, Any] = {"name": name, "axes": described, "datasets": datasets}
    if len(factors) > 1:
        entry["type"] = "mode of 2 x 2"
    return {"version": "0.4", **entry} if version == "0.4" else entry


def axes_from_ome(attributes: Mapping[str, Any], ndim: int) -> ImageAxes | None:
    """Return the axes of an image at its finest level; None where nothing usable is said.

    Parameters
    ----------
    attributes : mapping
        Of the group, of any version.
    ndim : int
        How many axes the arrays have.
    """
    try:
        entry = ome_part(attributes)["multiscales"][0]
        described = [one if isinstance(one, Mapping) else {"name": one} for one in entry["axes"]]
        if len(described) != ndim:
            return None
        scale, translate = [1.0] * ndim, [0.0] * ndim
        # First the transformations of the level, then those of the whole image.
        steps = entry["datasets"][0].get("coordinateTransformations", [])
        for step in (*steps, *entry.get("coordinateTransformations", [])):
            for at, value in enumerate(step.get("scale", [1.0] * ndim)):
                scale[at] *= float(value)
                translate[at] *= float(value)
            for at, value in enumerate(step.get("translation", [0.0] * ndim)):
                translate[at] += float(value)
        return ImageAxes(
            tuple(str(one["name"]) for one in described),
            tuple(unit_name(one.get("unit")) for one in described),
            tuple(scale),
            tuple(translate),
        )
    except (ImageError, LookupError, TypeError, ValueError, AttributeError):
        return None


def known_version(version: str) -> OmeVersion:
    """Return a version that can be written; ValueError if it is none."""
    if version not in get_args(OmeVersion):
        raise ValueError(version)
    return cast(OmeVersion, version)


def _transformations(axes: ImageAxes, factor: int) -> list[dict[str, Any]]:
    scale, translate = list(axes.scale), list(axes.translate)
    for at in (-2, -1):  # the centre of a block of pixels lies between them
        translate[at] += scale[at] * (factor - 1) / 2
        scale[at] *= factor
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translate},
    ]


def _types(axes: ImageAxes) -> list[str | None]:
    """Return the types of the axes in OME's terms.

    The specification wants time, then one channel or other axis, then two or three of space. An
    axis that stands elsewhere, as z before c in ImageJ's files, goes without a type.
    """
    types: list[str | None] = []
    last = axes.ndim - 2
    for at, (name, unit) in enumerate(zip(axes.names, axes.units, strict=True)):
        kind: str | None = None
        if at >= last:
            kind = "space"
        elif at == 0 and (name.lower() in ("t", "time") or unit in _TIMES):
            kind = "time"
        elif name.lower() in ("c", "channel"):
            kind = "channel"
        elif at == last - 1 and (name.lower() == "z" or unit not in (None, *_TIMES)):
            kind = "space"
        types.append(kind)
    return types
