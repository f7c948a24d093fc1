"""Clicks and accepting in this build and in another, by turns.

`python -m benchmarks.builds --base ../other-checkout` measures both with the benchmarks of this
checkout. Only ratios are printed: other programs take their share of both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sam3.cli.virtual_display import virtual_display

__all__ = ["compare", "main"]

ROOT = Path(__file__).parent.parent
#: Parts of `benchmarks.gui_parts` with their options.
PARTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("click", {"side": 1024, "clicks": 6}),
    ("click", {"side": 1024, "clicks": 6, "held": 50}),
    ("click", {"side": 4096, "clicks": 6}),
    ("accept", {"side": 1024, "count": 100, "repeats": 6}),
    ("accept", {"side": 1024, "count": 10000, "repeats": 6}),
)


def compare(
    base: Path, parts: Sequence[tuple[str, Mapping[str, Any]]] = PARTS, turns: int = 3
) -> Iterator[tuple[str, float, int]]:
    """Measure parts of the window in both builds by turns.

    Parameters
    ----------
    base : Path
        Checkout of the other build.
    parts : sequence of (str, mapping)
        Parts of `benchmarks.gui_parts`, with their options.
    turns : int
        How often each build is measured.

    Yields
    ------
    (str, float, int)
        What was measured, the ratio of the medians, this build to the other, and how many values
        of each there are.
    """
    with virtual_display():
        for part, options in parts:
            found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
            for _ in range(turns):
                for number, tree in enumerate((base, ROOT)):
                    for what, seconds, _beside in _run(tree, part, options):
                        found[what][number].extend(seconds)
            for what, (before, now) in found.items():
                yield what, statistics.median(now) / statistics.median(before), len(now)


def _run(tree: Path, part: str, options: Mapping[str, Any]) -> list[Any]:
    """Measure a part in a process of its own, with the packages of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "NAPARI_CONFIG": "",
            "XDG_CACHE_HOME": folder,
            "PYTHONPATH": str(tree.resolve() / "src"),
        }
        command = [sys.executable, "-m", "benchmarks.gui_parts", part, json.dumps(options)]
        run = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    results: list[Any] = json.loads(run.stdout.splitlines()[-1])
    return results


def main(argv: list[str] | None = None) -> None:
    """Print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="checkout of the other build")
    parser.add_argument("--turns", type=int, default=3, help="how often each build is measured")
    arguments = parser.parse_args(argv)
    print("| what | this build / the other | n |\n|---|---|---|")
    for what, ratio, count in compare(arguments.base, turns=arguments.turns):
        print(f"| {what} | {ratio:.2f} | {count} |", flush=True)


if __name__ == "__main__":
    main()
