"""What somebody waits for who opens the dock widget: nothing that can come later."""

import subprocess
import sys

# In the order of a session: napari and its window stand, then the widget is chosen in the menu.
OPEN = """
import sys
import napari
viewer = napari.Viewer(show=False)
there = set(sys.modules)
from napari_sam3 import SegmentWidget
widget = SegmentWidget(viewer)
{then}
print("loaded", *sorted(set(sys.modules) - there))
widget.shut_down()
viewer.close()
"""
# Each takes a tenth of a second or more; napari itself loads parts of some of them.
SLOW = {"torch", "dask", "distributed", "huggingface_hub", "numcodecs", "pandas", "safetensors",
        "scipy", "skimage", "tifffile", "zarr"}  # fmt: skip
# What opening an image, a search, a batch, a saved file or a recovery needs.
LATER = {f"napari_sam3.{room}" for room in (
    "batch", "cli", "records", "images.lazy", "images.listing", "images.plane_image",
    "inference.answers", "inference.automatic", "inference.similar", "inference.tracking",
    "inference.store", "inference.remote.load", "labels.formats", "labels.ome_zarr",
    "layers.binding", "layers.layer_set", "layers.saved_sessions", "layers.series_view",
    "session.series", "session.replay", "session.searches", "session.propagation_run",
    "session.lessons", "qt.download", "qt.remote_dialog", "qt.review_panel", "qt.save_dialog",
)}  # fmt: skip
MOST_MODULES = 115


def _loaded(then: str = "") -> set[str]:
    """Modules that the widget loaded."""
    code = OPEN.format(then=then)
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    name, *modules = run.stdout.splitlines()[-1].split()
    assert name == "loaded"
    return set(modules)


def _packages(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_the_widget_loads_no_slow_library() -> None:
    loaded = _packages(_loaded())
    assert "napari_sam3" in loaded
    assert loaded & SLOW == set()


def test_the_widget_loads_only_the_rooms_of_its_first_view() -> None:
    loaded = {module for module in _loaded() if module.partition(".")[0] in ("napari_sam3", "sam3")}
    assert "napari_sam3.qt.panel" in loaded
    assert [
        one for one in sorted(loaded) if any(f"{one}.".startswith(f"{room}.") for room in LATER)
    ] == []
    assert len(loaded) <= MOST_MODULES


def test_a_room_that_is_opened_is_noticed() -> None:
    assert "napari_sam3.layers.binding" in _loaded("import napari_sam3.layers.binding")


def test_a_library_that_is_loaded_is_noticed() -> None:
    used = "from napari_sam3.core.masks import PlaneMask; import numpy as np\n"
    used += "PlaneMask(0, 0, np.ones((2, 2), bool)).without_islands([])"
    assert "scipy" in _packages(_loaded(used))
