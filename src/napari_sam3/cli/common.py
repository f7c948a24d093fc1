"""What all commands share: exit codes, the parser, options, and how they answer machines."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NoReturn

from sam3.errors import Sam3Error

__all__ = [
    "BAD_INPUT",
    "DONE",
    "EXIT_CODES",
    "INTERRUPTED",
    "SOME_FAILED",
    "Parser",
    "ProgressLine",
    "add_json_option",
    "add_model_options",
    "add_rgb_option",
    "agreed",
    "contrast_limits",
    "print_json",
    "raw",
]

DONE, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# How often progress is shown, at most: in a stream that is not a terminal, and on a terminal.
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_ON_A_TERMINAL = 0.2
EXIT_CODES = """\
exit codes:
  0    done
  1    some of it failed, or a check found a fault; what could be done is done
  2    input that cannot be used; nothing is written
  130  interrupted by Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    """Print an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end the program with the code for bad input."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def raw(command: argparse.ArgumentParser, epilog: str) -> None:
    """Give a command an epilog whose lines stay as they are."""
    command.epilog = epilog
    command.formatter_class = argparse.RawDescriptionHelpFormatter


def add_model_options(command: argparse.ArgumentParser) -> None:
    """Add --model and --device."""
    command.add_argument(
        "--model", default="tiny", help="'tiny' (in the package) or a weights file (default: tiny)"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")


def add_rgb_option(command: argparse.ArgumentParser) -> None:
    """Add --rgb and --no-rgb."""
    command.add_argument(
        "--rgb",
        action=argparse.BooleanOptionalAction,
        help="the last axis of a .npy or zarr holds colours, or not; the samples of a TIFF or PNG "
        "are colours, or planes (default: as the file says)",
    )


def add_json_option(command: argparse.ArgumentParser) -> None:
    """Add --json."""
    command.add_argument("--json", action="store_true", help="print one JSON object at the end")


def print_json(answer: Any) -> None:
    """Print one JSON object on a line of its own; paths and the like as text."""
    print(json.dumps(answer, default=str, allow_nan=False))


def agreed(question: str) -> bool:
    """Ask on the terminal; no is the default.

    Raises
    ------
    sam3.errors.Sam3Error
        If there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise Sam3Error(
            "it is not asked before it begins, as there is no terminal; add --yes to agree"
        )
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def contrast_limits(text: str) -> tuple[float, float]:
    """Read two rising numbers, the type of --contrast."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be read; expected two rising numbers such as 100,4000"
        )
    return low, high


class ProgressLine:
    """Progress on the error stream: on one line of a terminal, or now and then.

    Attributes
    ----------
    on_terminal : bool
        Whether the stream is a terminal.
    pause : float
        Seconds between two updates of something that changes very often.
    """

    def __init__(self) -> None:
        self.on_terminal = sys.stderr.isatty()
        self.pause = _SECONDS_ON_A_TERMINAL if self.on_terminal else _SECONDS_BETWEEN_LINES
        self._shown = -_SECONDS_BETWEEN_LINES
        self._open = False

    def show(self, text: str, now: float, *, finished: bool) -> None:
        """Show a text at a moment (s) in place of the last one; in other streams not too often."""
        if not (self.on_terminal or finished or now - self._shown >= _SECONDS_BETWEEN_LINES):
            return
        self._shown, self._open = now, self.on_terminal
        start, end = ("\r", "") if self.on_terminal else ("", "\n")
        print(f"{start}{text:<70}" if start else text, end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Begin a new line, if there is one to be left."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
