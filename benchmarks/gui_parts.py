"""What is measured of the window; each part runs in a process of its own, with a screen.

`python -m benchmarks.gui_parts PART '{"option": value}'` prints its results as a line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.layers.gestures import KEYS

__all__ = ["PARTS", "deepest_pixels", "main"]

Place = tuple[float, float]
#: What was measured: a name, seconds, and what to say beside them.
Result = tuple[str, list[float], str]
LIMIT = 0.1
# Objects of this plane, tiled for larger ones.
TILE = 1024


def freeze(model: str, side: int, seconds: float) -> list[Result]:
    """Gaps between ticks of the GUI thread while planes are encoded, for so long at least."""
    from benchmarks.full_size import shallow
    from benchmarks.gui_desk import opened, ticking
    from sam3 import Predictor, load_predictor
    from sam3.config import get_preset
    from sam3.model_builder import build_click_model

    configs = {"sam3": lambda: get_preset("sam3"), "sam3-shallow": shallow}
    if model in configs:
        predictor = Predictor(build_click_model(configs[model]()).eval())
    else:
        predictor = load_predictor(model)
    encoding: list[tuple[float, float]] = []
    encode = predictor.encode

    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return encode(*arguments, **options)
        finally:
            encoding.append((start, time.perf_counter()))

    predictor.encode = timed  # type: ignore[method-assign]
    image = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    # What is encoded is what the click asks for, and only that.
    with opened(image, predictor=predictor, look_ahead=False) as desk:
        session = desk.widget.session
        start = time.perf_counter()
        with ticking() as gaps:
            while time.perf_counter() - start < seconds:
                session.cache.clear()
                desk.hand.click((side / 2, side / 2))
                desk.hand.wait_until(lambda: session.prediction is not None, "a mask", 600)
                desk.hand.type(KEYS["reject"])
            found = gaps()
    during = [g for g in found if any(g.end > start and g.start < end for start, end in encoding)]
    around = [gap.seconds for gap in found if gap not in during]
    seconds_of = [gap.seconds for gap in during]
    longest = max(during, key=lambda gap: gap.seconds)
    over = sum(one for one in seconds_of if one > LIMIT) / sum(seconds_of)
    beside = (
        f"99th percentile {_ms(float(np.percentile(seconds_of, 99)))}; "
        f"{over:.2%} of {sum(seconds_of):.0f} s in gaps over {_ms(LIMIT)}; "
        f"in the longest, {_ms(longest.waited)} without a free core; "
        f"longest while the mask is then decoded and drawn {_ms(max(around))}"
    )
    return [(f"gaps of a 5 ms timer in the window while *{model}* encodes", seconds_of, beside)]


def click(side: int, clicks: int, held: int = 0) -> list[Result]:
    """From a click to the mask on the screen, on a square plane, with so many objects in hand."""
    from benchmarks.gui_desk import opened

    plane, middles = _nuclei(side)
    with opened(plane) as desk:
        desk.hand.rest()
        # Zoomed in as people are who click on nuclei.
        middle = middles[0]
        desk.viewer.scene.camera.center = (0, *middle)
        desk.viewer.scene.camera.zoom = 2
        near = sorted(middles, key=lambda place: abs(np.subtract(place, middle)).max())
        # Looking ahead may have encoded this place already.
        desk.widget.session.cache.clear()
        first = desk.click(middle)
        desk.type(KEYS["reject"])
        if held:
            desk.widget.session.mode = "many"
            for place in near[clicks : clicks + held]:
                desk.click(place)
        found = []
        for place in near[:clicks]:
            # The first click may have had to encode another field.
            for _ in range(2):
                last = desk.click(place)
                desk.type(KEYS["reject"])
            found.append(last)
    name = f"{side} x {side} px" + (f", {held} objects in hand" if held else "")
    return [
        (
            f"click to mask on the screen, features there, {name}",
            [one.seconds for one in found],
            _split(found),
        ),
        (f"the same with encoding, {name}", [first.seconds], _split([first])),
    ]


def open_plugin() -> list[Result]:
    """From the menu to the dock, and to the model, with nothing imported before."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_sam3.cli.demo import PLUGIN, WIDGET

    viewer = napari.Viewer()
    viewer.open_sample(PLUGIN, "coins")
    QApplication.processEvents()
    assert "torch" not in sys.modules
    from benchmarks.gui_desk import FirstPaint, ticking

    with ticking() as gaps:
        start = time.perf_counter()
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        paint = FirstPaint(widget.panel)
        while not paint.time:
            QApplication.processEvents()
        shown = paint.time - start
        while widget.binding is None:
            QApplication.processEvents()
        QApplication.processEvents()
        clickable = time.perf_counter() - start
        before = len(gaps())
        while widget.session.predictor is None or widget.session.busy:
            QApplication.processEvents()
            time.sleep(0.001)
        ready = time.perf_counter() - start
        loading = [gap.seconds for gap in gaps()[before - 1 :]]
    widget.shut_down()
    widget.wait()
    viewer.close()
    return [
        ("from the menu to the dock on the screen", [shown], ""),
        ("from the menu to the layers, ready for a click", [clickable], ""),
        ("from the menu to the model ready, torch imported on the way", [ready], ""),
        ("longest gap of a 5 ms timer in the window while the model loads", [max(loading)], ""),
    ]


