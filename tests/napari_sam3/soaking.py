"""Label for hours in a real viewer; print what the process holds and how long clicks take.

A process of its own, like `opening`. After each hundred clicks a line of JSON: bytes, threads,
callbacks, objects accepted, and the median and the quickest time in ms from a click to its mask,
from a key to the label, and of the model alone, which says how fast the machine is just now.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import threading
import time
from typing import Any

import napari
import numpy as np
import psutil
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_sam3.cli.robot import Robot
from napari_sam3.qt.crash_recovery import Safety
from napari_sam3.qt.widget import SegmentWidget
from napari_sam3.qt.workers import give_back_memory
from sam3 import load_predictor

PLANES, SIDE = 50, 200
#: Clicks between two lines.
SPAN = int(os.environ.get("NAPARI_SAM3_SOAK_SPAN", "100"))


def callbacks(viewer: Any, widget: Any) -> int:
    """Count who listens to the layers, the sliders and the session."""
    groups = [layer.events for layer in viewer.layers]
    groups += [viewer.dims.events, viewer.layers.events, viewer.layers.selection.events]
    total = 0
    for group in groups:
        for emitter in getattr(group, "emitters", {}).values():
            total += len(emitter.callbacks)
    session = widget.session
    for name in ("plane_changed", "prompts_changed", "prediction_changed", "accepted"):
        total += len(getattr(session, name))
    return total + len(session.labels_changed) + len(session.busy_changed)


def held() -> int:
    """Bytes of the process, without what the allocator keeps for later use.

    What is to be deleted later is so by the event loop of an application, which does not run here.
    """
    for _ in range(2):
        QApplication.processEvents()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
        gc.collect()
    give_back_memory()
    return int(psutil.Process().memory_info().rss)


def main(clicks: int, folder: str) -> None:
    """Click so often."""
    random = np.random.default_rng(0)
    Safety.folder = folder
    viewer = napari.Viewer()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.full((PLANES, SIDE, SIDE), 20, np.uint8)
    image[:, (rows % 50 - 25) ** 2 + (columns % 50 - 25) ** 2 < 225] = 200
    viewer.add_image(image)
    widget = SegmentWidget(viewer)
    predictor = load_predictor(device="cpu")
    widget.set_predictor(predictor)
    viewer.window.add_dock_widget(widget, name="SAM 3")
    hand = Robot(viewer)
    hand.wait_until(lambda: widget.binding is not None, "the layers")
    session = widget.session
    session.look_ahead, session.policy = 0, "overwrite"
    # What is kept of encoded planes is bounded, and the bound must be reached before it is flat.
    session.cache.limit_bytes = 20_000_000
    viewer.reset_view()
    hand.rest()
    features = predictor.encode(np.repeat(image[0, ..., None], 3, axis=-1))
    took: list[float] = []
    wrote: list[float] = []
    alone: list[float] = []
    for number in range(1, clicks + 1):
        if number % 7 == 0:
            # Each plane once, then any: what is kept of each is part of the warm-up.
            visit = number // 7
            plane = visit if visit < PLANES else int(random.integers(PLANES))
            viewer.dims.set_current_step(0, plane)
            hand.rest()
            # Encoding a plane anew is no part of a click's latency.
            hand.click((5, 5))
            hand.wait_until(lambda: not session.busy, "the plane")
            hand.type("Control-Z")
            hand.wait_until(lambda: not session.busy, "the step back")
        place = random.integers(10, SIDE - 10, 2)
        began = time.perf_counter()
        hand.click((int(place[0]), int(place[1])))
        hand.wait_until(lambda: not session.busy, "the mask")
        took.append(time.perf_counter() - began)
        began = time.perf_counter()
        predictor.predict(features, [[25, 25]], [1])
        alone.append(time.perf_counter() - began)
        if number % 3 == 0:
            began = time.perf_counter()
            hand.type("N")
            hand.wait_until(lambda: not session.busy, "the label")
            wrote.append(time.perf_counter() - began)
        if number % 11 == 0:
            hand.type("Control-Z")
            hand.wait_until(lambda: not session.busy, "the step back")
        if number % SPAN == 0:
            line = {
                "clicks": number,
                "bytes": held(),
                "threads": threading.active_count(),
                "callbacks": callbacks(viewer, widget),
                "objects": len(session.objects),
                "click_ms": round(1000 * statistics.median(took), 2),
                "quickest_click_ms": round(1000 * min(took), 2),
                "accept_ms": round(1000 * statistics.median(wrote), 2),
                "model_ms": round(1000 * statistics.median(alone), 2),
            }
            print(json.dumps(line), flush=True)
            for times in (took, wrote, alone):
                times.clear()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
    # How napari and a driver end is not what is looked at here.
    os._exit(0)
