"""`napari-sam3 batch` for a folder of images: each has its labels, and one that fails is named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam3.batch import Automatic, segment
from napari_sam3.batch.output import folder_beside
from napari_sam3.cli.main import main
from napari_sam3.inference import models
from tests.napari_sam3.batch_samples import pixels, stack

Capture = pytest.CaptureFixture[str]
ENDING = ".labels.ome.zarr"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images whose names differ by their suffixes, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    planes = stack(3)
    tifffile.imwrite(folder / "a.tif", planes[0])
    for name, plane in (("a.png", planes[1]), ("a.tif.png", planes[2])):
        Image.fromarray((plane // 16).astype(np.uint8)).save(folder / name)
    (folder / "b.tif").write_bytes(b"no TIFF at all")
    (folder / "notes.md").write_text("no image, and none by its name")
    return folder


def batch(*arguments: str) -> int:
    return main(["batch", *arguments, "--device", "cpu"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".zarr")


def test_a_folder_is_done_but_for_an_image_that_cannot_be_read(
    images: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    load = models.load_predictor

    def counted(*arguments: Any) -> Any:
        loaded.append(arguments)
        return load(*arguments)

    models._named.cache_clear()
    monkeypatch.setattr(models, "load_predictor", counted)
    assert batch("images", "-o", "labels", "--mode", "automatic") == 1
    out, err = capsys.readouterr()
    assert len(loaded) == 1
    last = err.splitlines()[-1]
    assert last.startswith("napari-sam3 batch: b.tif: ")
    assert "cannot be" in last
    assert "image 1 of 4, 1 of 1 units" in err
    assert out.splitlines()[-1] == "3 of 4 images done"
    assert names(Path("labels")) == [f"a.{end}{ENDING}" for end in ("png", "tif", "tif.png")]
    for name in ("a.tif", "a.png", "a.tif.png"):
        (alone,) = segment(images / name, Automatic(), device="cpu")
        np.testing.assert_array_equal(pixels(Path("labels", name + ENDING)), alone.labels)
        assert alone.labels.any()

    tifffile.imwrite(images / "b.tif", stack(1)[0])
    assert batch("images", "-o", "labels", "--mode", "automatic") == 0
    out = capsys.readouterr().out
    assert out.count("(1 plane, 1 of 1 units already done)") == 3
    assert f"b{ENDING} (1 plane)" in out
    assert out.splitlines()[-1] == "4 of 4 images done"


@pytest.mark.parametrize(
    "given", [["images/*.tif"], ["images/a.tif", "images/b.tif", "images/a.tif"]]
)
def test_a_pattern_and_several_files_are_as_a_folder(
    given: list[str], images: Path, capsys: Capture
) -> None:
    command = [*given, "-o", "labels", "--mode", "automatic", "--json"]
    assert batch(*command) == 1
    told = json.loads(capsys.readouterr().out)
    assert names(Path("labels")) == [f"a{ENDING}"]
    (image,), (failed,) = told["images"], told["failed"]
    assert (image["image"], image["planes"], image["failed"]) == ("a.tif", 1, [])
    assert Path(image["labels"]).resolve() == Path("labels", f"a{ENDING}").resolve()
    assert failed["image"] == "b.tif"
    assert "b.tif" in failed["error"]
    assert told["interrupted"] is False


def test_labels_among_the_images_are_no_images(images: Path, capsys: Capture) -> None:
    (images / "b.tif").unlink()
    for _ in range(2):
        assert batch("images", "-o", "images", "--mode", "automatic") == 0
        assert capsys.readouterr().out.splitlines()[-1] == "3 of 3 images done"


def test_similar_objects_are_found_by_an_example_of_another_image(
    images: Path, capsys: Capture
) -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[10:31, 10:31] = 1
    tifffile.imwrite("example.tif", labels)
    command = ["images/a.tif", "images/a.png", "-o", "labels", "--mode", "similar"]
    command += ["--examples", "example.tif"]
    assert batch(*command) == 2
    assert "'example.tif' does not name its image" in capsys.readouterr().err
    assert not Path("labels").exists()
    assert batch(*command, "--examples-image", "images/a.tif", "--min-score", "0.1") == 0
    assert names(Path("labels")) == [f"a.png{ENDING}", f"a.tif{ENDING}"]


def test_a_plane_that_fails_is_named_with_its_image(images: Path, capsys: Capture) -> None:
    import zarr

    source = images / "c.zarr"
    array = zarr.create_array(source, shape=(3, 60, 80), dtype="uint16", chunks=(1, 60, 80))
    array[:] = stack(3)
    chunk = source / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    command = ["images/a.tif", "images/c.zarr", "-o", "labels", "--mode", "automatic"]
    assert batch(*command) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("napari-sam3 batch: c.zarr: plane axis 0 = 1: ")
    assert out.splitlines()[-1] == "1 of 2 images done"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "the mode placed takes its prompts from a table, which is of one image"),
        (["--mode", "propagate", "--prompts", "clicks.csv"], "several: images. Expected --mode"),
        (["--mode", "automatic", "--table", "all.csv"], "several images: all.csv"),
        (["--mode", "automatic", "--link", "linked.zarr"], "several images: linked.zarr"),
        (["--mode", "automatic", "-o", "labels.zarr"], "several images: 'labels.zarr'"),
        (["--mode", "automatic", "-o", "labels.tif"], "several images: 'labels.tif'"),
        (["--mode", "automatic", "--model", "nowhere.pt"], "nowhere.pt"),
        (["--mode", "automatic", "--settings", '{"a": 1}'], "unknown setting: 'a'"),
        (["--mode", "automatic", "--dask", "local:x"], "'local:x' is not a number of processes"),
    ],
)
def test_what_suits_no_folder_is_refused_before_anything_is_written(
    more: list[str], message: str, images: Path, capsys: Capture
) -> None:
    assert batch("images", "-o", "labels", *more) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["images"]


def test_a_folder_without_images_is_refused(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    command = ["-o", str(tmp_path / "labels"), "--mode", "automatic"]
    for source in ("empty", "*.tif"):
        assert batch(str(tmp_path / source), *command) == 2
        assert "no images in the" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_an_interrupted_folder_is_resumed(images: Path, capsys: Capture) -> None:
    tifffile.imwrite(images / "b.tif", stack(40), photometric="minisblack")
    given = [f"images/{name}" for name in ("a.tif", "b.tif", "a.png")]
    command = [*given, "-o", "labels", "--mode", "automatic"]
    # Where tests run in the background of a shell, their children ignore the signal.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from napari_sam3.cli.main import main; sys.exit(main(sys.argv[1:]))"
    running = subprocess.Popen(
        [sys.executable, "-c", code, "batch", *command, "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    painted = folder_beside(Path("labels", f"b{ENDING}")) / "painted"
    deadline = time.monotonic() + 120
    while not list(painted.glob("*.json")):
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert f"a.tif{ENDING} (1 plane)" in out
    assert err.splitlines()[-1].endswith(
        "interrupted after 1 of 3 images; the same command resumes them"
    )
    assert not Path("labels", f"a.png{ENDING}").exists()
    done = len(list(painted.glob("*.json")))
    assert done < 40
    assert batch(*command, "--json") == 0
    first, second, third = json.loads(capsys.readouterr().out)["images"]
    assert (first["units"]["skipped"], third["units"]["skipped"]) == (1, 0)
    assert 0 < second["units"]["skipped"] < 40
    assert second["planes"] == 40
