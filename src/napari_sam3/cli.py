"""The command line: `napari-sam3 segment`, `batch`, `precompute`, `demo` and `info`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sam3.errors import Sam3Error

from . import batch_command, precompute_command

if TYPE_CHECKING:
    from .prompts import PromptSet

__all__ = ["main"]

BAD_INPUT = 2
SOME_FAILED = 1
INTERRUPTED = 130

EXAMPLES = """\
examples:
  napari-sam3 segment cells.tif --point 120,80 --point 310,95 -o labels.tif
      two objects, one click each
  napari-sam3 segment cells.tif --box 40,30,120,110 --point 100,105,0 -o labels.tif
      one object by its box; the click with a 0 says what does not belong to it
  napari-sam3 segment stack.tif --plane 7 --one-object --point 50,50 --point 80,52 -o labels.tif
      one object by two clicks, on plane 7 of a stack

X is the column and Y the row, in pixels from the centre of the first pixel, which is 0,0. Every
--box and every foreground --point starts an object; a background --point (X,Y,0) belongs to the
object before it. The labels have the image's shape.
"""


class _Parser(argparse.ArgumentParser):
    """Say what is wrong in one line, without the usage in front of it."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end the program with the code for bad input."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


class _AddPrompt(argparse.Action):
    """Keep points and boxes in one list: their order says which belong together."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Read one point or box."""
        from .segment import Prompt

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
            parser.error(f"{option_string} {values!r} cannot be read; expected {expected}")
        namespace.prompts = [*(namespace.prompts or []), prompt]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process if not given.

    Returns
    -------
    int
        0, or 2 for input that cannot be used, 1 if some objects could not be segmented.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.WARNING)
    try:
        return int(arguments.run(arguments))
    except Sam3Error as error:
        print(f"{arguments.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"{arguments.prog}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="napari-sam3", description="SAM 3 interactive segmentation in napari.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    segment = commands.add_parser(
        "segment",
        help="segment an image from points and boxes",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_argument("image", metavar="IMAGE", type=Path, help="TIFF, PNG, JPEG and others")
    for kind, metavar, meaning in (
        ("point", "X,Y[,0|1]", "a click; 0 is background"),
        ("box", "X0,Y0,X1,Y1", "a box around an object"),
    ):
        segment.add_argument(
            f"--{kind}",
            action=_AddPrompt,
            const=kind,
            dest="prompts",
            metavar=metavar,
            help=meaning,
        )
    segment.add_argument(
        "--one-object", action="store_true", help="all points and the box mean one object"
    )
    segment.add_argument(
        "-o", "--output", required=True, metavar="LABELS.tif", type=Path, help="labels to write"
    )
    segment.add_argument("--table", metavar="CSV", type=Path, help="table of objects to write")
    segment.add_argument(
        "--plane", metavar="N[,N...]", type=_plane, help="plane of an image of more than two axes"
    )
    segment.add_argument(
        "--level",
        type=int,
        help="how finely to look: 0 is one to one, -1 twice enlarged, 1 half size; "
        "by default chosen by prompts and objects",
    )
    segment.set_defaults(run=_segment)

    batch = commands.add_parser(
        "batch", help="segment many planes, or tiles of a large one; goes on where it stopped"
    )
    batch_command.add_arguments(batch)
    batch.set_defaults(run=batch_command.run)

    precompute = commands.add_parser(
        "precompute", help="encode an image ahead, so that clicks are answered at once"
    )
    precompute_command.add_arguments(precompute)
    precompute.set_defaults(run=precompute_command.run)

    demo = commands.add_parser(
        "demo", help="open a sample image; without a display, label it and save the results"
    )
    demo.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="folder for labels.tif, objects.csv and screenshot.png (default: %(default)s)",
    )
    demo.add_argument(
        "--headless", action="store_true", help="label off-screen even where there is a display"
    )
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="say what a weights file holds")
    info.add_argument("file", metavar="FILE")
    info.set_defaults(run=_info)

    for command in (segment, batch, precompute, demo):
        _add_model_options(command)
    for command in (segment, batch, demo):
        command.add_argument(
            "--overwrite", action="store_true", help="replace files that exist already"
        )
    for command in (segment, batch, precompute, demo, info):
        command.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
        command.set_defaults(prog=command.prog)
    return parser


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", default="tiny", help="'tiny' (in the package) or a weights file (default: tiny)"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def _segment(arguments: argparse.Namespace) -> int:
    from . import export
    from .images import read_image
    from .models import model_loader
    from .segment import group_prompts, segment_plane

    for path in filter(None, (arguments.output, arguments.table)):
        export.check_output(path, overwrite=arguments.overwrite)
    objects = group_prompts(arguments.prompts or [], one_object=arguments.one_object)
    image = read_image(arguments.image)
    result = segment_plane(
        image,
        objects,
        model_loader(arguments.model, arguments.device),
        position=arguments.plane,
        level=arguments.level,
    )
    for prompts, error in result.failures:
        print(f"{arguments.prog}: {_describe(prompts)}: {error}", file=sys.stderr)
    if not result.rows:
        print(f"{arguments.prog}: no object was found, nothing is written", file=sys.stderr)
        return SOME_FAILED
    print(export.format_table(result.rows))
    export.write_labels(arguments.output, result.labels, overwrite=arguments.overwrite)
    print(f"labels: {arguments.output}")
    if arguments.table:
        export.write_table(arguments.table, result.rows, overwrite=arguments.overwrite)
        print(f"table:  {arguments.table}")
    return SOME_FAILED if result.failures else 0


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import run_demo

    return run_demo(
        arguments.output,
        model=arguments.model,
        device=arguments.device,
        headless=arguments.headless,
        overwrite=arguments.overwrite,
    )


def _info(arguments: argparse.Namespace) -> int:
    from sam3.cli import main as sam3_main

    return sam3_main(["info", arguments.file])


def _numbers(text: str) -> tuple[float, ...] | None:
    """Read numbers separated by commas; None if that is not what it is."""
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
            f"{text!r} is no plane; expected whole numbers such as 7 or 0,7"
        ) from None


def _describe(prompts: PromptSet) -> str:
    if prompts.box is not None:
        return "box " + ",".join(f"{value:g}" for value in prompts.box)
    return "point " + ",".join(f"{value:g}" for value in prompts.points[0])


def _version() -> str:
    from importlib.metadata import version

    return f"napari-sam3 {version('napari-sam3')}"


if __name__ == "__main__":
    sys.exit(main())
