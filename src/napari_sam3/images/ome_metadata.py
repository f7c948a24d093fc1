"""The metadata of OME-Zarr: axes and pyramids as JSON, written in versions 0.4 and 0.5.

Implements the specification, https://ngff.openmicroscopy.org/0.5/. The axes of version 0.6, which
belong to a coordinate system, can be read as well.
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
    "only_entry",
    "version_of",
]

OmeVersion = Literal["0.4", "0.5"]
MOST_AXES = 5
#: Method with which coarser levels are computed, for the metadata.
_METHOD = "mode of 2 x 2"


def ome_part(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the OME part of a group's attributes in any version; may be empty."""
    part = attributes.get("ome", attributes)
    return part if isinstance(part, Mapping) else {}


def only_entry(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the pyramid of a group; raises ValueError unless there is one, with levels."""
    entries = ome_part(attributes).get("multiscales")
    if not isinstance(entries, Sequence) or len(entries) != 1:
        count = len(entries) if isinstance(entries, Sequence) else 0
        raise ValueError(f"{count} pyramids in its metadata")
    if not entries[0].get("datasets"):
        raise ValueError("no levels in its metadata")
    entry: Mapping[str, Any] = entries[0]
    return entry


def version_of(attributes: Mapping[str, Any]) -> str:
    """Return the version for new groups next to one with these attributes.

    It may be a version that cannot be written; see `known_version`.
    """
    if "ome" not in attributes:
        return "0.4"  # what is written does not differ in earlier versions
    version = str(ome_part(attributes).get("version", "0.5"))
    # Such as "0.5-dev-spatialdata", or what an earlier version was converted from.
    return "0.5" if version.startswith(("0.5", "0.4")) else version


def check_axes(axes: ImageAxes) -> None:
    """Raise an error for axes that OME-Zarr does not support.

    Raises
    ------
    sam3.errors.ImageError
        With the axes and an alternative.
    """
    types = _types(axes)
    if not 2 <= axes.ndim <= MOST_AXES or types.count(None) > 1:
        raise ImageError(
            f"an OME-Zarr cannot hold an image with the axes {', '.join(axes.names)}. Expected t, "
            "c, z, y, x, or some of them in this order. Choose another format, such as TIFF."
        )


def multiscale(
    axes: ImageAxes, factors: Sequence[int], version: OmeVersion, name: str
) -> dict[str, Any]:
    """Return one entry of "multiscales".

    Parameters
    ----------
    axes : ImageAxes
        Axes of the finest level, valid for `check_axes`.
    factors : sequence of int
        Downsampling factor of rows and columns for each level. The levels are the arrays "0", "1"
        and so on.
    version : {"0.4", "0.5"}
        Version of the metadata.
    name : str
        Name of the image.
    """
    descriptions = []
    for axis, kind, unit in zip(axes.names, _types(axes), axes.units, strict=True):
        description = {"name": axis}
        if kind is not None:
            description["type"] = kind
        if unit is not None:
            description["unit"] = unit
        descriptions.append(description)
    levels = datasets(axes, factors)
    entry: dict[str, Any] = {"name": name, "axes": descriptions, "datasets": levels}
    return {"version": "0.4", **entry} if version == "0.4" else entry


def datasets(axes: ImageAxes, factors: Sequence[int]) -> list[dict[str, Any]]:
    """Return the levels of a pyramid, the arrays "0", "1" and so on; see `multiscale`."""
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
    """Return an entry of "multiscales" with its finest level unchanged, and coarser ones.

    Parameters
    ----------
    entry : mapping
        Present entry, valid for `can_extend`.
    names : sequence of str
        Arrays of the coarser levels, each with half the rows and columns of the previous.
    """
    finest = entry["datasets"][0]
    # Without the transformations of the whole image, which apply to all levels.
    axes = axes_from_ome(
        {"multiscales": [{"axes": entry["axes"], "datasets": [finest]}]}, len(entry["axes"])
    )
    assert axes is not None, "the image was opened with these axes"
    coarser = datasets(axes, [2**level for level in range(len(names) + 1)])[1:]
    named = [{**level, "path": name} for level, name in zip(coarser, names, strict=True)]
    rest = {name: value for name, value in entry.items() if name != "type"}
    return {**rest, "datasets": [finest, *named], **({"type": _METHOD} if names else {})}


def axes_from_ome(attributes: Mapping[str, Any], ndim: int) -> ImageAxes | None:
    """Return the axes of an image at its finest level; None without usable metadata.

    Parameters
    ----------
    attributes : mapping
        Attributes of the group, of any version.
    ndim : int
        Number of axes of the arrays.
    """
    try:
        entry = ome_part(attributes)["multiscales"][0]
        axis_list, steps = _steps(entry)
        described = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axis_list]
        if len(described) != ndim:
            return None
        ones, zeros = [1.0] * ndim, [0.0] * ndim
        scale, translate = list(ones), list(zeros)
        for step in steps:
            factors, offsets = step.get("scale", ones), step.get("translation", zeros)
            for at, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
                scale[at] *= float(factor)
                translate[at] = translate[at] * float(factor) + float(offset)
        return ImageAxes(
            tuple(str(axis["name"]) for axis in described),
            tuple(unit_name(axis.get("unit")) for axis in described),
            tuple(scale),
            tuple(translate),
        )
    except (ImageError, LookupError, TypeError, ValueError, AttributeError):
        return None


def _steps(entry: Mapping[str, Any]) -> tuple[Sequence[Any], list[Mapping[str, Any]]]:
    """Return the axes of an image, and the transformations from its pixels."""
    steps = list(entry["datasets"][0].get("coordinateTransformations", []))
    if "coordinateSystems" not in entry:
        # The transformations of the level precede those of the whole image. SpatialData may have
        # several of the latter, of which the first leads to the system that all elements share.
        whole = entry.get("coordinateTransformations", [])
        return entry["axes"], [*steps, *(whole[:1] if whole and "output" in whole[0] else whole)]
    # From 0.6 on, each transformation names its output system.
    systems = {system["name"]: system["axes"] for system in entry["coordinateSystems"]}
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
    """Return a version that can be written; raises ValueError for other versions."""
    if version not in get_args(OmeVersion):
        raise ValueError(version)
    return cast(OmeVersion, version)


def _transformations(axes: ImageAxes, factor: int) -> list[dict[str, Any]]:
    scale, translate = list(axes.scale), list(axes.translate)
    for at in (-2, -1):  # the centre of a block is between pixels
        translate[at] += scale[at] * (factor - 1) / 2
        scale[at] *= factor
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translate},
    ]


def _types(axes: ImageAxes) -> list[str | None]:
    """Return the types of the axes in OME's terms.

    The specification requires time, then one channel or other axis, then two or three axes of
    space. An axis at another position, such as z before c in ImageJ's files, has no type.
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
