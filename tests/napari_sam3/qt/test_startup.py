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


def _loaded(then: str = "") -> set[str]:
    """Top-level packages of which the widget loaded a module that was not there before."""
    code = OPEN.format(then=then)
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code],
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    name, *modules = run.stdout.splitlines()[-1].split()
    assert name == "loaded"
    return {module.partition(".")[0] for module in modules}


def test_the_widget_loads_no_slow_library() -> None:
    loaded = _loaded()
    assert "napari_sam3" in loaded
    assert loaded & SLOW == set()


def test_a_library_that_is_loaded_is_noticed() -> None:
    used = "from napari_sam3.core.masks import PlaneMask; import numpy as np\n"
    used += "PlaneMask(0, 0, np.ones((2, 2), bool)).without_islands([])"
    assert "scipy" in _loaded(used)
