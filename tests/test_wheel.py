"""The wheel and the sdist hold what they should, and the wheel works where it is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
#: What the page on installing says, in MB, and how far it may be off.
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
STATED = re.search(r"The wheel is about (\d+) MB", INSTALL)


@dataclass(frozen=True)
class Built:
    """The files that were built, and a folder into which the wheel was installed."""

    wheel: Path
    sdist: Path
    installed: Path

    def run(self, folder: Path, *arguments: str) -> str:
        """Run Python with the installed wheel in front of everything else, away from the tree."""
        environment = {**os.environ, "PYTHONPATH": str(self.installed), "HF_HUB_OFFLINE": "1"}
        run = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    dist, installed = str(folder / "dist"), str(folder / "installed")
    install = "-m pip install --quiet --no-deps --no-index --no-compile"
    for command in (
        ["-m", "build", "--no-isolation", "--outdir", dist, str(ROOT)],
        [*install.split(), "--target", installed, "--find-links", dist, "napari-sam3"],
    ):
        run = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Built(wheel, sdist, folder / "installed")


def test_the_wheel_holds_both_packages_and_no_more(built: Built) -> None:
    names = set(zipfile.ZipFile(built.wheel).namelist())
    assert {name.split("/")[0] for name in names} == {
        *("sam3", "napari_sam3"),
        built.wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info",
    }
    needed = ("sam3/weights/tiny.safetensors", "sam3/weights/README.md", "napari_sam3/napari.yaml")
    assert {*needed, "sam3/py.typed", "napari_sam3/py.typed"} <= names
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if name.endswith((".pyc", ".npz", ".pt"))]


def test_the_wheel_is_as_large_as_the_page_says(built: Built) -> None:
    assert STATED is not None
    assert built.wheel.stat().st_size / 1e6 == pytest.approx(float(STATED[1]), abs=0.6)


def test_the_sdist_holds_what_a_tester_needs(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "Makefile"),
        *("CONTRIBUTING.md", "RELEASING.md", "mkdocs.yml", "scripts/site_hooks.py"),
        *("tests/test_wheel.py", "docs/index.md", "examples/label_2d.py"),
    }
    assert needed <= names


def test_the_wheel_segments_with_the_weights_inside(built: Built, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", skimage.data.coins())
    where = built.run(
        tmp_path,
        "-c",
        "import sam3, napari_sam3; from sam3.weights.load import embedded_weights as weights; "
        "print(sam3.__file__, napari_sam3.__file__, weights(), sep='\\n')",
    )
    for line in where.splitlines():
        assert Path(line).is_relative_to(built.installed), line
    arguments = "segment cells.tif --point 154,127 --box 314,102,359,148 -o labels.tif --json"
    said = built.run(tmp_path, "-m", "napari_sam3.cli.main", *arguments.split())
    assert len(json.loads(said)["objects"]) == 2
    labels = tifffile.imread(tmp_path / "labels.tif")
    assert [int(labels[127, 154]), int(labels[125, 336])] == [1, 2]
    assert 800 < np.count_nonzero(labels == 1) < 1600


def test_napari_finds_the_plugin_in_the_wheel(built: Built, tmp_path: Path) -> None:
    code = """
from importlib.metadata import distribution, entry_points
from npe2 import PluginManifest
print(distribution("napari-sam3")._path)
print(len({e.value for e in entry_points(group="napari.manifest", name="napari-sam3")}))
manifest = PluginManifest.from_distribution("napari-sam3")
manifest.validate_imports()
print(manifest.display_name, manifest.package_metadata.name, sep="|")
print(*sorted(e.name for e in distribution("napari-sam3").entry_points))
"""
    path, count, name, scripts = built.run(tmp_path, "-c", code).splitlines()
    assert Path(path).is_relative_to(built.installed)
    assert (count, name) == ("1", "SAM 3|napari-sam3")
    assert scripts == "napari-sam3 napari-sam3 sam3"
