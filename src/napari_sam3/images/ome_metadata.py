"""The metadata of OME-Zarr: axes and pyramids as JSON, written in versions 0.4 and 0.5.

Written from the specification, https://ngff.openmicroscopy.org/0.5/. The axes of version 0.6, where
they are those of a coordinate system, are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

from napari_sam3.core.axes import TIMES, ImageAxes, axis_letter, unit_name
from sam3.errors import ImageError

__all__ = [
    "OmeVersion",
    "axes_from_ome",
    "can_extend",
    "check_axes",
    "datasets",
    "extended",
    "known_version",
    "multiscale",
    "ome_part",
    "version_of",
]

OmeVersion = Literal["0.4", "0.5"]
MOST_AXES = 5
#: How the coarser levels were made, in the metadata.
_METHOD = "mode of 2 x 2"


def ome_part(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes, whichever version wrote it; may be empty."""
    part = attributes.get("ome", attributes)
    return part if isinstance(part, Mapping) else {}


def version_of(attributes: Mapping[str, Any]) -> str:
    """Return the version for new groups next to one with these attributes.

    It need not be one that can be written; see `known_version`.
    """
    if "ome" not in attributes:
        return "0.4"  # from which versions before it differ in nothing that is written
    version = str(ome_part(attributes).get("version", "0.5"))
    return "0.5" if version.startswith("0.5") else version  # such as "0.5-dev-spatialdata"


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
    entry: dict[str, Any] = {"name": name, "axes": described, "datasets": datasets(axes, factors)}
    return {"version": "0.4", **entry} if version == "0.4" else entry


def datasets(axes: ImageAxes, factors: Sequence[int]) -> list[dict[str, Any]]:
    """Return the levels of a pyramid: the arrays "0", "1" and so on; see `multiscale`."""
    return [
        {"path": str(level), "coordinateTransformations": _transformations(axes, factor)}
        for level, factor in enumerate(factors)
    ]


def can_extend(attributes: Mapping[str, Any]) -> bool:
    """Return whether coarser levels may be written: none exist, or this package wrote them."""
    entry = ome_part(attributes)["multiscales"][0]
    own = len(entry["datasets"]) == 1 or entry.get("type") == _METHOD
    known = version_of(attributes) in get_args(OmeVersion)
    return own and known and axes_from_ome(attributes, len(entry.get("axes", ()))) is not None


def extended(entry: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return an entry of "multiscales" with its finest level as it is, and coarser ones.

    Parameters
    ----------
    entry : mapping
        As it is now, all right by `can_extend`.
    names : sequence of str
        The arrays of the coarser levels, each with half the rows and columns of the one before.
    """
    finest = entry["datasets"][0]
    # Without the transformations of the whole image, which are for all its levels.
    axes = axes_from_ome(
        {"multiscales": [{"axes": entry["axes"], "datasets": [finest]}]}, len(entry["axes"])
    )
    assert axes is not None, "it was opened by these axes"
    coarser = datasets(axes, [2**level for level in range(len(names) + 1)])[1:]
    named = [{**level, "path": name} for level, name in zip(coarser, names, strict=True)]
    rest = {name: value for name, value in entry.items() if name != "type"}
    return {**rest, "datasets": [finest, *named], **({"type": _METHOD} if names else {})}


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
        described, steps = _steps(entry)
        described = [one if isinstance(one, Mapping) else {"name": one} for one in described]
        if len(described) != ndim:
            return None
        scale, translate = [1.0] * ndim, [0.0] * ndim
        for step in steps:
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


def _steps(entry: Mapping[str, Any]) -> tuple[Sequence[Any], list[Mapping[str, Any]]]:
    """Return the axes of an image, and the transformations from pixels to them."""
    steps = list(entry["datasets"][0].get("coordinateTransformations", []))
    if "coordinateSystems" not in entry:
        # First the transformations of the level, then those of the whole image; in SpatialData,
        # where these lead to several systems, the first is the one that all elements share.
        whole = entry.get("coordinateTransformations", [])
        return entry["axes"], [*steps, *(whole[:1] if whole and "output" in whole[0] else whole)]
    # From 0.6 on, each transformation says where it leads; those of the whole image lead on.
    systems = {one["name"]: one["axes"] for one in entry["coordinateSystems"]}
    output = steps[0]["output"]
    name = output["name"] if isinstance(output, Mapping) else output
    return systems[name], _flat(steps[:1])


def _flat(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    flat: list[Mapping[str, Any]] = []
    for step in steps:
        if step["type"] not in ("identity", "scale", "translation", "sequence"):
            raise ValueError(step["type"])
        flat += _flat(step["transformations"]) if step["type"] == "sequence" else [step]
    return flat


def known_version(version: str) -> OmeVersion:
    """Return a version that can be written; raises ValueError for others."""
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
        elif at == 0 and (axis_letter(name) == "t" or unit in TIMES):
            kind = "time"
        elif axis_letter(name) == "c":
            kind = "channel"
        elif at == last - 1 and (axis_letter(name) == "z" or unit not in (None, *TIMES)):
            kind = "space"
        types.append(kind)
    return types
