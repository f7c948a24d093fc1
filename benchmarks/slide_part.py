"""Labels objects all over a slide in a window; prints memory and bytes read as a line of JSON.

`python -m benchmarks.slide_part FOLDER OBJECTS CACHE_MB`, with a screen; in the folder are what
`make_slide` made, and its places.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr
from zarr.storage import LocalStore, WrapperStore

from benchmarks.gui_parts import deepest_pixels

TILE, NUCLEI, LEVELS, CHUNK, MARGIN = 2000, 900, 6, 1024, 400
MEGABYTE = 1e6


class Counting(WrapperStore[LocalStore]):
    """A folder that counts the bytes read from it."""

    read = 0

    async def get(self, *arguments: Any, **options: Any) -> Any:
        """Read, and count."""
        found = await super().get(*arguments, **options)
        Counting.read += 0 if found is None else len(found)
        return found


def make_slide(path: Path, side: int) -> list[tuple[float, float]]:
    """Write a pyramid of nuclei, 16 bits, tile after tile; returns middles (row, column) of some.

    They are the same each time, in no order, and away from the border.
    """
    from napari_sam3.layers.sample_data import make_nuclei

    tile_side = min(TILE, side // 4)
    count = NUCLEI * tile_side**2 // TILE**2
    image, labels = make_nuclei((1, tile_side, tile_side), count=count, seed=3)
    group = zarr.open_group(path, mode="w")
    for level in range(LEVELS):
        tile, length = image[0][:: 2**level, :: 2**level], side // 2**level
        repeats = -(-length // len(tile))
        whole = np.tile(tile, (repeats, repeats))[:length, :length]
        array = group.create_array(
            str(level), shape=whole.shape, chunks=(CHUNK, CHUNK), dtype=whole.dtype
        )
        array[:] = whole
    rng = np.random.default_rng(0)
    middles = rng.permutation(np.array(deepest_pixels(labels[0])))
    corners = rng.integers(0, -(-side // tile_side), middles.shape) * tile_side
    places = middles + corners
    inside = ((places > MARGIN) & (places < side - MARGIN)).all(axis=1)
    return [(float(row), float(column)) for row, column in places[inside]]


def main(folder: Path, count: int, cache_mb: int) -> dict[str, float]:
    """Open, look around, label; returns MB."""
    import napari
    from qtpy.QtWidgets import QApplication

    from benchmarks.gui_desk import Desk
    from napari_sam3.cli.demo import PLUGIN, WIDGET
    from napari_sam3.cli.robot import Robot
    from sam3 import load_predictor

    places = json.loads((folder / "places.json").read_text())[:count]
    group = zarr.open_group(Counting(LocalStore(folder / "slide.zarr", read_only=True)), mode="r")
    predictor = load_predictor(device="cpu")
    predictor.encode(np.zeros((448, 448), np.uint8))
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    levels: list[Any] = [group[str(level)] for level in range(LEVELS)]
    viewer.add_image(levels, multiscale=True, contrast_limits=(400, 6000))

    def look_at(place: tuple[float, float]) -> None:
        viewer.scene.camera.center = (0, *place)
        viewer.scene.camera.zoom = 1.5
        for _ in range(5):
            QApplication.processEvents()
            time.sleep(0.02)

    # Everybody who labels a slide looks at it, with this plugin or another.
    for place in places:
        look_at(place)
    before = _resident()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    session = widget.session
    session.look_ahead = 0
    widget.set_predictor(predictor)
    while widget.binding is None:
        QApplication.processEvents()
    session.cache.limit_bytes = cache_mb * 1_000_000
    desk = Desk(viewer, widget, Robot(viewer))
    desk.settle()
    layers, peak, read = _resident() - before, 0.0, 0
    for place in places:
        look_at(place)
        desk.settle()
        before_click = Counting.read  # what napari draws is not counted
        desk.hand.click(place)
        desk.hand.wait_until(lambda: not session.busy, "a mask")
        read += Counting.read - before_click
        widget.binding.accept()
        peak = max(peak, _resident() - before)
    return {
        "before": before,
        "layers": layers,
        "added": _resident() - before,
        "peak": peak,
        "cached": session.cache.nbytes / MEGABYTE,
        "objects": len(session.objects),
        "read": read / MEGABYTE,
        "stored": sum(one.stat().st_size for one in (folder / "slide.zarr").rglob("*")) / MEGABYTE,
    }


def _resident() -> float:
    return float(psutil.Process().memory_info().rss) / MEGABYTE


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))), flush=True)
    # How napari and a driver end is not what is measured here.
    os._exit(0)
