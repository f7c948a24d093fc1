"""Labels objects all over a slide in a window; prints memory and bytes read as a line of JSON.

`python -m benchmarks.slide_part FOLDER SIDE OBJECTS CACHE_MB`, with a screen.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr

TILE, LEVELS, CHUNK = 2000, 6, 1024
MEGABYTE = 1e6


class Counted:
    """An array that counts the bytes of the chunks that the plugin's thread reads from it.

    Parameters
    ----------
    array : zarr.Array
        One level of a pyramid.
    """

    read = 0

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks
        self.ndim, self.size = array.ndim, array.size

    def __getitem__(self, key: Any) -> Any:
        """Read as the array does."""
        if threading.current_thread().name.startswith("napari-sam3"):
            nbytes = self.dtype.itemsize
            for part, length, chunk in zip(key, self.shape, self.chunks, strict=True):
                start, stop, _ = part.indices(length)
                nbytes *= (-(-stop // chunk) - start // chunk) * chunk
            Counted.read += nbytes
        return self._array[key]

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        """Read all of it, as napari does for the thumbnail of a coarse level."""
        return np.asarray(self._array, *arguments, **options)


def make_slide(path: Path, side: int) -> None:
    """Write a pyramid of nuclei, 16 bits, tile after tile."""
    from napari_sam3.sample_data import make_nuclei

    image, _ = make_nuclei((1, TILE, TILE), count=900, seed=3)
    group = zarr.open_group(path, mode="w")
    for level in range(LEVELS):
        tile, length = image[0][:: 2**level, :: 2**level], side // 2**level
        repeats = -(-length // len(tile))
        whole = np.tile(tile, (repeats, repeats))[:length, :length]
        array = group.create_array(
            str(level), shape=whole.shape, chunks=(CHUNK, CHUNK), dtype=whole.dtype
        )
        array[:] = whole


def places(side: int, count: int) -> Iterator[tuple[float, float]]:
    """Places (row, column) all over a slide, the same each time."""
    rng = np.random.default_rng(0)
    for row, column in rng.integers(500, side - 500, (count, 2)):
        yield float(row), float(column)


def main(folder: Path, side: int, count: int, cache_mb: int) -> dict[str, float]:
    """Open, look around, label; returns MB."""
    import napari
    from qtpy.QtWidgets import QApplication

    from benchmarks.gui_desk import Desk
    from napari_sam3.demo import PLUGIN, WIDGET
    from napari_sam3.hand import Hand
    from sam3 import load_predictor

    make_slide(folder / "slide.zarr", side)
    group = zarr.open_group(folder / "slide.zarr", mode="r")
    predictor = load_predictor(device="cpu")
    predictor.encode(np.zeros((448, 448), np.uint8))
    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    levels: list[Any] = [Counted(group[str(level)]) for level in range(LEVELS)]
    viewer.add_image(levels, multiscale=True, contrast_limits=(400, 6000))

    def look_at(place: tuple[float, float]) -> None:
        viewer.scene.camera.center = (0, *place)
        viewer.scene.camera.zoom = 1.5
        for _ in range(5):
            QApplication.processEvents()
            time.sleep(0.02)

    # Everybody who labels a slide looks at it, with this plugin or another.
    for place in places(side, count):
        look_at(place)
    before = _resident()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    session = widget.session
    session.look_ahead = 0
    widget.set_predictor(predictor)
    while widget.binding is None:
        QApplication.processEvents()
    session.cache.limit_bytes = cache_mb * 1_000_000
    desk = Desk(viewer, widget, Hand(viewer))
    desk.settle()
    layers, peak = _resident() - before, 0.0
    for place in places(side, count):
        look_at(place)
        desk.hand.click(place)
        desk.hand.wait_until(lambda: not session.busy, "a mask")
        widget.binding.accept()
        peak = max(peak, _resident() - before)
    return {
        "before": before,
        "layers": layers,
        "added": _resident() - before,
        "peak": peak,
        "cached": session.cache.nbytes / MEGABYTE,
        "objects": len(session.objects),
        "read": Counted.read / MEGABYTE,
        "stored": 2 * side * side / MEGABYTE,
        "chunk": 2 * CHUNK * CHUNK / MEGABYTE,
    }


def _resident() -> float:
    return float(psutil.Process().memory_info().rss) / MEGABYTE


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))), flush=True)
    # How napari and a driver end is not what is measured here.
    os._exit(0)
