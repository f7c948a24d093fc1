"""The first view in the smallest window: nothing cut, nothing scrolled away, all of it readable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sam3.qt.theming import contrast, text_color_on
from tests.napari_sam3 import first_view

ROOT = Path(__file__).parents[3]
LEAST = 4.5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scale", ["1", "1.5"])
def test_the_first_view_is_whole_and_readable(scale: str) -> None:
    """In a process of its own, because a scale holds for a process."""
    done = subprocess.run(
        [sys.executable, "-m", first_view.__name__],
        cwd=ROOT,
        env={**os.environ, "QT_SCALE_FACTOR": scale},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    views = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(views) == 4
    measured = [len(view["contrasts"]) for view in views]
    assert scale != "1" or (measured[0] > 30 and measured[3] > 30)
    for view in views:
        where = view["view"], view["window"]
        assert view["window"][0] <= 1281, where
        for state in ("cut", "cut with a mask", "cut with an error"):
            assert view[state] == [], (where, state)
        assert {text: n for text, n in view["contrasts"].items() if n < LEAST} == {}, where


@pytest.mark.parametrize("color", ["#26a269", "#767676", "#ff0000", "#ffffff", "#e5a50a"])
def test_any_color_of_a_class_has_a_readable_text(color: str) -> None:
    assert contrast(text_color_on(color), color) >= LEAST
