"""The output formats of label images, and the choice of one by its name or file extension."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam3.labels.formats.tracks.choice import (
    check_folder,
    write_graph,
    write_result,
    write_rows,
    write_truth,
)
from napari_sam3.labels.output_files import ExportError, check_output, check_place
from napari_sam3.labels.places import check_free

from .cellpose import write_cellpose, write_cellpose_masks
from .coco import write_coco
from .geojson import write_geojson
from .imagej_roi import write_imagej_rois
from .keeps import Keeps
from .labelme import write_labelme
from .ome_zarr import write_ome_zarr
from .output import LabelOutput
from .regions import write_regions
from .tiff import write_labels
from .via import write_via
from .yolo import check_free_dataset, write_yolo

if TYPE_CHECKING:
    from napari_sam3.core.axes import ImageAxes

    from .object_table import ObjectTable

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
    """An output format.

    Parameters
    ----------
    name : str
        Its name on the command line.
    title : str
        Its name in the window.
    suffixes : tuple of str
        File extensions in lower case; the longest match decides. New files get the first.
    meaning : str
        The programs that read it.
    write : callable
        Called with a `LabelOutput` and the options of the format; returns the path.
    keeps : Keeps
        Which properties survive a write and a read.
    options : tuple of str
        Keyword arguments of this format only.
    check : callable
        Called before any work is done; raises ExportError if the path cannot be written.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    meaning: str
    write: Callable[..., Path]
    keeps: Keeps = field(default_factory=Keeps)
    options: tuple[str, ...] = ()
    check: Callable[..., Any] = check_output


def _tiff(output: LabelOutput) -> Path:
    return write_labels(output.path, output.labels, axes=output.axes, overwrite=output.overwrite)


def _ome_tiff(output: LabelOutput) -> Path:
    return write_labels(
        output.path, output.labels, axes=output.axes, ome=True, overwrite=output.overwrite
    )


def _check_zarr(path: Any, *, overwrite: bool = False) -> None:
    check_free(Path(path), overwrite)
    _check_folder(path)


def _check_dataset(path: Any, *, overwrite: bool = False) -> None:
    check_free_dataset(Path(path), overwrite)
    _check_folder(path)


def _check_folder(path: Any) -> None:
    """Check that the folder is writable, with a temporary name."""
    check_output(Path(path).with_name(f".{Path(path).name}.partial"), overwrite=True)


_TIFF = Keeps(scale="yes", place="no", classes="no", table="no")
_TABLE = Keeps(pixels="no", holes="no", parts="no", scale="no", place="no")
_IMAGE = ("image_name",)
FORMATS = {
    one.name: one
    for one in (
        LabelFormat(
            "ome-zarr",
            "OME-Zarr",
            (".ome.zarr", ".zarr"),
            "napari, Python, any size",
            write_ome_zarr,
            Keeps(scale="yes", place="yes"),
            ("version",),
            _check_zarr,
        ),
        LabelFormat(
            "ome-tiff",
            "OME-TIFF",
            (".ome.tif", ".ome.tiff"),
            "Bio-Formats, OMERO",
            _ome_tiff,
            _TIFF,
        ),
        LabelFormat("tiff", "TIFF", (".tif", ".tiff"), "Fiji, ImageJ", _tiff, _TIFF),
        LabelFormat(
            "imagej-roi",
            "ImageJ ROIs",
            (".zip",),
            "ImageJ's ROI Manager",
            write_imagej_rois,
            Keeps(),
        ),
        LabelFormat(
            "geojson",
            "QuPath GeoJSON",
            (".geojson",),
            "QuPath",
            write_geojson,
            Keeps(),
            ("object_type",),
        ),
        LabelFormat(
            "coco",
            "COCO",
            (".json", ".coco.json"),
            "training of networks",
            write_coco,
            Keeps(labels="ours", planes="ours"),
            _IMAGE,
        ),
        LabelFormat(
            "yolo",
            "YOLO segmentation",
            (".yolo",),
            "training with ultralytics",
            write_yolo,
            Keeps(holes="no", parts="ours", labels="ours", planes="ours", table="no"),
            _IMAGE,
            _check_dataset,
        ),
        LabelFormat(
            "cellpose",
            "Cellpose",
            ("_seg.npy",),
            "Cellpose's window",
            write_cellpose,
            Keeps(labels="ours", classes="ours", table="ours"),
            _IMAGE,
        ),
        LabelFormat(
            "cellpose-masks",
            "Cellpose training masks",
            ("_masks.tif", "_masks.tiff"),
            "training of Cellpose",
            write_cellpose_masks,
            _TIFF,
        ),
        LabelFormat(
            "via",
            "VIA",
            (".via.json",),
            "VGG Image Annotator",
            write_via,
            Keeps(holes="no", planes="ours"),
            _IMAGE,
        ),
        LabelFormat(
            "labelme",
            "labelme",
            (".labelme.json",),
            "labelme, one plane",
            write_labelme,
            Keeps(planes="no"),
            _IMAGE,
        ),
        LabelFormat("csv", "CSV", (".csv",), "Excel, R, pandas", write_regions, _TABLE),
        LabelFormat(
            "parquet",
            "Parquet",
            (".parquet",),
            "pandas, with types",
            write_regions,
            _TABLE,
        ),
    )
}
_MASKS = Keeps(labels="no", scale="no", place="no", classes="no", table="no")
_POINTS = replace(_MASKS, pixels="no", holes="no", parts="no", labels="yes")
#: Formats of labels through time: an id is a track; the option ``parents`` gives its lineage.
TRACK_FORMATS = {
    one.name: one
    for one in (
        LabelFormat(
            "ctc",
            "Cell Tracking Challenge",
            ("_res", ".ctc"),
            "Cell Tracking Challenge, result",
            write_result,
            _MASKS,
            check=check_folder,
        ),
        LabelFormat(
            "ctc-truth",
            "Cell Tracking Challenge, truth",
            ("_gt",),
            "the same, ground truth",
            write_truth,
            _MASKS,
            check=check_folder,
        ),
        LabelFormat(
            "geff",
            "GEFF",
            (".geff",),
            "graph of tracks",
            write_graph,
            replace(_POINTS, scale="yes", place="yes"),
            check=check_folder,
        ),
        LabelFormat("tracks", "Tracks", (".tracks.csv",), "table of tracks", write_rows, _POINTS),
    )
}
ALL_FORMATS = FORMATS | TRACK_FORMATS


