"""The site of the documentation builds without a warning, offline, with what it should hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from scripts.site_hooks import links_for_site

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
#: The largest moving picture, in bytes.
LARGEST = 1_500_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return folder


def text_of(site: Path, page: str) -> str:
    html = (site / page).read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_strict_build_has_all_pages(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        made = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        assert made.exists(), made
    for name in ("gallery", "changelog", "contributing", "releasing", "model-card", "training"):
        assert (site / f"{name}.html").exists(), name


def test_the_reference_comes_from_docstrings_and_the_parser(site: Path) -> None:
    reference = text_of(site, "reference/napari_sam3.html")
    assert "Prompts by number of the draft" in reference
    assert "set_prompts" in reference, "inherited and own methods"
    assert "reopen" in reference
    assert "Segment planes of an image" in text_of(site, "reference/batch.html")
    assert "pyramid level" in text_of(site, "reference/options.html")
    assert "def make_slide" in text_of(site, "gallery.html").replace("  ", " ")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"([^\"]+)\"", html)
        loaded += re.findall(r"<link[^>]*rel=\"stylesheet\"[^>]*href=\"([^\"]+)\"", html)
        assert not [one for one in loaded if "//" in one], page.name


@pytest.mark.parametrize(
    ("source", "page", "link", "wanted"),
    [
        ("docs/labelling.md", "labelling.md", "../examples/drive_a_viewer.py",
         "[x](gallery.md#drive-a-viewer)"),
        ("docs/tutorials/cells.md", "tutorials/cells.md", "../labelling.md#what-is-kept",
         "[x](../labelling.md#what-is-kept)"),
        ("CONTRIBUTING.md", "contributing.md", "docs/architecture.md", "[x](architecture.md)"),
        ("src/sam3/weights/README.md", "model-card.md", "../training/README.md",
         "[x](training.md)"),
        ("docs/batch.md", "batch.md", "../pyproject.toml", "x"),
        ("docs/batch.md", "batch.md", "../nothing.md", "[x](../nothing.md)"),
        ("docs/batch.md", "batch.md", "https://dask.org", "[x](https://dask.org)"),
        ("docs/batch.md", "batch.md", "#propagate", "[x](#propagate)"),
    ],
)  # fmt: skip
def test_links_are_those_of_the_site(source: str, page: str, link: str, wanted: str) -> None:
    assert links_for_site(f"see [x]({link}).", source, page) == f"see {wanted}."


@pytest.mark.parametrize("name", sorted(path.stem for path in IMAGES.glob("*.gif")))
def test_moving_pictures_are_small_and_move(name: str) -> None:
    path = IMAGES / f"{name}.gif"
    assert path.stat().st_size < LARGEST
    with Image.open(path) as picture:
        frames = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(picture)]
    assert len(frames) > 4
    assert len(set(frames)) > 4
