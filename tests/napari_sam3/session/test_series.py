"""A series of images without a viewer: listed, labelled, resumed, and bad input of every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_sam3 import ImageSeries
from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.listing import ListingError, list_images
from napari_sam3.images.scenes import open_scene, scenes_of
from napari_sam3.labels.formats.label_files import open_label_file
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.output_files import ExportError
from napari_sam3.records.series import SeriesError
from napari_sam3.records.series_lock import SeriesInUseError
from napari_sam3.session import series_images
from sam3.errors import ImageError
from tests.napari_sam3.effort import calls

POSIX = pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of several kinds, sizes and data types, and other files."""
    made = tmp_path / "images"
    made.mkdir()
    for number in (1, 2, 10):
        tifffile.imwrite(made / f"cell{number}.tif", np.full((30, 20), number, np.uint16))
    stack = np.ones((4, 16, 17), np.float32)
    tifffile.imwrite(made / "stack.tif", stack, photometric="minisblack")
    Image.fromarray(np.full((8, 9, 3), 7, np.uint8)).save(made / "colour.png")
    np.save(made / "plane.npy", np.ones((12, 13), np.uint8))
    (made / "notes.txt").write_text("no image")
    (made / ".hidden.tif").write_text("no image")
    (made / "cell1.labels.tif").write_text("labels of another day")
    (made / "cell1_seg.npy").write_text("Cellpose's")
    return made


def names(found: Any) -> list[str]:
    return [one.key for one in found.items]


# ------------------------------------------------------------------------------- sources


def test_folders_patterns_tables_and_lists(folder: Path, tmp_path: Path) -> None:
    everything = ["cell1.tif", "cell2.tif", "cell10.tif", "colour.png", "plane.npy", "stack.tif"]
    assert names(list_images(folder)) == everything
    assert names(list_images(str(folder / "cell?.tif"))) == ["cell1.tif", "cell2.tif"]
    assert names(list_images(str(tmp_path / "**" / "*.png"))) == ["colour.png"]
    two = [folder / "plane.npy", folder / "cell2.tif"]
    assert names(list_images(two)) == ["plane.npy", "cell2.tif"]
    assert names(list_images([*two, two[0]])) == ["plane.npy", "cell2.tif"]
    (tmp_path / "a.csv").write_text("patient,image\n1,images/cell2.tif\n2,images/colour.png\n")
    (tmp_path / "b.txt").write_text("images/cell2.tif\n\nimages/colour.png\n")
    for table in ("a.csv", "b.txt"):
        assert names(list_images(tmp_path / table)) == ["cell2.tif", "colour.png"]
    (tmp_path / "c.csv").write_text("patient,picture\n1,x.tif\n")
    with pytest.raises(ListingError, match=r"no column of paths: patient, picture"):
        list_images(tmp_path / "c.csv")


@pytest.mark.parametrize("what", ["empty folder", "pattern", "nothing", "list", "table"])
def test_a_source_without_images_is_refused_with_its_name(tmp_path: Path, what: str) -> None:
    (tmp_path / "readme.md").write_text("no image")
    (tmp_path / "empty.csv").write_text("image\n")
    source: Any = {
        "empty folder": tmp_path,
        "pattern": str(tmp_path / "*.tif"),
        "nothing": tmp_path / "nowhere",
        "list": [],
        "table": tmp_path / "empty.csv",
    }[what]
    with pytest.raises(ListingError, match=r"Expected"):
        ImageSeries(source)
    assert not (tmp_path / "napari-sam3-series").exists(), "nothing is written for it"


