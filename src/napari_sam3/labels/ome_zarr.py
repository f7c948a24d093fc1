"""Label images as OME-Zarr: created empty, written by any number of processes, then finished."""

from __future__ import annotations

import itertools
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

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.plain_values import json_value
from napari_sam3.images.ome_metadata import (
    OmeVersion,
    axes_from_ome,
    can_extend,
    check_axes,
    extended,
    multiscale,
    ome_part,
    only_entry,
    version_of,
)
from sam3.errors import ImageError

from .consolidated import changing
from .exact_arrays import check_exact
from .output_files import ExportError, cannot_write
from .places import check_free, choose_version, image_around, open_group
from .pyramid import add_level, coarser, refill

if TYPE_CHECKING:
    import zarr

__all__ = ["ImageAxes", "LabelImage", "create_labels", "making_labels", "open_labels"]

#: Default rows and columns of a chunk, and maximum of the coarsest level.
CHUNK = 1024
COARSEST = 512


@dataclass(frozen=True, eq=False)
class LabelImage:
    """An OME-Zarr image of labels on disk.

    It is valid at all times, at first with a single level; `finish` adds the coarser ones. Several
    processes may write to it at once, each to its own chunks, or shards if another program created
    it with shards.

    Parameters
    ----------
    path : Path
        Folder of the image.
    axes : ImageAxes
        Axes of the finest level.
    version : str
        OME-Zarr version: 0.4 is zarr 2, 0.5 is zarr 3; others can be opened but not created.
    array : zarr.Array of integers, D axes
        The finest level.
    """

    path: Path
    axes: ImageAxes
    version: str
    array: zarr.Array[Any] = field(repr=False)

    @property
    def levels(self) -> list[zarr.Array[Any]]:
        """The arrays of all levels, finest first."""
        group: Any = open_group(self.path, "r")
        entry = only_entry(dict(group.attrs))
        return [group[dataset["path"]] for dataset in entry["datasets"]]

    @property
    def properties(self) -> list[Mapping[str, Any]]:
        """Properties of labels, each with its "label-value", as passed to `finish`."""
        attributes: Any = ome_part(dict(open_group(self.path, "r").attrs))
        properties = attributes.get("image-label", {}).get("properties") or []
        return [one for one in properties if isinstance(one, Mapping)]

    def finish(
        self,
        properties: Mapping[int, Mapping[str, Any]] | None = None,
        colors: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        """Compute the coarser levels from the finest, and complete the metadata.

        Call it after writing; it may be called again, after corrections or an interruption. Only a
        few chunks are in memory at a time. A pixel of a coarser level is the mode of its four
        pixels, since labels cannot be averaged. The levels of another program keep their names,
        positions and number; their pixels are rewritten.

        Parameters
        ----------
        properties : mapping of int to mapping, optional
            Properties of each label by name: area, score, and so on. Values without a JSON form,
            such as dates, are written as text.
        colors : mapping of int to (red, green, blue, alpha), optional
            Values from 0 to 255.

        Raises
        ------
        ExportError
            If it cannot be written.
        """
        try:
            group: Any = open_group(self.path, "r+")
            attributes = dict(group.attrs)
            entry = only_entry(attributes)
            if can_extend(attributes):
                # Only the finest level is listed until all levels exist.
                finest = extended(entry, [])
                with changing(self.path):
                    _describe(group, {"multiscales": [finest]}, self.version, properties, colors)
                for old in entry["datasets"][1:]:
                    if old["path"] in group:
                        del group[old["path"]]
                entry = extended(entry, self._make_levels(group))
            else:
                # Some may be missing, in a partial copy.
                paths = [dataset["path"] for dataset in entry["datasets"]]
                levels = [group[path] for path in paths if path in group]
                for fine, coarse in itertools.pairwise(levels):
                    refill(coarse, fine)
            with changing(self.path):
                _describe(group, {"multiscales": [entry]}, self.version, properties, colors)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _make_levels(self, group: zarr.Group) -> list[str]:
        """Create the coarser levels and return their names."""
        names: list[str] = []
        fine = self.array
        while max(fine.shape[-2:]) > COARSEST:
            names.append(str(len(names) + 1))
            fine = coarser(group, names[-1], fine, self.axes)
        return names


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
    """Create an OME-Zarr image of labels that are all 0.

    It appears under its name atomically. Inside another OME-Zarr (``image.zarr/labels/name``) it is
    added to the list of that image's labels.

    Parameters
    ----------
    path : str or path-like
        Folder to create, with missing parents.
    shape : sequence of D int
        Two to five axes, rows and columns last.
    dtype : dtype
        Integer data type.
    axes : ImageAxes, optional
        Axes of the labelled image; by default pixels.
    chunks : sequence of D int, optional
        By default one plane of at most 1024 x 1024 px.
    version : {"0.4", "0.5"}, optional
        OME-Zarr version; by default that of the image around it, or 0.5.
    overwrite : bool
        Replace an existing label image. Nothing else is ever replaced.

    Raises
    ------
    ExportError
        If it exists, cannot be written, or has another version than the image around it.
    sam3.errors.ImageError
        If OME-Zarr does not support the axes.
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
    """Yield empty labels to be written, which appear under their name on exit.

    Labels that they replace can be read until then. Parameters and errors are those of
    `create_labels`.
    """
    path, shape = Path(path), tuple(int(length) for length in shape)
    axes = ImageAxes.default(len(shape)) if axes is None else axes
    if axes.ndim != len(shape):
        raise ImageError(
            f"labels of shape {shape} cannot have the axes {axes.names}. Expected one name per "
            "axis. Correct the names."
        )
    check_axes(axes)
    if np.dtype(dtype).kind not in "iu":
        raise ExportError(
            f"labels of dtype {np.dtype(dtype)} cannot be written. Expected integers. Convert them."
        )
    image = image_around(path)
    chosen = choose_version(version, image)
    check_free(path, overwrite)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(partial, path, shape, np.dtype(dtype), axes, chunks, chosen, image is not None)
        yield open_labels(partial)
        with changing(path):
            check_free(path, overwrite)  # another process may have created it meanwhile
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
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def open_labels(path: str | os.PathLike[str], *, read_only: bool = False) -> LabelImage:
    """Open a label image in OME-Zarr, of this or another program.

    Parameters
    ----------
    path : str or path-like
        Folder of the image.
    read_only : bool
        Open for reading only.

    Raises
    ------
    sam3.errors.ImageError
        If it is not a label image, or its compression changes label ids.
    """
    path = Path(path)
    try:
        group: Any = open_group(path, "r" if read_only else "r+")
        attributes = dict(group.attrs)
        array = group[only_entry(attributes)["datasets"][0]["path"]]
        axes = axes_from_ome(attributes, array.ndim) or ImageAxes.default(array.ndim)
    except Exception as error:  # zarr raises errors of many types for other files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{str(path)!r} cannot be opened ({reason}). Expected an OME-Zarr label image. Check "
            "the path."
        ) from error
    if array.dtype.kind not in "iu":
        raise ImageError(
            f"{str(path)!r} holds {array.dtype}. Expected labels, which are integers. Choose "
            "another file."
        )
    check_exact(array, repr(str(path)))
    return LabelImage(path, axes, version_of(attributes), array)


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
    label: dict[str, Any] = {"version": version}
    if in_image:
        label["source"] = {"image": "../../"}
    entry = multiscale(axes, [1], version, path.name)
    _set_ome(group, {"multiscales": [entry], "image-label": label}, version)


def _describe(
    group: zarr.Group,
    part: Mapping[str, Any],
    version: str,
    properties: Mapping[int, Mapping[str, Any]] | None,
    colors: Mapping[int, Sequence[int]] | None,
) -> None:
    """Write a part of the group's metadata and leave the rest unchanged."""
    attributes: Any = ome_part(dict(group.attrs))
    label: dict[str, Any] = {"version": version, **attributes.get("image-label", {})}
    if properties is not None:
        label["properties"] = [
            {**json_value(values), "label-value": int(number)}
            for number, values in sorted(properties.items())
        ]
    if colors is not None:
        label["colors"] = [
            {"label-value": int(number), "rgba": [int(value) for value in rgba]}
            for number, rgba in sorted(colors.items())
        ]
    _set_ome(group, {**part, "image-label": label}, version)


def _list(path: Path, version: OmeVersion) -> None:
    """Add a label image to the list of its image."""
    import zarr

    folder = path.parent
    form: Any = 3 if version == "0.5" else 2
    group = zarr.open_group(folder, mode="a", zarr_format=form, use_consolidated=False)
    names = list(ome_part(dict(group.attrs)).get("labels", []))
    if path.name not in names:
        names.append(path.name)
    _set_ome(group, {"labels": names}, version)


def _set_ome(group: zarr.Group, part: dict[str, Any], version: str) -> None:
    """Write a part of OME's metadata and leave the rest unchanged."""
    if version != "0.4":
        old: Any = group.attrs.get("ome", {})
        part = {"ome": {"version": version, **old, **part}}
    group.attrs.update(part)
