"""What the connection to a remote model costs: both on this computer, taking turns.

python -m benchmarks.remote
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data

from benchmarks.measure import Row, describe_machine, take_turns
from napari_sam3 import load_predictor
from napari_sam3.core.planes import plane_from_array
from sam3.predictor import Predictor

__all__ = ["main", "remote_rows"]

_PORT = 8799


@contextmanager
def _server(model: str, folder: str) -> Iterator[str]:
    """Yield the name of a model that another process serves."""
    key = Path(folder) / "bench.key"
    command = [sys.executable, "-m", "napari_sam3.cli", "serve", "--model", model]
    command += ["--port", str(_PORT), "--key", str(key), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not any(line.startswith("ready") for line in process.stdout):
            raise SystemExit("the server did not start")
        yield f"tls://127.0.0.1:{_PORT}?key={key}"
    finally:
        process.kill()
        process.wait()


def remote_rows(model: str, *, clicks: int, images: int) -> Iterator[Row]:
    """Measure encoding and clicks, here and through the connection in turns."""
    coins = plane_from_array(skimage.data.coins())
    with tempfile.TemporaryDirectory() as folder, _server(model, folder) as name:
        here, there = load_predictor(model, "cpu"), load_predictor(name, "cpu")
        near, far = take_turns(
            _clicker(here, coins), _clicker(there, coins), repeats=clicks, warm_up=5
        )
        yield Row("a click on what was encoded", far, near, "in the same process")
        near, far = take_turns(
            _encoder(here, coins), _encoder(there, coins), repeats=images, warm_up=2
        )
        yield Row("encode a field", far, near, "in the same process")


def _clicker(predictor: Predictor, pixels: Any) -> Callable[[], Any]:
    encoded = predictor.encode(pixels)
    return lambda: predictor.predict(encoded, [[127, 154]], [1], crop=True)


def _encoder(predictor: Predictor, pixels: Any) -> Callable[[], Any]:
    """Return what encodes another image at each call, since servers remember images."""
    seen = iter(range(1, 1 << 30))

    def encode() -> Any:
        changed = np.array(pixels)
        number = next(seen)
        changed[0, 0] = number % 256, number // 256, 7
        return predictor.encode(changed)

    return encode


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--images", type=int, default=30)
    arguments = parser.parse_args()
    for name, value in describe_machine().items():
        print(f"- {name}: {value}")
    print("| What | Remote | In the same process | Ratio |\n|---|---|---|---|")
    for row in remote_rows(arguments.model, clicks=arguments.clicks, images=arguments.images):
        assert row.other is not None
        ratio = row.ours.median / row.other.median
        print(f"| {row.what} | {row.ours} | {row.other} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
