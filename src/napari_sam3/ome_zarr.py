"""Label images as OME-Zarr: made before the work, filled by any number of processes, finished."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3.errors import ImageError

from .axes import ImageAxes
from .label_pyramid import add_level, coarser
from .ome_metadata import (
    OmeVersion,
    axes_from_ome,
    check_axes,
    known_version,
    multiscale,
    ome_part,
    version_of,
)
from .output_files import ExportError

if TYPE_CHECKING:
    import zarr

__all__ = ["ImageAxes", "LabelImage", "check_free", "create_labels", "making_labels", "open_labels"]

#: Rows and columns of a chunk where none are given, and of the coarsest level at most.
CHUNK = 1024
COARSEST = 512


@dataclass(frozen=True, eq=False)
class LabelImage:
    """An OME-Zarr image of labels on the disk.

    It is valid from its first moment, with one level; `finish` adds the coarser ones. Several
    processes may write to it at once, each whole chunks of its own.

    Parameters
    ----------
    path : Path
        Its folder.
    axes : ImageAxes
        Of the finest level.
    version : {"0.4", "0.5"}
        Of OME-Zarr: 0.4 is zarr 2, 0.5 is zarr 3.
    array : zarr.Array of integers, D axes
        The finest level.
    """

    path: Path
    axes: ImageAxes
    version: OmeVersion
    array: zarr.Array[Any] = field(repr=False)

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """The arrays of all levels there are now, finest first."""
        group: Any = _open_group(self.path, "r")
        (entry,) = ome_part(dict(group.attrs))["multiscales"]
        return [group[one["path"]] for one in entry["datasets"]]

    @property
    def properties(self) -> list[Mapping[str, Any]]:
        """What is known of labels, each with its "label-value"; as `finish` was given it."""
        about: Any = ome_part(dict(_open_group(self.path, "r").attrs))
        found = about.get("image-label", {}).get("properties") or []
        return [one for one in found if isinstance(one, Mapping)]

    def finish(
        self,
        properties: Mapping[int, Mapping[str, Any]] | None = None,
        colors: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Build the coarser levels from the finest, and complete the metadata.

        To be called when all is written; it may be called again, after corrections or a kill. No
        more than a few chunks are in memory at a time. A pixel of a coarser level is the label
        that most of its four pixels have: labels are never mixed.

        Parameters
        ----------
        properties : mapping of int to mapping, optional
            What is known of each label, by names, as JSON can hold it: area, score, and so on.
        colors : mapping of int to (red, green, blue, alpha), optional
            From 0 to 255.

        Raises
        ------
        ExportError
            If it cannot be written.
        """
        try:
            group = _open_group(self.path, "r+")
            # Until all levels are there, only the finest is announced.
            _describe(group, self.axes, [1], self.version, properties, colors)
            for name in [name for name, _ in group.arrays() if name.isdecimal() and name != "0"]:
                del group[name]
            levels, factors = [self.array], [1]
            while max(levels[-1].shape[-2:]) > COARSEST:
                levels.append(coarser(group, str(len(levels)), levels[-1], self.axes))
                factors.append(2 * factors[-1])
            _describe(group, self.axes, factors, self.version, properties, colors)
        except OSError as error:
            raise _unwritten(self.path, error) from error


def create_labels(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    axes: ImageAxes | None = None,
    *,
    chunks: Sequence[int] | None = None,
    version: str | None = None,
    overwrite: bool = False,
) -> LabelImage:
    """Make an OME-Zarr image of labels that are all 0.

    It appears under its name in one go. Inside another OME-Zarr (``image.zarr/labels/name``) it
    is added to the list of that image's labels.

    Parameters
    ----------
    path : str or path-like
        Folder to make; those above it are made if need be.
    shape : sequence of D int
        Two to five axes, rows and columns last.
    dtype : dtype
        Of integers.
    axes : ImageAxes, optional
        Of the image that is labelled; pixels if not given.
    chunks : sequence of D int, optional
        By default one plane, 1024 x 1024 px at most.
    version : {"0.4", "0.5"}, optional
        Of OME-Zarr; by default 0.5, or that of the image around it.
    overwrite : bool
        Replace a label image that is there. Nothing else is ever replaced.

    Raises
    ------
    ExportError
        If it exists, cannot be written, or has another version than the image around it.
    sam3.errors.ImageError
        If OME-Zarr has no way to hold such axes.
    """
    options: Any = {"chunks": chunks, "version": version, "overwrite": overwrite}
    with making_labels(path, shape, dtype, axes, **options):
        pass
    return open_labels(path)