def objects(count: int) -> list[Result]:
    """Label objects of a sample, one Shift+click each."""
    from benchmarks.gui_desk import opened

    with opened(sample="nuclei") as desk:
        layers = desk.viewer.layers
        places = deepest_pixels(np.asarray(layers["nuclei, truth"].data))[:count]
        session = desk.widget.session
        session.cache.clear()
        seconds = []
        for place in places:
            desk.hand.move(place)
            start = time.perf_counter()
            # Accepts the object before, and is the next one's click.
            desk.hand.click(place, shift=True)
            desk.hand.wait_until(lambda: not session.busy, "a mask")
            seconds.append(time.perf_counter() - start)
        desk.type(KEYS["accept"])
        assert len(session.objects) == len(places)
    share = (len(places) + 1) / len(places)
    beside = f"{share:.2f} gestures an object; the best peer takes 2, a click and a key"
    return [(f"an object by Shift+click, encoding included, {len(places)} nuclei", seconds, beside)]


def series(side: int, images: int) -> list[Result]:
    """Click on each image of a series, and at once on the next one after *Next*."""
    import tempfile
    from pathlib import Path

    from benchmarks.gui_desk import opened

    present, first = [], []
    with tempfile.TemporaryDirectory() as folder:
        planes = [_nuclei(side, seed) for seed in range(images)]
        for number, (plane, _) in enumerate(planes):
            np.save(Path(folder) / f"{number}.npy", plane)
        with opened(planes[0][0]) as desk:
            run = desk.widget.series
            run.open(folder)
            for number, (_, middles) in enumerate(planes):
                desk.hand.wait_until(partial(_shows, run, number), f"image {number}")
                if number:
                    desk.hand.rest()
                    first.append(desk.click(middles[0], at_once=True).seconds)
                    desk.type(KEYS["accept"])
                for place in middles[1:4]:
                    present.append(desk.click(place).seconds)
                    desk.type(KEYS["accept"])
                desk.settle()  # the next image is encoded
                desk.hand.type(KEYS["next_image"])
    ratio = statistics.median(first) / statistics.median(present)
    name = f"{side} x {side} px"
    beside = f"{ratio:.2f} times a click on the image that is open"
    return [
        (f"click to mask on an image of a series, {name}", present, ""),
        (f"the first click on the next one, at once after *Next*, {name}", first, beside),
    ]


def accept(count: int, side: int, repeats: int) -> list[Result]:
    """Accept and undo with so many objects on the plane: seconds of the GUI thread for a key."""
    from benchmarks.gui_desk import opened
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import Instance
    from napari_sam3.core.rendering import Rendering

    plane, middles = _nuclei(side)
    with opened(plane) as desk:
        session, binding = desk.widget.session, desk.widget.binding
        labels = binding.labels_on(binding.plane)
        session.cache.clear()
        desk.click(middles[0])
        desk.type(KEYS["reject"])
        # Small ones along the upper edge, away from where it is clicked.
        square, across = np.ones((2, 2), bool), side // 3
        objects = [
            Instance(n + 1, PlaneMask(3 * (n // across), 3 * (n % across), square), 1.0)
            for n in range(count)
        ]
        writing = session.begin_batch(labels)
        session.write_batch(
            writing, session.plane_key, labels, objects, session.predictor, Rendering()
        )
        session.end_batch()
        desk.settle()
        taken: dict[str, list[float]] = {"accept": [], "undo": []}
        for _ in range(repeats):
            desk.click(middles[0])
            for name, seconds in taken.items():
                start = time.thread_time()
                desk.hand.type(KEYS[name])
                seconds.append(time.thread_time() - start)
                desk.settle()
            desk.type(KEYS["reject"])
    return [
        (f"{name}, {count} objects on the plane, seconds of the GUI thread", seconds, "")
        for name, seconds in taken.items()
    ]


PARTS: dict[str, Callable[..., list[Result]]] = {
    "freeze": freeze,
    "click": click,
    "open": open_plugin,
    "objects": objects,
    "series": series,
    "accept": accept,
}


def main(argv: Sequence[str]) -> None:
    """Run a part and print what came of it."""
    part, options = argv
    print(json.dumps(PARTS[part](**json.loads(options))))


def _shows(run: Any, number: int) -> bool:
    shown = run.shown
    return shown is not None and run.series.place(shown.opened.item) == number


def _nuclei(side: int, seed: int = 3) -> tuple[npt.NDArray[np.uint16], list[Place]]:
    """Make a plane of nuclei; returns it and middles (row, column), the first near its centre."""
    from napari_sam3.layers.sample_data import make_nuclei

    tile = min(side, TILE)
    image, labels = make_nuclei((1, tile, tile), count=tile * tile // 4400, seed=seed)
    times = side // tile
    corner = tile * (times // 2)
    places = [(row + corner, column + corner) for row, column in deepest_pixels(labels[0])]
    centre = np.array([corner + tile / 2] * 2)
    places.sort(key=lambda place: float(np.abs(np.array(place) - centre).max()))
    return np.tile(image[0], (times, times)), places


def deepest_pixels(labels: npt.NDArray[np.integer]) -> list[Place]:
    """Deepest pixel (row, column) of every object large enough to be clicked on."""
    from scipy import ndimage

    found = []
    for label, window in enumerate(ndimage.find_objects(labels), 1):
        depth = ndimage.distance_transform_edt(np.pad(labels[window] == label, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth.max() > 5:
            found.append((float(window[0].start + row), float(window[1].start + column)))
    return found


def _split(clicks: Sequence[Any]) -> str:
    names = clicks[0].parts
    parts = (f"{name} {_ms(statistics.median(c.parts[name] for c in clicks))}" for name in names)
    return ", ".join(parts)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


if __name__ == "__main__":
    main(sys.argv[1:])
