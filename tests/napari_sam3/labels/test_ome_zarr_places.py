"""Labels that are added to an image at once or by symbolic links, and SpatialData stores."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_sam3.batch import Automatic, segment
from napari_sam3.cli.main import main
from napari_sam3.labels.formats.choice import FORMATS, check_target, export_labels
from napari_sam3.labels.ome_zarr import create_labels, open_labels
from napari_sam3.labels.output_files import ExportError
from tests.napari_sam3.labels.test_ome_zarr_neighbours import (
    VERSIONS,
    by_copy,
    consolidate,
    foreign_image,
    listed,
)

LABELS = np.zeros((4, 60, 80), np.uint8)
LABELS[:, 5:20, 5:20] = 7

#: Stops where the copy of the metadata was read and is about to be replaced.
PAUSING = """
import sys
from napari_sam3.labels.ome_zarr import create_labels
def pause(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(sys.argv[3]):
        print("inside", flush=True)
        sys.stdin.readline()
if sys.argv[3]:
    sys.addaudithook(pause)
else:
    print("ready", flush=True)
create_labels(f"{sys.argv[1]}/labels/{sys.argv[2]}", (8, 8), "u2")
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_processes_that_add_labels_at_once_keep_those_of_each_other(
    tmp_path: Path, version: str
) -> None:
    path = foreign_image(tmp_path / "i.zarr", version)
    create_labels(path / "labels" / "first", (8, 8), "u2")
    copy = "i.zarr/.zmetadata" if version == "0.4" else "i.zarr/zarr.json"

    def start(name: str, pause_at: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-W", "ignore", "-c", PAUSING, str(path), name, pause_at]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(argv, text=True, **pipes)

    paused = start("a", copy)
    assert paused.stdout is not None
    assert paused.stdout.readline() == "inside\n"
    other = start("b", "")
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    end = time.monotonic() + 1.5  # for one that does not wait
    while other.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    for process in (paused, other):
        process.communicate("\n" * 9)
        assert process.returncode == 0
    for copies in (False, True):
        group: Any = zarr.open_group(path, mode="r", use_consolidated=copies)
        about: Any = dict(group["labels"].attrs)
        assert set(about.get("ome", about)["labels"]) == {"first", "a", "b"}
        assert {name for name, _ in group["labels"].groups()} == {"first", "a", "b"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("link", ["image", "labels", "labels by another name", "from within"])
def test_symbolic_links_lead_to_the_same_image(tmp_path: Path, version: str, link: str) -> None:
    path = foreign_image(tmp_path / "deep" / "i.zarr", version)
    (path / "labels").mkdir()
    if link == "image":
        (tmp_path / "link.zarr").symlink_to("deep/i.zarr")
        target = tmp_path / "link.zarr" / "labels" / "n"
    elif link == "from within":
        (path / "labels").rmdir()
        (tmp_path / "elsewhere").mkdir()
        (path / "labels").symlink_to(tmp_path / "elsewhere")
        target = path / "labels" / "n"
    else:
        name = "labels" if link == "labels" else "other"
        (tmp_path / name).symlink_to(path / "labels")
        target = tmp_path / name / "n"
    for factor in (1, 2):
        export_labels(LABELS * factor, target, "ome-zarr", overwrite=True)
        assert (by_copy(path, "labels/n/0") == LABELS * factor).all()
    if link != "from within":  # where its library looks for the image beside the link
        assert listed(path) == ["n"]
    open_labels(target).finish({7: {"class": "cell"}})
    found: Any = dict(zarr.open_consolidated(path, mode="r")["labels/n"].attrs)
    assert found.get("ome", found)["image-label"]["properties"][0]["class"] == "cell"


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    export_labels(LABELS, tmp_path / "l.zarr")
    (tmp_path / "link.zarr").symlink_to("l.zarr")
    for overwrite in (False, True):
        with pytest.raises(ExportError, match=r"symbolic link. .* Give the path .*/l\.zarr"):
            export_labels(LABELS * 2, tmp_path / "link.zarr", overwrite=overwrite)
    np.testing.assert_array_equal(np.asarray(open_labels(tmp_path / "link.zarr").array), LABELS)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "sd.zarr"
    group = zarr.create_group(path)
    group.attrs["spatialdata_attrs"] = {"version": "0.2"}
    for name in ("images", "labels"):
        group.create_group(name)
    foreign_image(path / "images" / "im", "0.5")
    consolidate(path)
    for name, to in (("lnk", "labels"), ("im", "images/im"), ("whole", ".")):
        (tmp_path / name).symlink_to(path / to)
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()
    }


def test_nothing_is_written_into_a_spatialdata_store_by_any_way(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_in(store)
    folders = [store, store / "images", store / "new" / "deep", tmp_path / "lnk"]
    folders += [tmp_path / "im" / "labels", tmp_path / "whole" / "labels", Path(".")]
    monkeypatch.chdir(store / "labels")
    for folder in folders:
        for one in FORMATS.values():
            target = folder / f"new{one.suffixes[0]}"
            with pytest.raises(ExportError, match="SpatialData store"):
                check_target(target)
            with pytest.raises(ExportError, match="SpatialData store"):
                export_labels(LABELS, target, one.name)
        with pytest.raises(ExportError, match="SpatialData store"):
            next(segment(LABELS, Automatic(), "tiny", output=folder / "b.zarr"))
    np.save(tmp_path / "l.npy", LABELS)
    commands = [
        ["export", "-o", str(store / "images" / "new.tif")],
        ["segment", "--plane", "0", "--point", "9,9", "-o", str(tmp_path / "lnk" / "o.tif")],
        ["segment", "--plane", "0", "--point", "9,9", "-o", str(tmp_path / "o.tif"),
         "--table", str(tmp_path / "lnk" / "o.csv")],
        ["precompute", "--plane", "0", "--yes", "-o", str(tmp_path / "im" / "store")],
    ]  # fmt: skip
    for name, *options in commands:
        assert main([name, str(tmp_path / "l.npy"), *options]) == 2
        assert "SpatialData store" in capsys.readouterr().err
    assert files_in(store) == before
    shutil.rmtree(store)