@contextmanager
def making_labels(
    path: str | os.PathLike[str],
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    axes: ImageAxes | None = None,
    *,
    chunks: Sequence[int] | None = None,
    version: str | None = None,
    overwrite: bool = False,
) -> Iterator[LabelImage]:
    """Lend labels that are all 0 to be filled; they appear under their name once that is done.

    What they replace is there until then, and can be read to fill them. Parameters and errors are
    those of `create_labels`.
    """
    path, shape = Path(path), tuple(int(length) for length in shape)
    axes = ImageAxes.default(len(shape)) if axes is None else axes
    if axes.ndim != len(shape):
        raise ImageError(f"labels of shape {shape} cannot have the axes {axes.names}: one each")
    check_axes(axes)
    if np.dtype(dtype).kind not in "iu":
        raise ExportError(f"labels of dtype {np.dtype(dtype)} cannot be written; expected integers")
    image = _image_around(path)
    chosen = _choose_version(version, image)
    check_free(path, overwrite)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(partial, path, shape, np.dtype(dtype), axes, chunks, chosen, image is not None)
        yield open_labels(partial)
        if path.exists():
            old = path.with_name(f".{secrets.token_hex(8)}.old")
            os.replace(path, old)
            os.replace(partial, path)
            shutil.rmtree(old)
        else:
            os.replace(partial, path)
        if image is not None:
            _list(path, chosen)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_labels(path: str | os.PathLike[str], *, read_only: bool = False) -> LabelImage:
    """Open an image of labels that `create_labels` or another program made.

    Parameters
    ----------
    path : str or path-like
        Its folder.
    read_only : bool
        Only to read from it.

    Raises
    ------
    sam3.errors.ImageError
        If there is none.
    """
    path = Path(path)
    try:
        group: Any = _open_group(path, "r" if read_only else "r+")
        attributes = dict(group.attrs)
        (entry,) = ome_part(attributes)["multiscales"]
        array = group[entry["datasets"][0]["path"]]
        axes = axes_from_ome(attributes, array.ndim) or ImageAxes.default(array.ndim)
    except Exception as error:  # zarr raises many kinds for what is no zarr
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} is no OME-Zarr label image ({reason}); check the path"
        ) from error
    if array.dtype.kind not in "iu":
        raise ImageError(f"{str(path)!r} holds {array.dtype}; expected labels, which are integers")
    return LabelImage(path, axes, version_of(attributes), array)


def _open_group(path: Path, mode: Any) -> zarr.Group:
    import zarr

    return zarr.open_group(path, mode=mode)


def _make(
    folder: Path,
    path: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: ImageAxes,
    chunks: Sequence[int] | None,
    version: OmeVersion,
    in_image: bool,
) -> None:
    import zarr

    if chunks is None:
        chunks = (*(1,) * (len(shape) - 2), CHUNK, CHUNK)
    group = zarr.create_group(folder, zarr_format=3 if version == "0.5" else 2)
    add_level(group, "0", shape, dtype, chunks, axes)
    _describe(group, axes, [1], version, None, None, name=path.name, in_image=in_image)


def _describe(
    group: zarr.Group,
    axes: ImageAxes,
    factors: Sequence[int],
    version: OmeVersion,
    properties: Mapping[int, Mapping[str, Any]] | None,
    colors: Mapping[int, Sequence[int]] | None,
    *,
    name: str | None = None,
    in_image: bool = False,
) -> None:
    """Write the group's metadata; what is not given stays as it is."""
    about: Any = ome_part(dict(group.attrs))
    label: dict[str, Any] = dict(about.get("image-label", {}))
    if name is None:
        name = about["multiscales"][0].get("name", "labels")
    label["version"] = version
    if in_image:
        label["source"] = {"image": "../../"}
    if properties is not None:
        label["properties"] = [
            {"label-value": int(number), **known} for number, known in sorted(properties.items())
        ]
    if colors is not None:
        label["colors"] = [
            {"label-value": int(number), "rgba": [int(part) for part in rgba]}
            for number, rgba in sorted(colors.items())
        ]
    entry = multiscale(axes, factors, version, name)
    _set_ome(group, {"multiscales": [entry], "image-label": label}, version)


def _image_around(path: Path) -> Mapping[str, Any] | None:
    """Return the attributes of the OME-Zarr that a label image lies in; None if in none."""
    if path.parent.name != "labels":
        return None
    try:
        attributes = dict(_open_group(path.parent.parent, "r").attrs)
    except (OSError, ValueError):
        return None
    return attributes if "multiscales" in ome_part(attributes) else None


def _choose_version(version: str | None, image: Mapping[str, Any] | None) -> OmeVersion:
    around = None if image is None else version_of(image)
    try:
        chosen = known_version(version or around or "0.5")
    except ValueError:
        raise ExportError(
            f"OME-Zarr {version!r} cannot be written; expected '0.5' or '0.4'"
        ) from None
    if around is not None and chosen != around:
        raise ExportError(
            f"labels in OME-Zarr {chosen} cannot lie in an image in OME-Zarr {around}; leave the "
            "version out, or choose a folder outside of the image"
        )
    return chosen


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse a path that labels cannot be written to.

    Raises
    ------
    ExportError
        If something is there that may not be replaced.
    """
    if not path.exists():
        return
    if not overwrite:
        raise ExportError(f"{str(path)!r} exists already; choose another name or --overwrite it")
    try:
        replaceable = "image-label" in ome_part(dict(_open_group(path, "r").attrs))
    except (OSError, ValueError):
        replaceable = False
    if not replaceable:  # the image itself, perhaps
        raise ExportError(
            f"{str(path)!r} is no OME-Zarr label image, so it is not overwritten; choose another "
            "name"
        )


def _list(path: Path, version: OmeVersion) -> None:
    """Add a label image to the list of its image."""
    import zarr

    folder = path.parent
    group = zarr.open_group(folder, mode="a", zarr_format=3 if version == "0.5" else 2)
    names = list(ome_part(dict(group.attrs)).get("labels", []))
    if path.name not in names:
        names.append(path.name)
    _set_ome(group, {"labels": names}, version)


def _set_ome(group: zarr.Group, part: dict[str, Any], version: OmeVersion) -> None:
    group.attrs.update({"ome": {"version": version, **part}} if version == "0.5" else part)


def _unwritten(path: Path, error: OSError) -> ExportError:
    return ExportError(
        f"{str(path)!r} could not be written ({error.strerror or error}); free some space or "
        "choose another folder"
    )
