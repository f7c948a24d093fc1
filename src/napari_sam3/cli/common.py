"""Parts shared by all commands: exit codes, the parser, options, JSON and progress."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import Any, NoReturn

from napari_sam3.inference.remote.address import is_remote
from sam3.errors import Sam3Error, UnsupportedError

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
    "axis_given",
    "check_model_is_here",
    "contrast_limits",
    "print_json",
    "raw",
]

DONE, SOME_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# Minimum time between two updates of the progress, in a file and on a terminal.
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_ON_A_TERMINAL = 0.2
EXIT_CODES = """\
exit codes:
  0    success
  1    some of it failed, or a check found a fault; everything else was done
  2    input that cannot be used; nothing was written
  130  interrupted by Ctrl-C
"""


class Parser(argparse.ArgumentParser):
    """Print errors in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the code for bad input."""
        option = re.fullmatch(r"argument (\S+?)(?:/\S+)?: expected one argument", message)
        if option is not None:
            message += f". Give it as {option[1]}=VALUE if it begins with a minus"
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def raw(command: argparse.ArgumentParser, epilog: str) -> None:
    """Add an epilog whose line breaks are kept."""
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
    command.add_argument("--json", action="store_true", help="print a JSON object at the end")


def print_json(answer: Any) -> None:
    """Print a JSON object on one line, with paths and the like as text."""
    print(json.dumps(answer, default=str, allow_nan=False))


def agreed(question: str) -> bool:
    """Ask for confirmation on the terminal; the default is no.

    Raises
    ------
    sam3.errors.Sam3Error
        If there is no terminal.
    """
    if not sys.stdin.isatty():
        raise Sam3Error(
            "confirmation is not possible: there is no terminal. Expected one, or --yes. Add "
            "--yes to agree."
        )
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def check_model_is_here(model: str) -> None:
    """Raise UnsupportedError for the address of a server, where the weights are needed."""
    if is_remote(model):
        raise UnsupportedError(
            f"the weights are on another computer: {model}. Expected 'tiny' or a weights file. Run "
            "the command on that computer."
        )


def axis_given(text: str) -> int | str:
    """Parse the number or the name of an axis, the type of --axis."""
    try:
        return int(text)
    except ValueError:
        return text


def contrast_limits(text: str) -> tuple[float, float]:
    """Parse two increasing numbers, the type of --contrast."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be read. Expected two increasing numbers such as 100,4000. Correct "
            "them."
        )
    return low, high


class ProgressLine:
    """Progress on the error stream: on one line of a terminal, or occasional lines in a file.

    Attributes
    ----------
    on_terminal : bool
        Whether the stream is a terminal.
    pause : float
        Minimum time between updates, in seconds.
    """

    def __init__(self) -> None:
        self.on_terminal = sys.stderr.isatty()
        self.pause = _SECONDS_ON_A_TERMINAL if self.on_terminal else _SECONDS_BETWEEN_LINES
        self._shown = -_SECONDS_BETWEEN_LINES
        self._open = False

    def show(self, text: str, now: float, *, finished: bool) -> None:
        """Show a text at a time (s), replacing the last one on a terminal."""
        if not (self.on_terminal or finished or now - self._shown >= _SECONDS_BETWEEN_LINES):
            return
        self._shown, self._open = now, self.on_terminal
        start, end = ("\r", "") if self.on_terminal else ("", "\n")
        print(f"{start}{text:<70}" if start else text, end=end, file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the line of the terminal, if one was started."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
