"""Command `napari-sam3 annotate`: label a series of images in napari."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import DONE, add_json_option, print_json, raw

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 annotate images
      open the first image of a folder in napari; "." opens the next one, the same command resumes
  napari-sam3 annotate images --labels labels
      write the labels to another folder
  napari-sam3 annotate 'day*/*.tif'
      label the images that match a pattern
  napari-sam3 annotate plate.ome.zarr --labels labels
      label the fields of a plate; also the series of a TIFF and the scenes of .czi, .lif and .nd2
  napari-sam3 annotate images --list
      list what is done and what remains, without a window
"""
PLUGIN, WIDGET = "napari-sam3", "SAM 3"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    raw(command, EXAMPLES)
    command.add_argument(
        "images",
        metavar="IMAGES",
        nargs="+",
        help="folder, pattern, CSV or text file of paths, a file with several images, or images",
    )
    command.add_argument(
        "--labels",
        metavar="DIR",
        type=Path,
        help="folder for the labels (default: the folder of the images)",
    )
    command.add_argument(
        "--list", action="store_true", help="list what is done and what remains, without a window"
    )
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Open a series in napari, or list it. Return the exit code."""
    images = arguments.images
    source: Any = images[0] if len(images) == 1 else images
    if arguments.list or arguments.json:
        return _list(source, arguments.labels, json=arguments.json)
    from napari_sam3.session.series import ImageSeries

    # Report a series that cannot be opened before a window opens.
    ImageSeries(source, arguments.labels).close()
    _show(source, arguments.labels, arguments.model, arguments.device)
    return DONE


def _list(source: Any, labels: Path | None, *, json: bool) -> int:
    from napari_sam3.session.series import ImageSeries

    with ImageSeries(source, labels) as series:
        entries = [(item, series.entry(item)) for item in series.items]
        counts = series.counts()
        paths = {item.key: series.labels_path(item) for item in series.items}
    if json:
        images = [
            {
                "image": item.key,
                "state": entry.state,
                "objects": entry.objects,
                "note": entry.note,
                "labels": paths[item.key] if entry.labels else None,
            }
            for item, entry in entries
        ]
        print_json({"counts": dict(counts), "images": images})
        return DONE
    for item, entry in entries:
        print(f"{entry.state:8} {entry.objects:6}  {item.key}  {entry.note}".rstrip())
    print(f"{counts['done']} of {len(entries)} done, {counts['skipped']} skipped")
    return DONE


def _show(source: Any, labels: Path | None, model: str, device: str) -> None:
    import napari

    viewer = napari.Viewer()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    if (model, device) != ("tiny", "auto"):
        widget.set_model(model, device)
    widget.series.open(source, None if labels is None else str(labels))
    napari.run()
