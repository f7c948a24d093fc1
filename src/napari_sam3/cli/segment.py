"""The command `napari-sam3 segment`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3.errors import PromptError

from .common import DONE, SOME_FAILED, add_json_option, add_rgb_option, print_json, raw

if TYPE_CHECKING:
    from napari_sam3.core.prompts import PromptSet
    from napari_sam3.images.lazy import LazyImage

__all__ = ["add_arguments", "run"]

EXAMPLES = """\
examples:
  napari-sam3 segment cells.tif --point 120,80 --point 310,95 -o labels.tif
      two objects, one click each
  napari-sam3 segment cells.tif --box 40,30,120,110 --point 100,105,0 -o labels.tif
      one object by its box; a click with a 0 excludes a part from it
  napari-sam3 segment stack.tif --plane 7 --one-object --point 50,50 --point 80,52 -o labels.tif
      one object by two clicks, on plane 7 of a stack
  napari-sam3 segment slide.ome.zarr --prompts clicks.csv -o slide.ome.zarr/labels/cells
      the clicks and boxes of a table (for those of many planes: napari-sam3 batch)

X is the column and Y the row, in pixels from the centre of the first pixel, which is 0,0. Every
--box and every foreground --point starts an object; a background --point (X,Y,0) belongs to the
object before it. The labels have the image's shape; the name of the output determines the format
(.tif, .ome.tif, .zarr, .geojson and others, see napari-sam3 export --help).
"""


class _AddPrompt(argparse.Action):
    """Collect points and boxes in one list, since their order groups them into objects."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse one point or box."""
        from napari_sam3.session.headless import Prompt

        kind = self.const
        numbers = _numbers(values)
        if kind == "box" and numbers is not None and len(numbers) == 4:
            prompt = Prompt("box", numbers)
        elif kind == "point" and _is_point(numbers):
            assert numbers is not None
            prompt = Prompt("point", numbers[:2], int(numbers[2]) if len(numbers) == 3 else 1)
        else:
            expected = {
                "box": "X0,Y0,X1,Y1, for example 40,30,120,110",
                "point": "X,Y or X,Y,1 (foreground) or X,Y,0 (background), for example 120,80",
            }[kind]
            parser.error(
                f"{option_string} {values!r} cannot be read. Expected {expected}. Correct it."
            )
        namespace.points_and_boxes = [*(namespace.points_and_boxes or []), prompt]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    raw(command, EXAMPLES)
    command.add_argument(
        "image", metavar="IMAGE", type=Path, help="image file: TIFF, OME-Zarr, PNG, .npy and others"
    )
    for kind, metavar, meaning in (
        ("point", "X,Y[,0|1]", "a click; 0 is background"),
        ("box", "X0,Y0,X1,Y1", "a box around an object"),
    ):
        command.add_argument(
            f"--{kind}",
            action=_AddPrompt,
            const=kind,
            dest="points_and_boxes",
            metavar=metavar,
            help=meaning,
        )
    command.add_argument(
        "--prompts",
        metavar="TABLE",
        type=Path,
        help="CSV or JSON file of prompts, instead of --point and --box",
    )
    command.add_argument(
        "--one-object", action="store_true", help="all points and the box are for one object"
    )
    command.add_argument(
        "-o", "--output", required=True, metavar="LABELS", type=Path, help="labels to write"
    )
    command.add_argument("--table", metavar="CSV", type=Path, help="table of objects to write")
    command.add_argument(
        "--plane", metavar="N[,N...]", type=_plane, help="plane of an image of more than two axes"
    )
    add_rgb_option(command)
    command.add_argument(
        "--level",
        type=int,
        help="pyramid level: 0 is 1:1, -1 enlarges twice, 1 halves the size; "
        "by default chosen by prompts and objects",
    )
    add_json_option(command)


def run(arguments: argparse.Namespace) -> int:
    """Segment one plane and write its labels; return the exit code."""
    from napari_sam3.images.lazy import open_image
    from napari_sam3.labels.formats.choice import check_target
    from napari_sam3.labels.output_files import check_apart, check_output

    check_apart(
        {"--output": arguments.output, "--table": arguments.table},
        {"IMAGE": arguments.image, "--prompts": arguments.prompts},
    )
    check_target(arguments.output, overwrite=arguments.overwrite)
    if arguments.table:
        check_output(arguments.table, overwrite=arguments.overwrite)
    # Check prompts before opening a large image, if they come from the command line.
    objects = None if arguments.prompts else _given(arguments)
    image = open_image(arguments.image, rgb=arguments.rgb)
    try:
        return _segment(image, objects, arguments)
    finally:
        image.close()


