import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, psutil
from napari_sam3.qt.workers import give_back_memory

def resident():
    return psutil.Process().memory_info().rss / 1e6

blocks = [np.ones(8000) for _ in range(2000)]
blocks = blocks[::100]  # what is left lies between what was freed
before = resident()
give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take memory back themselves")
def test_freed_memory_goes_back_to_the_system() -> None:
    # A process of its own: in one that runs tests, the heap is full of holes already.
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) > 100  # of 128 MB
