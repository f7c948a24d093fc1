"""The command `napari-sam3 link`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .common import DONE, add_json_option, axis_given, print_json, raw

if TYPE_CHECKING:
    from napari_sam3.labels.linking import LinkSettings

__all__ = ["add_arguments", "link_file", "run"]

EXAMPLES = """\
examples:
  napari-sam3 link planes.zarr -o objects.zarr
      what a batch found plane by plane, as objects of the stack
  napari-sam3 link labels.tif -o objects.tif --min-planes 5 --gap 2
      objects of at least five planes, missing on up to two planes in a row
  napari-sam3 link series.tif -o objects.tif --axis t
      along one of several axes

Labels of neighbouring planes are one object where they overlap; labels on too few planes are left
out. See docs/review.md.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument("labels", metavar="LABELS", type=Path, help="labels of a stack")
    command.add_argument(
        "-o", "--output", required=True, metavar="OUT", type=Path, help="file or folder to write"
    )
    command.add_argument(
        "--min-iou", type=float, metavar="IOU", help="minimum IoU on neighbouring planes"
    )
    command.add_argument(
        "--gap",
        type=int,
        metavar="PLANES",
        help="planes in a row on which an object may be missing",
    )
    command.add_argument(
        "--min-planes", type=int, metavar="PLANES", help="minimum number of planes of an object"
    )
    command.add_argument(
        "--axis",
        type=axis_given,
        help="axis to link along: its name, such as t, or its number (default: the last before "
        "rows that is not of channels)",
    )
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Link labels and write them; returns the exit code."""
    from napari_sam3.labels.linking import LinkSettings

    given = {
        "min_iou": arguments.min_iou,
        "gap": arguments.gap,
        "min_planes": arguments.min_planes,
    }
    settings = LinkSettings(**{name: value for name, value in given.items() if value is not None})
    count = link_file(
        arguments.labels,
        arguments.output,
        settings,
        arguments.axis,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        print_json({"output": arguments.output, "objects": count})
    else:
        print(f"labels: {arguments.output} ({count} objects)")
    return DONE


def link_file(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: LinkSettings | None = None,
    axis: int | str | None = None,
    *,
    overwrite: bool = False,
) -> int:
    """Write the labels of a file linked along an axis; returns the number of objects."""
    import numpy as np

    from napari_sam3.labels.formats.choice import check_target, export_labels
    from napari_sam3.labels.formats.reading import read_labels
    from napari_sam3.labels.linking import link_labels
    from napari_sam3.labels.output_files import check_apart

    check_apart({"the output": Path(output)}, {"the labels": Path(path)})
    check_target(output, overwrite=overwrite)
    labels = read_labels(path)
    try:
        linked = link_labels(labels.data, settings, labels.axes.number_of(axis))
        export_labels(linked, output, axes=labels.axes, overwrite=overwrite)
    finally:
        labels.close()
    return len(np.unique(linked[linked > 0]))
