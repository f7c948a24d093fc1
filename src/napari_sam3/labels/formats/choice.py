"""Which format a label image is written in, by name or by the name of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_sam3.core.axes import ImageAxes
from napari_sam3.labels.formats.tracks.choice import (
    check_folder,
    write_graph,
    write_result,
    write_rows,
    write_truth,
)
from napari_sam3.labels.output_files import ExportError, check_output
from napari_sam3.labels.places import check_free

from .coco import write_coco
from .geojson import write_geojson
from .imagej_roi import write_imagej_rois
from .object_table import ObjectTable
from .ome_zarr import write_ome_zarr
from .regions import write_regions
from .tiff import write_labels

__all__ = [
    "ALL_FORMATS",
    "FORMATS",
    "TRACK_FORMATS",
    "LabelFormat",
    "check_target",
    "export_labels",
    "format_of",
]


@dataclass(frozen=True)
class LabelFormat:
    """A format.

    Parameters
    ----------
    name : str
        As it is chosen on the command line.
    suffixes : tuple of str
        Ends of file names that mean it, lower case; the longest that fits counts.
    meaning : str
        For whom, in a few words.
    write : callable
        See `export_labels`.
    is_folder : bool
        What it writes is a folder.
    """

    name: str
    suffixes: tuple[str, ...]
    meaning: str
    write: Callable[..., Path]
    is_folder: bool = False


def _tiff(path: Any, labels: Any, *, table: Any = None, **options: Any) -> Path:
    return write_labels(path, labels, **options)


def _ome_tiff(path: Any, labels: Any, *, table: Any = None, **options: Any) -> Path:
    return write_labels(path, labels, ome=True, **options)


FORMATS = {
    one.name: one
    for one in (
        LabelFormat("ome-zarr", (".zarr",), "pyramid, any size", write_ome_zarr),
        LabelFormat("ome-tiff", (".ome.tif", ".ome.tiff"), "OME's metadata", _ome_tiff),
        LabelFormat("tiff", (".tif", ".tiff"), "ImageJ's metadata", _tiff),
        LabelFormat("imagej-roi", (".zip",), "ImageJ's ROI Manager", write_imagej_rois),
        LabelFormat("geojson", (".geojson",), "QuPath", write_geojson),
        LabelFormat("coco", (".json",), "training sets, with RLE", write_coco),
        LabelFormat("csv", (".csv",), "table of regions", write_regions),
        LabelFormat("parquet", (".parquet",), "table of regions, typed", write_regions),
    )
}
#: Of labels through time: an id is a track, and the option ``parents`` says which came from which.
TRACK_FORMATS = {
    one.name: one
    for one in (
        LabelFormat("ctc", ("_res",), "Cell Tracking Challenge, result", write_result, True),
        LabelFormat("ctc-truth", ("_gt",), "the same, ground truth", write_truth, True),
        LabelFormat("geff", (".geff",), "graph of tracks", write_graph, True),
        LabelFormat("tracks", (".tracks.csv",), "table of tracks", write_rows),
    )
}
ALL_FORMATS = FORMATS | TRACK_FORMATS


def format_of(path: str | os.PathLike[str]) -> LabelFormat:
    """Return the format that a file name means.

    Raises
    ------
    ExportError
        If it means none; the message lists them.
    """
    name = Path(path).name.lower()
    fitting = [
        (len(suffix), one) for one in ALL_FORMATS.values() for suffix in one.suffixes
        if name.endswith(suffix)
    ]  # fmt: skip
    if fitting:
        return max(fitting, key=lambda pair: pair[0])[1]
    if Path(path).parent.name == "labels":  # of an OME-Zarr image, where names have no suffix
        return FORMATS["ome-zarr"]
    known = ", ".join(suffix for one in ALL_FORMATS.values() for suffix in one.suffixes)
    raise ExportError(
        f"the name {str(path)!r} has no known ending; use one of {known}, or give --format"
    )


def check_target(
    path: str | os.PathLike[str], format: str | None = None, *, overwrite: bool = False
) -> None:
    """Make sure, before any work is done, that labels can be written.

    Parameters
    ----------
    path, format, overwrite
        As for `export_labels`.

    Raises
    ------
    ExportError
        If the name has no known ending, the file exists, or the folder cannot be written to.
    """
    chosen = ALL_FORMATS[format] if format is not None else format_of(path)
    if chosen.is_folder:
        check_folder(path, overwrite=overwrite)
    elif chosen.name == "ome-zarr":
        check_free(Path(path), overwrite)
        # The folder is made and tried by a name that is free.
        check_output(Path(path).with_name(f".{Path(path).name}.partial"), overwrite=True)
    else:
        check_output(path, overwrite=overwrite)


def export_labels(
    labels: Any,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    axes: ImageAxes | None = None,
    table: ObjectTable | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write a label image in a format of another program.

    Parameters
    ----------
    labels : array-like of integers, ... x H x W
        numpy, dask or zarr; read plane by plane.
    path : str or path-like
        File or folder to write.
    format : str, optional
        A name of `FORMATS` or `TRACK_FORMATS`; by default that which the path's name means.
    axes : ImageAxes, optional
        Names, units, scale and place of the axes; pixels if not given.
    table : ObjectTable, optional
        Other properties of each object.
    overwrite : bool
        Replace an existing file.
    **options
        Of single formats: ``version`` (OME-Zarr), ``object_type`` (GeoJSON), ``image_name`` (COCO);
        ``parents`` of the formats of tracks: the parent of each label that has one, by default
        what the table has in its column "parent".

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ExportError
        If the format is unknown, a library is missing, or the file cannot be written.
    sam3.errors.ImageError
        If it is not a label image, or the format cannot hold it.
    napari_sam3.core.tracks.TrackError
        If no axis is time, or the parents contradict the labels.
    """
    if format is not None and format not in ALL_FORMATS:
        raise ExportError(f"there is no format {format!r}; choose one of {', '.join(ALL_FORMATS)}")
    chosen = ALL_FORMATS[format] if format is not None else format_of(path)
    return chosen.write(path, labels, axes=axes, table=table, overwrite=overwrite, **options)
