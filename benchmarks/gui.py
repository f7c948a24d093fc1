"""How the window feels: gaps while the model works, clicks to masks, opening, gestures.

`python -m benchmarks.gui` prints these rows alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, Timing
from napari_sam3.cli.virtual_display import virtual_display

__all__ = ["gui_rows"]

ROOT = Path(__file__).parent.parent
SIDES = (1024, 4096, 16384)


def gui_rows(
    *,
    sides: tuple[int, ...] = SIDES,
    clicks: int = 10,
    openings: int = 3,
    count: int = 20,
    model: str = "sam3",
    seconds: float = 5,
) -> Iterator[Row]:
    """Measure in processes of their own, with a virtual screen.

    Parameters
    ----------
    sides : tuple of int
        Planes (px) to click on.
    clicks : int
        On each.
    openings : int
        How often the plugin is opened.
    count : int
        Objects to label.
    model : str
        "sam3" or "sam3-shallow" with random weights, or "tiny": what encodes while gaps are
        measured.
    seconds : float
        For so long at least.
    """
    with virtual_display():
        opened = [_run("open") for _ in range(openings)]
        for what, _, beside in opened[0]:
            found = [value for one in opened for name, s, _ in one if name == what for value in s]
            yield Row(what, Timing(tuple(found)), other_name=beside)
        for side in sides:
            yield from _rows(_run("click", side=side, clicks=clicks))
        yield from _rows(_run("objects", count=count))
        yield from _rows(_run("series", side=min(1024, sides[0]), images=5 if clicks > 2 else 2))
        yield from _rows(_run("freeze", model=model, side=1008, seconds=seconds))


def _rows(results: list[Any]) -> Iterator[Row]:
    for what, seconds, beside in results:
        yield Row(what, Timing(tuple(seconds)), other_name=beside)


def _run(part: str, **options: Any) -> list[Any]:
    command = [sys.executable, "-m", "benchmarks.gui_parts", part, json.dumps(options)]
    with tempfile.TemporaryDirectory() as folder:
        # No settings file: the defaults are measured, and nobody's window is resized. Journals
        # of what is labelled here go to a cache that goes with it.
        environment = {**os.environ, "NAPARI_CONFIG": "", "XDG_CACHE_HOME": folder}
        run = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    results: list[Any] = json.loads(run.stdout.splitlines()[-1])
    return results


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="*", default=SIDES)
    parser.add_argument("--model", default="sam3", help="what encodes: sam3, sam3-shallow or tiny")
    arguments = parser.parse_args()
    for row in gui_rows(sides=tuple(arguments.sides), model=arguments.model):
        print(row.line, flush=True)


if __name__ == "__main__":
    main()