def test_scenes_of_plates_groups_and_tiffs(tmp_path: Path) -> None:
    plate = tmp_path / "plate.zarr"
    root = zarr.open_group(plate, mode="w", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for well in ("A/1", "B/2"):
        group = root.create_group(well)
        group.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
        for field in "01":
            _image(group.create_group(field), 5)
    wells = ("A/1/0", "A/1/1", "B/2/0", "B/2/1")
    assert scenes_of(plate) == wells
    assert open_scene(plate, "B/2/1").shape == (5, 5)
    group = zarr.open_group(tmp_path / "many.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for number in (0, 2, 10):
        _image(group.create_group(str(number)), number + 3)
    assert scenes_of(tmp_path / "many.zarr") == ("0", "2", "10")
    assert open_scene(tmp_path / "many.zarr", "10").shape == (13, 13)
    with tifffile.TiffWriter(tmp_path / "many.ome.tif") as file:
        for size in (6, 7):
            about = {"axes": "YX", "PhysicalSizeX": size / 10, "PhysicalSizeXUnit": "µm",
                     "PhysicalSizeY": size / 10, "PhysicalSizeYUnit": "µm"}  # fmt: skip
            file.write(np.full((size, size), size, np.uint8), metadata=about)
    assert scenes_of(tmp_path / "many.ome.tif") == ("0", "1")
    second = open_scene(tmp_path / "many.ome.tif", "1")
    assert second.shape == (7, 7)
    assert np.asarray(second.data).max() == 7
    assert second.axes.scale == (0.7, 0.7)
    with pytest.raises(ImageError, match=r"image 5"):
        open_scene(tmp_path / "many.ome.tif", "5")
    with ImageSeries(plate, labels=tmp_path / "out") as series:
        assert [item.scene for item in series.items] == list(wells)
        opened = series.read(series.items[3])
        path = series.save(series.items[3], np.ones(opened.image.shape, np.uint8), state="done")
        assert path.name == "plate_B_2_1.labels.ome.tif"


def _image(group: Any, side: int) -> None:
    group.create_array("0", shape=(side, side), chunks=(side, side), dtype="u1")[...] = side
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]


# ------------------------------------------------------------------------- labels, states


def label(series: ImageSeries, item: Any, value: int = 1, **options: Any) -> Path:
    opened = series.read(item)
    labels = np.zeros(opened.image.shape, np.uint16)
    labels[..., 2:5, 2:5] = value
    return series.save(item, labels, axes=opened.image.axes, **options)


def test_images_of_all_kinds_are_labelled_saved_and_resumed(folder: Path, tmp_path: Path) -> None:
    with ImageSeries(folder) as series:
        assert series.current == series.items[0]
        for number, item in enumerate(series.items[:4], 1):
            label(series, item, number, state="done")
        series.set_state(series.items[4], "skipped")
        series.set_current(series.items[5])
        assert series.counts() == {"done": 4, "skipped": 1, "todo": 1}
    with ImageSeries(folder) as series:
        assert len(series.items) == 6, "labels are no images"
        assert series.current == series.items[5]
        assert series.remaining == (series.items[5],)
        for number, item in enumerate(series.items[:4], 1):
            labels = series.read(item).labels
            assert labels is not None
            assert labels.max() == number
            assert series.entry(item).objects == 1
        assert series.read(series.items[4]).labels is None
        assert series.neighbour(series.items[0], only_open=True) == series.items[5]
        assert series.neighbour(series.items[5]) is None
        assert series.neighbour(series.items[0], -1) is None


@pytest.mark.parametrize("format", ["ome-tiff", "tiff", "ome-zarr"])
def test_scale_units_and_classes_are_kept_in_a_chosen_folder(tmp_path: Path, format: str) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    for place in ("in/x.tif", "in/a/x.tif", "in/a/x.png"):
        if place.endswith("png"):
            Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / place)
        else:
            tifffile.imwrite(tmp_path / place, np.zeros((9, 9), np.uint8))
    source = str(tmp_path / "in" / "**" / "*.*")
    axes = ImageAxes.of("yx", units=["um", "um"], scale=[0.25, 0.5])
    table = ObjectTable({(1, ""): {"class": "nucleus", "score": 0.9}})
    with ImageSeries(source, tmp_path / "out", format=format) as series:
        paths = []
        for item in series.items:
            labels = np.zeros((9, 9), np.uint8)
            labels[2:4, 2:4] = 1
            paths.append(series.save(item, labels, axes=axes, table=table, state="done"))
    assert len(set(paths)) == 3, "images of one name have labels of their own"
    assert all(path.is_relative_to(tmp_path / "out") for path in paths)
    for path in paths:
        image = open_label_file(path)
        assert image.axes.scale == (0.25, 0.5)
        assert image.axes.units == ("micrometer",) * 2
        image.close()
        if format != "ome-zarr":
            read = ObjectTable.read(path.with_name(path.name.split(".labels")[0] + ".labels.csv"))
            assert read.rows[1, ""]["class"] == "nucleus"


# ------------------------------------------------------------------------------ bad input


def test_an_unreadable_file_is_listed_named_and_skipped(folder: Path) -> None:
    (folder / "cell2.tif").write_bytes(b"II*\0 but nothing behind it")
    with ImageSeries(folder) as series:
        bad = series.items[1]
        with pytest.raises(ImageError, match=r"cell2\.tif") as error:
            series.read(bad)
        series.set_state(bad, "skipped", note=str(error.value))
        assert series.neighbour(series.items[0]) == series.items[2]
        assert series.neighbour(series.items[2], -1) == series.items[0]
    with ImageSeries(folder) as series:
        assert "cell2.tif" in series.entry(bad).note
        tifffile.imwrite(folder / "cell2.tif", np.ones((5, 5), np.uint8))
        assert series.read(bad).image.shape == (5, 5), "it may be tried again"


def test_an_image_larger_than_the_memory_is_named_with_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any) -> Any:
        raise MemoryError("Unable to allocate 2 TiB")

    monkeypatch.setattr(series_images, "open_scene", exhausted)
    message = r"cannot be read: Unable to .*Free memory"
    with ImageSeries(folder) as series, pytest.raises(ImageError, match=message):
        series.read(series.items[0])


