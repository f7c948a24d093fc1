"""The command `napari-sam3 export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import DONE, add_json_option, print_json, raw

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
  napari-sam3 export cells_seg.npy -o cells.yolo --image cells.tif
      from Cellpose to a data set of YOLO; the image says the scale and the name
  napari-sam3 export rois.zip -o labels.ome.tif --shape 2048 2048
      from ROIs, which do not say how large their image is

formats, and the names that mean them:
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command's own arguments."""
    from napari_sam3.labels.formats.choice import ALL_FORMATS

    listing = [
        f"  {one.name:16}{', '.join(one.suffixes):26}{one.meaning}" for one in ALL_FORMATS.values()
    ]
    raw(command, EXAMPLES + "\n".join(listing) + "\n")
    _add_input(command)
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="file or folder to write"
    )
    command.add_argument(
        "--format",
        choices=list(ALL_FORMATS),
        metavar="FORMAT",
        help="output format (default: by the name of the output)",
    )
    command.add_argument(
        "--table",
        metavar="TABLE",
        type=Path,
        help="CSV or Parquet table of objects: id, plane, class, score and others (default: the "
        "values in LABELS)",
    )
    command.add_argument(
        "--ome-version", choices=("0.5", "0.4"), help="version of OME-Zarr (default: 0.5)"
    )
    command.add_argument(
        "--object-type",
        choices=("annotation", "detection"),
        help="object type in QuPath (default: annotation)",
    )
    command.add_argument(
        "--image-name",
        metavar="NAME",
        help="file name of the image, and the image in a file with several",
    )
    command.add_argument(
        "--no-rgb",
        dest="rgb",
        action="store_const",
        const=False,
        help="the colours of LABELS are planes, and a short last axis of a .npy or zarr is columns",
    )
    add_json_option(command)


def _add_input(command: argparse.ArgumentParser) -> None:
    """Describe the labels that are read."""
    from napari_sam3.labels.formats.reading import INPUTS, LABEL_IMAGE

    command.add_argument("labels", metavar="LABELS", type=Path, help="label image or outlines")
    command.add_argument(
        "--from",
        dest="from_format",
        choices=(LABEL_IMAGE, *INPUTS),
        metavar="FORMAT",
        help=f"format of LABELS (default: detected): {LABEL_IMAGE}, {', '.join(INPUTS)}",
    )
    command.add_argument(
        "--image",
        metavar="IMAGE",
        type=Path,
        help="image of the labels, for the size, scale and name that LABELS do not state",
    )
    command.add_argument(
        "--shape",
        metavar="N",
        type=int,
        nargs="+",
        help="size instead of --image: planes if any, rows, columns",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write labels in another format; returns the exit code."""
    from napari_sam3.labels.formats.choice import check_target, export_labels, format_of
    from napari_sam3.labels.formats.object_table import ObjectTable
    from napari_sam3.labels.formats.reading import read_labels
    from napari_sam3.labels.output_files import check_apart

    inputs = {"LABELS": arguments.labels, "--image": arguments.image, "--table": arguments.table}
    check_apart({"--output": arguments.output}, inputs)
    name = arguments.format or format_of(arguments.output).name
    options = _options(name, arguments)
    check_target(arguments.output, name, overwrite=arguments.overwrite)
    table = ObjectTable.read(arguments.table) if arguments.table else None
    labels = read_labels(
        arguments.labels,
        arguments.from_format,
        image=arguments.image,
        shape=arguments.shape,
        image_name=arguments.image_name,
        rgb=arguments.rgb,
    )
    try:
        written = export_labels(
            labels.data,
            arguments.output,
            name,
            axes=labels.axes,
            table=labels.table if table is None else table,
            overwrite=arguments.overwrite,
            **options,
        )
    finally:
        labels.close()
    if arguments.json:
        print_json({"output": written, "format": name, "from": labels.format})
    else:
        print(f"{name}: {written}")
    return DONE


def _options(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a format; those of others are refused."""
    from napari_sam3.labels.formats.choice import ALL_FORMATS, FORMATS
    from napari_sam3.labels.output_files import ExportError

    given = {
        "version": (arguments.ome_version, "--ome-version"),
        "object_type": (arguments.object_type, "--object-type"),
    }
    keeps = FORMATS[name].keeps if name in FORMATS else None
    if arguments.table and keeps and keeps.classes == keeps.table == "no":
        raise ExportError(
            f"the format {name} holds no properties of objects: --table {str(arguments.table)!r}. "
            "Expected a format such as ome-zarr, coco or csv. Choose one, or leave the table out."
        )
    options: dict[str, Any] = {}
    for option, (value, spelled) in given.items():
        if value is None:
            continue
        if option not in ALL_FORMATS[name].options:
            fitting = ", ".join(one.name for one in ALL_FORMATS.values() if option in one.options)
            raise ExportError(
                f"{spelled} does not fit the format {name}. Expected it with {fitting} only. "
                "Leave it out."
            )
        options[option] = value
    image_name = arguments.image_name or (arguments.image.name if arguments.image else None)
    if image_name and "image_name" in ALL_FORMATS[name].options:
        options["image_name"] = image_name
    return options
