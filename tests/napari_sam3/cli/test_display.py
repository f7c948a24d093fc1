"""The virtual screen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_sam3.cli.virtual_display import DisplayError, has_display, virtual_display

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is Linux's")

DRAW = """
from qtpy.QtWidgets import QApplication, QLabel
app = QApplication([]); label = QLabel("here"); label.show(); app.processEvents()
print(app.platformName(), app.primaryScreen().size().width())
"""


def test_windows_open_on_it_and_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-9")
    monkeypatch.delenv("DISPLAY", raising=False)
    with virtual_display(width=800, height=600):
        assert "WAYLAND_DISPLAY" not in os.environ
        drawn = subprocess.run(
            [sys.executable, "-c", DRAW], capture_output=True, text=True, check=True
        )
        assert drawn.stdout.split() == ["xcb", "800"]
    assert "DISPLAY" not in os.environ
    assert os.environ["WAYLAND_DISPLAY"] == "wayland-9"
    assert has_display()


def test_without_xvfb_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DisplayError, match="apt-get install xvfb"), virtual_display():
        pass


def test_a_server_that_dies_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "Xvfb"
    broken.write_text("#!/bin/sh\necho no screens found >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DisplayError, match="no screens found"), virtual_display():
        pass
