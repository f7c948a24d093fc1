"""How long a newcomer waits before anything shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from benchmarks.measure import Row, in_new_process
from napari_sam3.cli.virtual_display import has_display, virtual_display

__all__ = ["startup_rows"]

TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
# The widget is built as napari builds it, in a viewer that stands already.
WIDGET = """
import time
import napari
viewer = napari.Viewer(show=False)
start = time.perf_counter()
from napari_sam3 import SegmentWidget
widget = SegmentWidget(viewer)
print(time.perf_counter() - start)
viewer.close()
"""


def startup_rows(*, repeats: int) -> Iterator[Row]:
    """Measure imports and the widget's constructor, each in fresh interpreters."""
    yield Row(
        "`import napari_sam3`", in_new_process(TIMED.format("import napari_sam3"), repeats=repeats)
    )
    load = "import sam3; sam3.load_predictor()"
    yield Row(
        "`sam3.load_predictor()`, import of torch included",
        in_new_process(TIMED.format(load), repeats=repeats),
    )
    # The screen outlives the processes that draw on it.
    with contextlib.nullcontext() if has_display() else virtual_display():
        built = in_new_process(WIDGET, repeats=repeats)
    yield Row("construct the dock widget, imports included", built)
