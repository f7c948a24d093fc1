"""Measure functions fairly: warm, repeated, and competitors taking turns."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = [
    "Fact",
    "Row",
    "Skipped",
    "Timing",
    "describe_machine",
    "in_new_process",
    "measure",
    "take_turns",
]

PACKAGES = ("torch", "torchvision", "transformers", "numpy", "scikit-image", "napari", "PyQt6")


@dataclass(frozen=True)
class Timing:
    """Seconds that repeated runs took."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the runs in seconds."""
        return statistics.median(self.seconds)

    def each_of(self, count: int) -> Timing:
        """Share the runs out among so many things that each of them did."""
        return Timing(tuple(seconds / count for seconds in self.seconds))

    def __str__(self) -> str:
        """Median, spread and number of runs."""
        low, high = min(self.seconds), max(self.seconds)
        return (
            f"{_pretty(self.median)} ({_pretty(low)} to {_pretty(high)}, n = {len(self.seconds)})"
        )


@dataclass(frozen=True)
class Row:
    """One line of the report: what was measured, how long it took, and beside what.

    Parameters
    ----------
    what : str
        What was measured.
    ours : Timing
        How long it took.
    other : Timing, optional
        How long another implementation took.
    other_name : str
        Which that was; without a timing, whatever else there is to say.
    """

    what: str
    ours: Timing
    other: Timing | None = None
    other_name: str = ""

    @property
    def ratio(self) -> str:
        """How many times as long the other took."""
        return f"{self.other.median / self.ours.median:.2f}" if self.other else ""

    @property
    def line(self) -> str:
        """The row of a table in Markdown."""
        beside = f"{self.other_name} {self.other}" if self.other else self.other_name
        return f"| {self.what} | {self.ours} | {beside} | {self.ratio} |"


@dataclass(frozen=True)
class Fact:
    """One line of the report for what is not a time: what, how much, and what to say beside it."""

    what: str
    value: str
    beside: str = ""

    @property
    def line(self) -> str:
        """The row of a table in Markdown."""
        return f"| {self.what} | {self.value} | {self.beside} |  |"


@dataclass(frozen=True)
class Skipped:
    """One line of the report for what could not be measured, and why."""

    what: str
    reason: str

    @property
    def line(self) -> str:
        """The row of a table in Markdown."""
        return f"| {self.what} | not measured: {self.reason} |  |  |"


def measure(function: Callable[[], object], *, repeats: int, warm_up: int = 1) -> Timing:
    """Time a function; the first runs are thrown away."""
    for _ in range(warm_up):
        function()
    return Timing(tuple(_once(function) for _ in range(repeats)))


def take_turns(
    first: Callable[[], object], second: Callable[[], object], *, repeats: int, warm_up: int = 1
) -> tuple[Timing, Timing]:
    """Time two functions in the order A B A B, so that a machine that slows down slows both."""
    for _ in range(warm_up):
        first()
        second()
    pairs = [(_once(first), _once(second)) for _ in range(repeats)]
    return Timing(tuple(a for a, _ in pairs)), Timing(tuple(b for _, b in pairs))


def in_new_process(code: str, *, repeats: int) -> Timing:
    """Time code in fresh interpreters; it prints the seconds that count."""
    # An installed package has its bytecode on the disk; a switch for developers forbids that.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True, capture_output=True, text=True, env=environment,
        ).stdout.split()[-1]
        for _ in range(repeats + 1)
    ]  # fmt: skip
    # The first run fills the file system's cache, and writes the bytecode.
    return Timing(tuple(float(seconds) for seconds in printed[1:]))


def describe_machine() -> dict[str, str]:
    """Say where the figures come from."""
    import torch

    # Cores this process may use: in a container the machine often has more.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": f"{_processor()}, {cores} cores, {torch.get_num_threads()} torch threads",
        "GPU": gpu,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": ", ".join(_versions()),
    }


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # a GPU without a screen needs no napari
            yield f"{name} {version(name)}"


def _once(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _pretty(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