def _given(arguments: argparse.Namespace) -> dict[int, PromptSet]:
    from napari_sam3.session.headless import group_prompts

    given = group_prompts(arguments.points_and_boxes or [], one_object=arguments.one_object)
    return dict(enumerate(given, 1))


def _segment(
    image: LazyImage, objects: dict[int, PromptSet] | None, arguments: argparse.Namespace
) -> int:
    from napari_sam3.inference.models import model_loader
    from napari_sam3.session.headless import segment_plane

    position = arguments.plane
    if objects is None:
        objects, position = _from_table(image, arguments)
    result = segment_plane(
        image,
        list(objects.values()),
        model_loader(arguments.model, arguments.device),
        position=position,
        level=arguments.level,
        ids=list(objects),
    )
    failed = [{"object": _describe(one), "error": str(error)} for one, error in result.failures]
    for one in failed:
        print(f"{arguments.prog}: {one['object']}: {one['error']}", file=sys.stderr)
    written: dict[str, Any] = {"labels": None, "table": None}
    if result.rows:
        written = _write(image, result, arguments)
    else:
        print(f"{arguments.prog}: no object was found, nothing is written", file=sys.stderr)
    if arguments.json:
        print_json({**written, "objects": [asdict(row) for row in result.rows], "failed": failed})
    return SOME_FAILED if failed or not result.rows else DONE


def _from_table(
    image: LazyImage, arguments: argparse.Namespace
) -> tuple[dict[int, PromptSet], Sequence[int]]:
    from napari_sam3.batch.prompt_files import read_prompts

    if arguments.points_and_boxes or arguments.one_object:
        raise PromptError(
            "--prompts cannot be combined with --point, --box or --one-object. Expected either a "
            "table or single prompts. Leave one of them out."
        )
    leading = image.axes.names[:-2]
    if arguments.plane is not None:
        # A table without planes refers to the chosen plane.
        try:
            planes = read_prompts(arguments.prompts, 0).planes
        except PromptError:
            planes = read_prompts(arguments.prompts, leading).planes
        planes = {at if at else arguments.plane: objects for at, objects in planes.items()}
        planes = {at: objects for at, objects in planes.items() if at == arguments.plane}
    else:
        planes = read_prompts(arguments.prompts, leading).planes
    if len(planes) != 1:
        raise PromptError(
            f"{arguments.prompts.name} has prompts on {len(planes)} planes"
            + (f" like {arguments.plane}" if arguments.plane is not None else "")
            + ". Expected one plane. Choose it by --plane, or use napari-sam3 batch for all."
        )
    ((position, objects),) = planes.items()
    return dict(objects), position


def _write(image: LazyImage, result: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    from napari_sam3.labels import table as export
    from napari_sam3.labels.formats.choice import export_labels
    from napari_sam3.labels.formats.object_table import ObjectTable

    export_labels(
        result.labels,
        arguments.output,
        axes=image.axes,
        table=ObjectTable.from_rows(result.rows),
        overwrite=arguments.overwrite,
    )
    if arguments.table:
        export.write_table(arguments.table, result.rows, overwrite=arguments.overwrite)
    if not arguments.json:
        print(export.format_table(result.rows))
        print(f"labels: {arguments.output}")
        if arguments.table:
            print(f"table:  {arguments.table}")
    return {"labels": arguments.output, "table": arguments.table}


def _numbers(text: str) -> tuple[float, ...] | None:
    """Parse numbers separated by commas; None if that is not possible."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return None


def _is_point(numbers: tuple[float, ...] | None) -> bool:
    if numbers is None or len(numbers) not in (2, 3):
        return False
    return len(numbers) == 2 or numbers[2] in (0, 1)


def _plane(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a plane. Expected whole numbers such as 7 or 0,7. Give one per axis "
            "before rows and columns."
        ) from None


def _describe(prompts: PromptSet) -> str:
    if prompts.box is not None:
        return "box " + ",".join(f"{value:g}" for value in prompts.box)
    if not prompts.points:
        return "outline"
    return "point " + ",".join(f"{value:g}" for value in prompts.points[0])
