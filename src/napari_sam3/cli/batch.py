"""The command `napari-sam3 batch`."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3.errors import PromptError

from .batch_folder import ImageOutcome, exit_code, holds_many, print_interrupted, run_folder
from .batch_similar import add_examples, similar_mode
from .batch_values import check_options, json_settings, mode_name, plane_ranges, spelled
from .common import (
    ProgressLine,
    add_json_option,
    add_rgb_option,
    axis_given,
    contrast_limits,
    print_json,
    raw,
)
from .link import link_file

if TYPE_CHECKING:
    from napari_sam3.batch import BatchControl, Mode, Progress
    from napari_sam3.images.lazy import LazyImage

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 batch stack.tif -o labels.zarr --prompts clicks.csv
      the prompts on each plane, from a table
  napari-sam3 batch stack.tif -o labels.zarr --mode propagate --prompts clicks.csv
      each object propagated through the stack from the planes with its prompts
  napari-sam3 batch series.tif -o labels.zarr --mode propagate --prompts clicks.csv --gap 2
      the same through time, across up to two planes in a row without the object
  napari-sam3 batch series.tif -o labels.zarr --mode repeated --prompts one.csv --planes 0-99
      the prompts of one plane on planes 0 to 99
  napari-sam3 batch slide.ome.zarr -o labels.zarr --mode automatic --dask local:4
      all objects, by four processes
  napari-sam3 batch images -o labels --mode automatic
      all objects of each image of a folder; labels is a folder, too
  napari-sam3 batch stack.tif -o planes.zarr --mode automatic --link objects.zarr
      all objects, plane by plane, and linked through the planes of the stack
  napari-sam3 batch stack.tif -o labels.zarr --mode similar --examples some.tif
      all objects similar to those labelled in some.tif, a label image of the stack
  napari-sam3 batch stack.tif -o labels.zarr --mode similar --text nucleus --model sam3.pt
      all objects of a name, with weights that have a text encoder

The table is CSV or JSON: plane, object, x, y and polarity of each click, or x0, y0, x1, y1 of each
box; see docs/batch.md. A batch may be interrupted at any time (Ctrl-C, or worse): the same command
resumes it. Its progress is recorded in LABELS.zarr.batch.
"""
MODES = "placed", "repeated", "propagate", "automatic", "similar"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument(
        "image",
        metavar="IMAGE",
        type=Path,
        nargs="+",
        help="image file: TIFF, zarr, OME-Zarr and others; or, in the modes automatic and similar, "
        "a folder, a pattern such as 'images/*.tif', or several files",
    )
    output = "OME-Zarr to write; for several images a folder, with one for each"
    command.add_argument(
        "-o", "--output", required=True, metavar="LABELS.zarr", type=Path, help=output
    )
    command.add_argument(
        "--mode",
        choices=MODES,
        type=mode_name,
        default="placed",
        help="mode of the batch (default: placed)",
    )
    command.add_argument(
        "--prompts", metavar="TABLE", type=Path, help="CSV or JSON file of prompts"
    )
    add_examples(command)
    command.add_argument(
        "--planes",
        metavar="N-M[,N-M...]",
        type=plane_ranges,
        help="planes to segment, such as 0-9 or 7,0-23: along each axis "
        "before rows and columns a number or a range, separated by commas (default: all)",
    )
    _add_propagation(command)
    command.add_argument(
        "--tile",
        type=int,
        metavar="PX",
        help="side of the tiles into which planes are divided, at least 32 (default: 2048)",
    )
    command.add_argument(
        "--settings",
        metavar="JSON",
        type=json_settings,
        default={},
        help="""settings of the modes propagate and automatic, such as '{"min_score": 0.8}'""",
    )
    _add_how_and_where(command)
    add_rgb_option(command)
    add_json_option(command)