def format_of(path: str | os.PathLike[str]) -> LabelFormat:
    """Return the format of a file name.

    Raises
    ------
    ExportError
        If no format has its extension; the message lists the extensions.
    """
    name = Path(path).name.lower()
    fitting = [
        (len(suffix), one) for one in ALL_FORMATS.values() for suffix in one.suffixes
        if name.endswith(suffix)
    ]  # fmt: skip
    if fitting:
        return max(fitting, key=lambda pair: pair[0])[1]
    if Path(path).parent.name == "labels":  # inside an OME-Zarr image, names have no extension
        return FORMATS["ome-zarr"]
    known = ", ".join(suffix for one in ALL_FORMATS.values() for suffix in one.suffixes)
    raise ExportError(
        f"the name {str(path)!r} has an unknown extension. Expected one of {known}. "
        "Rename it; `napari-sam3 export --format` takes any name."
    )


def check_target(
    path: str | os.PathLike[str], format: str | None = None, *, overwrite: bool = False
) -> None:
    """Check that labels can be written, before any work is done.

    Parameters
    ----------
    path, format, overwrite
        As for `export_labels`.

    Raises
    ------
    ExportError
        If the extension is unknown, the file exists, or the folder is read-only.
    """
    chosen = ALL_FORMATS[format] if format is not None else format_of(path)
    check_place(Path(path))
    chosen.check(path, overwrite=overwrite)


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
    """Write a label image in the format of another program.

    Parameters
    ----------
    labels : array-like of integers, ... x H x W
        numpy, dask or zarr; read plane by plane.
    path : str or path-like
        File or folder to write.
    format : str, optional
        A name of `FORMATS` or `TRACK_FORMATS`; chosen by the file extension by default.
    axes : ImageAxes, optional
        Names, units, scale and position of the axes; pixels by default.
    table : ObjectTable, optional
        Further values of each object, such as its class.
    overwrite : bool
        Replace an existing file.
    **options
        ``version`` (OME-Zarr), ``object_type`` (GeoJSON), ``image_name`` (COCO, YOLO, Cellpose,
        VIA, labelme), ``parents`` (track formats: the parent of each label that has one; the
        column "parent" of the table by default).

    Returns
    -------
    Path
        The file or folder.

    Raises
    ------
    ExportError
        If the format is unknown, a library is missing, or the file cannot be written.
    sam3.errors.ImageError
        If the labels are not a label image, or the format cannot store them.
    napari_sam3.core.tracks.TrackError
        If there is no time axis, or the parents contradict the labels.
    """
    if format is not None and format not in ALL_FORMATS:
        raise ExportError(
            f"unknown format: {format!r}. Expected one of {', '.join(ALL_FORMATS)}. Choose one."
        )
    chosen = ALL_FORMATS[format] if format is not None else format_of(path)
    check_place(Path(path))
    table = None if table is None else replace(table, seen=set())
    written = chosen.write(
        LabelOutput.of(path, labels, axes=axes, table=table, overwrite=overwrite), **options
    )
    if table is not None:
        table.warn_of_unused()
    return written
