"""Locations at which labels may be written in OME-Zarr, and their version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_sam3.images.ome_metadata import OmeVersion, known_version, ome_part, version_of

from .consolidated import ways_to
from .output_files import ExportError, already_exists, check_place

if TYPE_CHECKING:
    import zarr

__all__ = ["check_free", "choose_version", "image_around", "open_group"]


def open_group(path: Path, mode: Any) -> zarr.Group:
    """Open a zarr group from its own metadata, without consolidated copies."""
    import zarr

    return zarr.open_group(path, mode=mode, use_consolidated=False)


def image_around(path: Path) -> Mapping[str, Any] | None:
    """Return the attributes of the OME-Zarr around a label image; None if there is none."""
    for folder in ways_to(path.parent):
        if folder.name != "labels":
            continue
        try:
            attributes = dict(open_group(folder.parent, "r").attrs)
        except (OSError, ValueError):
            continue
        if "multiscales" in ome_part(attributes):
            return attributes
    return None


def choose_version(version: str | None, image: Mapping[str, Any] | None) -> OmeVersion:
    """Choose the version of labels from the requested one and that of the image around them.

    Raises
    ------
    ExportError
        If it cannot be written, or differs from the image around.
    """
    around = None if image is None else version_of(image)
    if around is not None and around not in get_args(OmeVersion):
        raise ExportError(
            f"labels cannot be written into an image in OME-Zarr {around}. Expected '0.5' or "
            "'0.4'. Choose a folder outside of the image."
        )
    try:
        chosen = known_version(version or around or "0.5")
    except ValueError:
        raise ExportError(
            f"OME-Zarr {version!r} cannot be written. Expected '0.5' or '0.4'. Choose one of these."
        ) from None
    if around is not None and chosen != around:
        raise ExportError(
            f"labels in OME-Zarr {chosen} cannot lie in an image in OME-Zarr {around}. Expected "
            "the version of the image. Leave the version out, or choose a folder outside of the "
            "image."
        )
    return chosen


def check_free(path: Path, overwrite: bool) -> None:
    """Raise an error for a path at which labels cannot be written.

    Raises
    ------
    ExportError
        If it exists and may not be replaced.
    """
    check_place(path)
    if path.is_symlink():
        raise ExportError(
            f"{str(path)!r} is a symbolic link. Expected a file, a folder or a new name. Give the "
            f"path that it leads to, {str(path.resolve())!r}, or choose another name."
        )
    if not path.exists():
        return
    if not overwrite:
        raise already_exists(path)
    try:
        replaceable = "image-label" in ome_part(dict(open_group(path, "r").attrs))
    except (OSError, ValueError):
        replaceable = False
    if not replaceable:  # possibly the image itself
        raise ExportError(
            f"{str(path)!r} exists already. Expected an OME-Zarr label image, which may be "
            "overwritten, or a new name. Choose another name."
        )