@pytest.mark.parametrize("kind", ["another size", "no integers", "damaged"])
def test_labels_that_do_not_fit_are_left_alone(folder: Path, kind: str) -> None:
    theirs = folder / "cell1.labels.ome.tif"
    if kind == "another size":
        tifffile.imwrite(theirs, np.ones((7, 7), np.uint8))
    elif kind == "no integers":
        tifffile.imwrite(theirs, np.ones((30, 20), np.float32) / 2)
    else:
        theirs.write_bytes(b"II*\0")
    before = theirs.read_bytes()
    with ImageSeries(folder) as series:
        opened = series.read(series.items[0])
        assert opened.labels is None
        assert "cell1.labels.ome.tif" in opened.notes[0]
        path = label(series, series.items[0])
        assert path.name == "cell1.labels-2.ome.tif"
        assert label(series, series.items[0]) == path, "which is theirs from then on"
    assert theirs.read_bytes() == before
    with ImageSeries(folder) as series:
        assert len(series.items) == 6
        labels = series.read(series.items[0]).labels
        assert labels is not None
        assert labels.any()


def test_labels_changed_by_another_program_are_not_written_over(folder: Path) -> None:
    with ImageSeries(folder) as series:
        path = label(series, series.items[0])
        tifffile.imwrite(path, np.full((30, 20), 9, np.uint8))
        theirs = path.read_bytes()
        mine = label_only(series, series.items[0])
        assert mine != path
        assert path.read_bytes() == theirs
        assert series.labels_path(series.items[0]) == mine
        # What was read anew may be written over again.
        assert series.read(series.items[0]).labels is not None
        assert label_only(series, series.items[0]) == mine


def label_only(series: ImageSeries, item: Any) -> Path:
    return series.save(item, np.ones((30, 20), np.uint8))


def test_two_people_on_one_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    with ImageSeries(folder) as first:
        with pytest.raises(SeriesInUseError, match=r"by anna on .* since 20\d\d-") as error:
            ImageSeries(folder)
        assert str(os.getpid()) in str(error.value)
        with ImageSeries(folder, folder.parent / "mine") as second:
            assert second.items == first.items
    with ImageSeries(folder):
        pass


HOLD = """
import sys, time
from napari_sam3 import ImageSeries
series = ImageSeries(sys.argv[1])
series.set_current(series.items[3])
print("open", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock(folder: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"
            with pytest.raises(SeriesInUseError, match=f"process {holder.pid}"):
                ImageSeries(folder)
        finally:
            holder.kill()
    with ImageSeries(folder) as series:
        assert series.current == series.items[3]


@POSIX
def test_a_folder_that_cannot_be_written_to_is_named_at_once(folder: Path, tmp_path: Path) -> None:
    # As root every folder may be written; below a file and in /proc nobody may.
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", Path("/proc/self")):
        with pytest.raises(SeriesError, match=r"cannot be written to.*Choose another"):
            ImageSeries(folder, place)


@POSIX
def test_a_full_disk_loses_neither_labels_nor_record(folder: Path) -> None:
    import resource

    with ImageSeries(folder) as series:
        item = series.items[0]
        path = label(series, item, state="done")
        before = path.read_bytes(), (folder / "napari-sam3-series" / "series.json").read_bytes()
        noise = np.random.default_rng(0).integers(0, 60000, (30, 20), np.uint16)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, limits[1]))
        try:
            with pytest.raises(ExportError, match=r"Free some space|cannot be written"):
                series.save(item, noise)
            with pytest.raises(SeriesError, match="Free some space"):
                series.set_state(item, "skipped")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        now = path.read_bytes(), (folder / "napari-sam3-series" / "series.json").read_bytes()
        assert now == before
        assert series.save(item, noise) == path


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[1", b'{"format": "napari-sam3 series", "version": 9}', b"\0" * 20,
     b'{"format": "napari-sam3 series", "version": 1, "current": 3, "images": {}}'],
)  # fmt: skip
def test_a_damaged_record_is_refused_and_kept(folder: Path, content: bytes) -> None:
    path = folder / "napari-sam3-series" / "series.json"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SeriesError, match=r"damaged.*move it away"):
        ImageSeries(folder)
    assert path.read_bytes() == content
    path.unlink()
    ImageSeries(folder).close()


def test_labels_outside_the_folder_cannot_be_named_by_a_record(folder: Path) -> None:
    path = folder / "napari-sam3-series" / "series.json"
    path.parent.mkdir()
    entry = {"state": "done", "note": "", "labels": "../../evil.tif", "objects": 0, "time": ""}
    path.write_text(json.dumps({"format": "napari-sam3 series", "version": 1, "current": "",
                                "images": {"cell1.tif": entry}}))  # fmt: skip
    with ImageSeries(folder) as series:
        assert series.labels_path(series.items[0]).parent == folder


# -------------------------------------------------------------------------------- many


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(10_000):
        (tmp_path / f"image{number}.tif").touch()
    return tmp_path


def test_ten_thousand_images_are_listed_and_noted_with_little_work(many: Path) -> None:
    assert calls(lambda: ImageSeries(many).close()) < 300 * 10_000
    with ImageSeries(many) as series:
        assert len(series.items) == 10_000
        assert [item.key for item in series.items[9:11]] == ["image9.tif", "image10.tif"]
        for item in series.items:
            series.set_state(item, "done", flush=False)
        assert calls(series.flush) + calls(series.counts) < 80 * 10_000
    with ImageSeries(many) as series:
        assert not series.remaining
