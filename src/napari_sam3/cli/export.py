"""The command `napari-sam3 export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import DONE, add_json_option, print_json, raw

if TYPE_CHECKING:
    from napari_sam3.images.lazy import LazyImage
    from napari_sam3.labels.formats.object_table import ObjectTable

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 export labels.zarr -o rois.zip
      for ImageJ's ROI Manager
  napari-sam3 export labels.ome.tif -o cells.geojson --object-type detection
      for QuPath
  napari-sam3 export labels.tif -o cells.json --image-name cells.tif --table objects.csv
      COCO, with the classes and scores of a table
  napari-sam3 export labels.zarr -o regions.parquet
      areas, centroids and boxes, in px and in the units of the image
  napari-sam3 export labels.tif -o 01_RES --table objects.csv
      masks and tracks for the Cell Tracking Challenge, with the column "parent" of a table
  napari-sam3 export 01_RES -o tracks.geff
      tracks of the Cell Tracking Challenge as a graph

formats, and the names that mean them:
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command's own arguments."""
    from napari_sam3.labels.formats.choice import ALL_FORMATS

    listing = [
        f"  {one.name:12}{', '.join(one.suffixes):22}{one.meaning}" for one in ALL_FORMATS.values()
    ]
    raw(command, EXAMPLES + "\n".join(listing) + "\n")
    command.add_argument(
        "labels",
        metavar="LABELS",
        type=Path,
        help="OME-Zarr, TIFF, .npy, a folder of tracks, others",
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="file or folder to write"
    )
    command.add_argument(
        "--format",
        choices=list(ALL_FORMATS),
        metavar="FORMAT",
        help="if the name has no known ending",
    )
    command.add_argument(
        "--table",
        metavar="TABLE",
        type=Path,
        help="CSV or Parquet of properties of objects: id, plane, class, score and others; "
        "by default what an OME-Zarr keeps of it",
    )
    command.add_argument("--ome-version", choices=("0.5", "0.4"), help="of OME-Zarr (default: 0.5)")
    command.add_argument(
        "--object-type", choices=("annotation", "detection"), help="in QuPath (default: annotation)"
    )
    command.add_argument("--image-name", metavar="NAME", help="of the image, for COCO")
    command.add_argument(
        "--no-rgb",
        dest="rgb",
        action="store_const",
        const=False,
        help="values of a pixel that were written as colours are planes; a short last axis of a "
        ".npy or zarr is columns",
    )
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Write labels in another format; returns the exit code."""
    from napari_sam3.labels.formats.choice import check_target, export_labels, format_of
    from napari_sam3.labels.formats.object_table import ObjectTable

    name = arguments.format or format_of(arguments.output).name
    options = _options(name, arguments)
    check_target(arguments.output, name, overwrite=arguments.overwrite)
    image, kept = _open(arguments.labels, arguments.rgb)
    table = ObjectTable.read(arguments.table) if arguments.table else kept
    try:
        written = export_labels(
            image.data[0] if image.multiscale else image.data,
            arguments.output,
            name,
            axes=image.axes,
            table=table,
            overwrite=arguments.overwrite,
            **options,
        )
    finally:
        image.close()
    if arguments.json:
        print_json({"output": written, "format": name})
    else:
        print(f"{name}: {written}")
    return DONE


def _open(path: Path, rgb: bool | None) -> tuple[LazyImage, ObjectTable | None]:
    """Open labels, with what their file says about them."""
    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.images.lazy import LazyImage
    from napari_sam3.labels.formats.label_files import open_label_file
    from napari_sam3.labels.formats.object_table import ObjectTable
    from napari_sam3.labels.formats.tracks.choice import PARENT
    from napari_sam3.labels.formats.tracks.ctc import is_ctc, read_ctc

    if is_ctc(path):
        labels, parents = read_ctc(path)
        rows = {(n, ""): {PARENT: " ".join(map(str, many))} for n, many in parents.items()}
        axes = ImageAxes.of("tzyx" if labels.ndim == 4 else "tyx")
        return LazyImage(labels, loaded_whole=True, known_axes=axes), ObjectTable(rows)
    return open_label_file(path, rgb=rgb), _kept(path)


def _kept(labels: Path) -> ObjectTable | None:
    """Return what an OME-Zarr label image says about its labels; None for other files."""
    from napari_sam3.labels.formats.object_table import ObjectTable
    from napari_sam3.labels.ome_zarr import open_labels
    from sam3.errors import ImageError

    if not labels.is_dir():
        return None
    try:
        return ObjectTable.from_properties(open_labels(labels, read_only=True).properties)
    except ImageError:  # another zarr
        return None


def _options(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a format; those of others are refused."""
    from napari_sam3.labels.output_files import ExportError

    given = {
        "version": ("ome-zarr", arguments.ome_version, "--ome-version"),
        "object_type": ("geojson", arguments.object_type, "--object-type"),
        "image_name": ("coco", arguments.image_name, "--image-name"),
    }
    options = {}
    for option, (belongs, value, spelled) in given.items():
        if value is None:
            continue
        if belongs != name:
            raise ExportError(f"{spelled} is for the format {belongs}, not {name}; leave it out")
        options[option] = value
    return options
