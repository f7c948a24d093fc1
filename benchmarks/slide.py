"""What a slide too large for memory takes: memory, bytes read, and the first click from a store.

`python -m benchmarks.slide` prints these rows alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Fact, Row, Timing
from benchmarks.slide_part import make_slide
from napari_sam3.cli.virtual_display import virtual_display
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.plane_image import ArrayPlane
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.store.store import EmbeddingStore
from napari_sam3.session.session import LabelingSession
from sam3 import Predictor
from sam3.config import ModelConfig, get_preset
from sam3.model_builder import build_click_model

__all__ = ["slide_rows", "store_row"]

ROOT = Path(__file__).parent.parent
SIDE, CACHE_MB, OBJECTS = 20_000, 256, 170


def slide_rows(*, side: int = SIDE, objects: int = OBJECTS) -> Iterator[Fact]:
    """Label objects all over a slide in a process of its own, with a virtual screen."""
    with virtual_display(), tempfile.TemporaryDirectory() as folder:
        # Here, so that the other process is as somebody's who opens a slide.
        places = make_slide(Path(folder) / "slide.zarr", side)
        (Path(folder) / "places.json").write_text(json.dumps(places))
        environment = {**os.environ, "NAPARI_CONFIG": "", "XDG_CACHE_HOME": folder}
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.slide_part", folder, str(objects),
             str(CACHE_MB)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    yield Fact(
        f"memory that labelling adds on a lazy 16-bit slide, {side} x {side} px, "
        f"{found['objects']} objects all over it",
        f"{found['added']:.0f} MB",
        f"with {found['cached']:.0f} MB of encoded fields (limit {CACHE_MB}) and "
        f"{found['layers']:.0f} MB of layers; at most {found['peak']:.0f} MB; the window with the "
        f"image and the model takes {found['before']:.0f} MB",
    )
    yield Fact(
        "bytes read from the disk for these objects",
        f"{found['read']:.0f} MB",
        f"of the {found['stored']:.0f} MB that the slide has there",
    )


def store_row(config: ModelConfig, *, device: str, repeats: int = 7) -> Row:
    """Answer the first click on a plane from a store: open it, read a field, predict."""
    predictor = Predictor(build_click_model(config).eval(), device=device)
    side = config.resolution
    # No larger than a field, so that it is one: masks of random weights are cut off by any.
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        # The first time it is encoded; then it comes from the disk, by a session of its own.
        for _ in range(repeats + 1):
            start = time.perf_counter()
            store = EmbeddingStore(folder)
            session = LabelingSession(predictor, cache=EmbeddingCache(store=store), level=0)
            session.set_plane(ArrayPlane(pixels), "plane", np.zeros(pixels.shape[:2], np.uint16))
            session.set_prompts(PromptSet(((side / 2, side / 2),), (1,)))
            session.predict()
            assert session.prediction is not None
            seconds.append(time.perf_counter() - start)
            session.close()
    without, *later = seconds
    return Row(
        f"first click on a plane in a store: open it, read a field, predict; *{config.name}*",
        Timing(tuple(later)),
        other_name=f"{without:.1f} s without the store",
    )


def main() -> None:
    """Print the rows."""
    for row in slide_rows():
        print(row.line, flush=True)
    print(store_row(get_preset("sam3"), device="cpu").line)


if __name__ == "__main__":
    main()
