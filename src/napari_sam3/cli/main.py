"""The command line: its commands, each in a module of its own, and their common options."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from sam3.errors import Sam3Error

from . import annotate as annotate_command
from . import batch as batch_command
from . import doctor as doctor_command
from . import export as export_command
from . import info as info_command
from . import learn as learn_command
from . import link as link_command
from . import models as models_command
from . import precompute as precompute_command
from . import replay as replay_command
from . import segment as segment_command
from . import serve as serve_command
from .common import (
    BAD_INPUT,
    DONE,
    EXIT_CODES,
    INTERRUPTED,
    Parser,
    add_json_option,
    add_model_options,
    print_json,
    raw,
)

__all__ = ["main"]

#: Name, module and help, in the usual order of use.
COMMANDS: tuple[tuple[str, ModuleType, str], ...] = (
    ("annotate", annotate_command, "label image after image of a folder in napari, and resume"),
    ("segment", segment_command, "segment an image from points and boxes"),
    (
        "batch",
        batch_command,
        "segment many planes, tiles of a large one, or a folder; can be interrupted and resumed",
    ),
    (
        "precompute",
        precompute_command,
        "encode an image ahead, so that clicks are answered at once",
    ),
    ("export", export_command, "write labels for ImageJ, QuPath, COCO, or as a table"),
    ("link", link_command, "link the labels of planes into objects of a stack"),
    ("replay", replay_command, "do again what was done to labels, from a session file"),
    ("learn", learn_command, "learn from your labels, for better clicks on similar images"),
    ("serve", serve_command, "let other computers use the model, and the GPU, of this one"),
    ("info", info_command, "describe an image, a weights file or an embedding store"),
    ("models", models_command, "list models, download the released one, verify a file"),
    ("doctor", doctor_command, "print versions, memory and device, and run a self-test"),
)
WITH_MODEL = ("replay", "annotate", "segment", "batch", "precompute", "learn", "serve", "demo")
OVERWRITING = ("replay", "segment", "batch", "export", "link", "learn", "demo")
EXAMPLES = """\
examples:
  napari-sam3 demo
      see it work, in a window or without a display
  napari-sam3 segment cells.tif --point 120,80 -o labels.tif
      one object by a click
  napari-sam3 export labels.tif -o cells.geojson
      labels for QuPath

Every command has examples: napari-sam3 COMMAND --help
"""
DEMO_EXAMPLES = """\
examples:
  napari-sam3 demo
      a window with a sample image; without a display, the results of labelling it
  napari-sam3 demo --headless --output somewhere
      labels.tif, objects.csv and screenshot.png, without a window
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.

    Returns
    -------
    int
        0 for success, 1 if some of it failed, 2 for bad input, 130 if interrupted.
    """
    arguments = _parser().parse_args(argv)
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
    parser = Parser(
        prog="napari-sam3",
        description="SAM 3 interactive segmentation: the same in napari, in scripts and here.",
    )
    raw(parser, f"{EXAMPLES}\n{EXIT_CODES}")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help=(
        "open a sample image; without a display, label it and save the results"
    )))  # fmt: skip
    for name, module, meaning in COMMANDS:
        command = commands.add_parser(
            name, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}."
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    for name, command in commands.choices.items():
        if name in WITH_MODEL:
            add_model_options(command)
        if name in OVERWRITING:
            command.add_argument(
                "--overwrite", action="store_true", help="replace files that exist already"
            )
        command.add_argument("-v", "--verbose", action="store_true", help="report each step")
        command.set_defaults(prog=command.prog)
    return parser


def _add_demo(demo: argparse.ArgumentParser) -> None:
    raw(demo, DEMO_EXAMPLES)
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
    add_json_option(demo)
    demo.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import FILES, run_demo

    code = run_demo(
        arguments.output,
        model=arguments.model,
        device=arguments.device,
        headless=arguments.headless,
        overwrite=arguments.overwrite,
        quiet=arguments.json,
    )
    if arguments.json and code == DONE:
        written = [arguments.output / name for name in FILES]
        print_json({"files": [path for path in written if path.exists()]})
    return code


def _version() -> str:
    from importlib.metadata import version

    return f"napari-sam3 {version('napari-sam3')}"


if __name__ == "__main__":
    sys.exit(main())
