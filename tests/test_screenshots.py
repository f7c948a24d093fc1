"""The script that makes the pictures of the documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
LIMIT = 200_000


@pytest.mark.skipif(sys.platform != "linux", reason="needs a virtual display")
def test_a_state_becomes_a_small_picture_with_something_in_it(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "scripts/screenshots.py", "--output", tmp_path, "--only", "error"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < LIMIT
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200


def test_the_pictures_in_the_documentation_are_small() -> None:
    images = ROOT / "docs" / "images"
    pictures = list(images.glob("*.png"))
    assert {"demo", "accepted", "advanced"} <= {one.stem for one in pictures}
    assert all(one.stat().st_size < LIMIT for one in pictures if one.stem != "demo")