def _add_propagation(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the mode propagate."""
    command.add_argument(
        "--axis",
        type=axis_given,
        help="axis along which to propagate: its name, such as t, or its number (default: the last "
        "before rows and columns that is not of channels)",
    )
    command.add_argument(
        "--direction",
        choices=("both", "forward", "backward"),
        default="both",
        help="where objects are propagated to (default: both)",
    )
    command.add_argument(
        "--gap",
        type=int,
        metavar="PLANES",
        help="planes in a row without an object that propagate bridges (default: 0)",
    )


def _add_how_and_where(command: argparse.ArgumentParser) -> None:
    """Add options for the image, the device and further outputs."""
    command.add_argument("--level", type=int, help="pyramid level; by default chosen by prompts")
    command.add_argument(
        "--contrast",
        metavar="LOW,HIGH",
        type=contrast_limits,
        help="values shown to the model as black and white; by default determined from the image",
    )
    command.add_argument(
        "--dask",
        metavar="WHERE",
        help="local:N for N processes, or a scheduler such as tcp://host:8786",
    )
    command.add_argument(
        "--ome-version",
        choices=("0.5", "0.4"),
        default=None,
        help="version of OME-Zarr (default: 0.5)",
    )
    command.add_argument(
        "--table", metavar="CSV", type=Path, help="also write a table of all objects"
    )
    command.add_argument(
        "--link",
        metavar="LINKED",
        type=Path,
        help="also write the labels linked into objects of the stack, as `napari-sam3 link` does",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the batch and report on it; return the exit code."""
    check_options(arguments)
    if arguments.dask is not None and not arguments.verbose:
        _hush_dask()
    if holds_many(arguments.image):
        return run_folder(arguments, _mode, _segment_image)
    (arguments.image,) = arguments.image
    return _report(arguments, _segment_image(arguments))


def _segment_image(
    arguments: argparse.Namespace, mode: Mode | None = None, heading: str = ""
) -> ImageOutcome:
    """Run the batch of one image, in a mode made from the arguments unless it is given."""
    from napari_sam3.batch import BatchControl, read_objects
    from napari_sam3.images.lazy import open_image
    from napari_sam3.labels.formats.choice import check_target
    from napari_sam3.labels.linking import check_axis
    from napari_sam3.labels.output_files import check_apart, check_output
    from napari_sam3.labels.table import write_table

    outputs = (
        ("output", "table", "link"),
        ("image", "prompts", "examples", "examples_image"),
    )
    check_apart(*({_option(one): getattr(arguments, one) for one in names} for names in outputs))
    if arguments.table is not None:
        check_output(arguments.table, overwrite=True)
    if arguments.link is not None:
        check_target(arguments.link, overwrite=arguments.overwrite)
    image = open_image(arguments.image, rgb=arguments.rgb)
    try:
        if arguments.link is not None:
            check_axis(image.shape, image.axes.number_of(None))
        positions = _positions(image, arguments.planes)
        mode = mode or _mode(image, arguments)
    finally:
        image.close()
    counter = _Counter(heading)
    control = BatchControl(counter.show)
    interrupted, planes, failures = False, 0, []
    try:
        with closing(_results(arguments, mode, positions, control)) as results:
            for result in results:
                planes += result.error is None
                if result.error is not None:
                    failures.append(result)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        counter.end()
    if arguments.table is not None and not interrupted:
        write_table(arguments.table, list(read_objects(arguments.output)), overwrite=True)
    if arguments.link is not None and not interrupted:
        link_file(arguments.output, arguments.link, overwrite=arguments.overwrite)
    return ImageOutcome(arguments.output, planes, tuple(failures), control.progress, interrupted)


def _option(name: str) -> str:
    return name.upper() if name == "image" else spelled(name)


def _results(
    arguments: argparse.Namespace, mode: Mode, positions: Any, control: BatchControl
) -> Any:
    from napari_sam3.batch import segment

    return segment(
        arguments.image,
        mode,
        arguments.model,
        planes=positions,
        output=arguments.output,
        overwrite=arguments.overwrite,
        rgb=arguments.rgb,
        device=arguments.device,
        contrast=arguments.contrast,
        level=arguments.level,
        version=arguments.ome_version,
        control=control,
        dask=arguments.dask,
    )


def _hush_dask() -> None:
    """Silence Dask's own log messages."""
    import importlib.util
    import logging

    if importlib.util.find_spec("distributed") is not None:
        import distributed  # noqa: F401  (which sets the levels of its loggers)

        for name in ("distributed", "distributed.http.proxy", "bokeh", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _report(arguments: argparse.Namespace, outcome: ImageOutcome) -> int:
    done = outcome.progress
    for result in outcome.failures:
        print(f"{arguments.prog}: {result.plane}: {result.error}", file=sys.stderr)
    if outcome.interrupted:
        print_interrupted(arguments, f"{done.done} of {done.total} units", "it")
    if arguments.json:
        print_json(outcome.to_json())
    elif not outcome.interrupted:
        print(outcome)
    return exit_code(outcome.interrupted, outcome.failures)


def _mode(image: LazyImage | None, arguments: argparse.Namespace) -> Mode:
    """Return the mode; without an image, one that is the same for all images."""
    from napari_sam3.batch import Automatic, EndRules, Placed, Propagate, Repeated, read_prompts
    from napari_sam3.inference.automatic.settings import AutomaticSettings

    if arguments.mode == "automatic":
        settings = AutomaticSettings.from_json(arguments.settings)
        return Automatic(settings, **({} if arguments.tile is None else {"tile": arguments.tile}))
    if arguments.mode == "similar":
        return similar_mode(image, arguments)
    if arguments.prompts is None:
        raise PromptError(
            f"the mode {arguments.mode} has no prompts. Expected --prompts, a table of clicks and "
            "boxes. Pass one, or use --mode automatic."
        )
    assert image is not None, "other modes are refused for several images"
    leading = image.axes.names[:-2]
    if arguments.mode == "repeated":
        return Repeated(_one_plane(arguments.prompts, leading))
    prompts = read_prompts(arguments.prompts, leading)
    if arguments.mode == "placed":
        return Placed(prompts)
    gap = {} if arguments.gap is None else {"gap": arguments.gap}
    axis = image.axes.number_of(arguments.axis)
    in_time = {"in_time": _is_time(image, axis)}
    rules = EndRules.from_json({**in_time, **arguments.settings, **gap})
    return Propagate(prompts, axis, rules, arguments.direction)


def _is_time(image: LazyImage, axis: int) -> bool:
    """Whether a leading axis is time; one that does not exist is refused later."""
    from napari_sam3.core.axes import is_time

    leading = list(zip(image.axes.names, image.axes.units, strict=True))[:-2]
    return -len(leading) <= axis < len(leading) and is_time(*leading[axis])


def _one_plane(path: Path, leading: Any) -> Any:
    """Read the prompts of a single plane, with or without a plane column."""
    from napari_sam3.batch import read_prompts

    try:
        planes = read_prompts(path, 0).planes
    except PromptError as unnamed:
        try:
            planes = read_prompts(path, leading).planes
        except PromptError as error:
            # An error about the plane is more specific than that of an unexpected plane column.
            raise (error if "plane" in str(unnamed) else unnamed) from None
    if len(planes) != 1:
        raise PromptError(
            f"{path.name} has prompts on {len(planes)} planes. Expected those of one plane, which "
            "the mode repeated repeats on all. Choose another mode, or remove the others."
        )
    return next(iter(planes.values()))


def _positions(image: LazyImage, ranges: list[range] | None) -> Any:
    import itertools

    from sam3.errors import ImageError

    if ranges is None:
        return None
    leading = image.shape[:-2]
    if len(ranges) != len(leading):
        raise ImageError(
            f"--planes gives {len(ranges)} range(s) for an image of shape {image.shape}. Expected "
            f"one per axis before rows and columns, {len(leading)} in all. Give one for each."
        )
    return itertools.product(*ranges)


class _Counter:
    """Progress with the rate and the time left."""

    def __init__(self, heading: str = "") -> None:
        from napari_sam3.batch.progress import Pace

        self._heading = heading
        self._pace, self._line = Pace(), ProgressLine()

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        text = self._heading + self._pace.describe(progress, now)
        if progress.done or self._line.on_terminal:
            self._line.show(text, now, finished=progress.done >= progress.total)

    def end(self) -> None:
        self._line.end()
