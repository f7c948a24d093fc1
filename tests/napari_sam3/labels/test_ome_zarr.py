"""Label images in OME-Zarr, read back by ome-zarr-py and checked by ome-zarr-models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.ome_zarr import create_labels, making_labels, open_labels
from napari_sam3.labels.output_files import ExportError
from napari_sam3.labels.pyramid import halved
from sam3.errors import ImageError

AXES = ImageAxes.of("zyx", units=("µm", "um", "micron"), scale=(2, 0.5, 0.25), translate=(7, 1, 2))
VERSIONS = ("0.5", "0.4")


def random_labels(shape: tuple[int, ...], most: int = 70_000) -> npt.NDArray[np.uint32]:
    """Return blocks of labels, some as small as a pixel."""
    random = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint32)
    for number in random.integers(1, most, 60):
        corner = [int(random.integers(0, length)) for length in shape]
        size = random.integers(1, [2] * (len(shape) - 2) + [90, 90])
        labels[tuple(slice(a, a + b) for a, b in zip(corner, size, strict=True))] = number
    return labels


def check_by_models(path: Path, version: str) -> Any:
    """Let ome-zarr-models read the metadata; it raises for what the specification forbids."""
    group = zarr.open_group(path, mode="r")
    models: Any = ome_zarr_models.v05 if version == "0.5" else ome_zarr_models.v04
    attributes = models.ImageLabel.from_zarr(group).attributes
    return attributes.ome if version == "0.5" else attributes


def read_by_ome_zarr_py(path: Path) -> tuple[list[Any], dict[str, Any]]:
    location = parse_url(path)
    assert location is not None
    (node,) = [node for node in Reader(location)() if node.zarr.path == location.path]
    return node.data, node.metadata


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_come_back_through_another_library(tmp_path: Path, version: str) -> None:
    path, labels = tmp_path / "labels.zarr", random_labels((3, 1100, 1203))
    image = create_labels(path, labels.shape, np.uint32, AXES, version=version)
    check_by_models(path, version)  # valid before anything is in it
    image.array[:] = labels
    image.finish({5: {"area": 12, "score": 0.5}}, {5: (255, 0, 10, 255)})

    levels, metadata = read_by_ome_zarr_py(path)
    np.testing.assert_array_equal(levels[0], labels)
    assert [level.shape for level in levels] == [(3, 1100, 1203), (3, 550, 602), (3, 275, 301)]
    np.testing.assert_array_equal(levels[1], halved(labels))
    np.testing.assert_array_equal(levels[2], halved(halved(labels)))
    assert [axis["name"] for axis in metadata["axes"]] == ["z", "y", "x"]

    about = check_by_models(path, version)
    assert about.image_label.properties[0].model_dump() == {
        "label_value": 5,
        "area": 12,
        "score": 0.5,
    }
    assert about.image_label.colors[0].rgba == (255, 0, 10, 255)
    (multiscale,) = about.multiscales
    assert [axis.unit for axis in multiscale.axes] == ["micrometer"] * 3
    scale, translation = multiscale.datasets[2].coordinateTransformations
    assert scale.scale == [2, 2, 1]
    assert translation.translation == [7, 1 + 1.5 * 0.5, 2 + 1.5 * 0.25]
    opened = open_labels(path)
    assert (opened.axes, opened.version) == (AXES, version)
    assert zarr.open_group(path).metadata.zarr_format == (3 if version == "0.5" else 2)


def test_finishing_again_follows_the_finest_level(tmp_path: Path) -> None:
    image = create_labels(tmp_path / "l.zarr", (600, 700), np.uint16)
    image.array[:] = 3
    image.finish({3: {"name": "a"}})
    image.array[:300] = 4
    open_labels(image.path).finish()
    assert np.unique(image.levels[1][:150]).tolist() == [4]
    about = check_by_models(image.path, "0.5")
    assert about.image_label.properties[0].label_value == 3


def test_coarser_levels_never_mix_labels() -> None:
    fine = np.array([[1, 9, 5, 5, 7], [9, 4, 8, 8, 6], [1, 2, 0, 3, 2]])
    # One pair is the mode, of two pairs or four singles the first; the edge is repeated.
    assert halved(fine).tolist() == [[9, 5, 7], [1, 0, 2]]
    labels = random_labels((2, 301, 402))
    coarse = halved(labels)
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        padded = np.pad(labels, [(0, 0), (0, 1), (0, 0)], mode="edge")
        coarse = np.where(coarse == padded[:, a::2, b::2], -1, coarse.astype(np.int64))
    assert (coarse == -1).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_inside_an_image_are_listed_there(tmp_path: Path, version: str) -> None:
    image = create_labels(tmp_path / "image.zarr", (40, 50), np.uint16, version=version).path
    for name in ("nuclei", "cells"):
        made = create_labels(image / "labels" / name, (40, 50), np.uint8)
        assert made.version == version
    create_labels(image / "labels" / "cells", (40, 50), np.uint8, overwrite=True).finish()
    group = zarr.open_group(image / "labels", mode="r")
    listed: Any = group.attrs["ome"] if version == "0.5" else group.attrs
    assert listed["labels"] == ["nuclei", "cells"]
    about = check_by_models(image / "labels" / "cells", version)
    assert about.image_label.source.image == "../../"
    other = "0.4" if version == "0.5" else "0.5"
    with pytest.raises(ExportError, match=f"in OME-Zarr {other} cannot lie in an image"):
        create_labels(image / "labels" / "x", (40, 50), np.uint8, version=other)
    assert sorted(p.name for p in (image / "labels").iterdir() if p.is_dir()) == ["cells", "nuclei"]


def test_several_processes_write_chunks_of_their_own(tmp_path: Path) -> None:
    path = create_labels(tmp_path / "l.zarr", (2, 64, 64), np.uint16, chunks=(1, 32, 32)).path
    program = (
        "import sys; from napari_sam3.labels.ome_zarr import open_labels;"
        "n = int(sys.argv[2]); open_labels(sys.argv[1]).array[n, :, 32 * n:32 * n + 32] = n + 1"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, path, str(n)]) for n in (0, 1)]
    assert [process.wait(60) for process in running] == [0, 0]
    expected = np.zeros((2, 64, 64))
    expected[0, :, :32], expected[1, :, 32:] = 1, 2
    np.testing.assert_array_equal(open_labels(path, read_only=True).array[:], expected)


def test_labels_may_be_made_from_those_that_they_replace(tmp_path: Path) -> None:
    old = create_labels(tmp_path / "l.zarr", (600, 700), np.uint8)
    old.array[:] = 3
    with making_labels(old.path, (600, 700), np.uint16, overwrite=True) as made:
        made.array[:] = np.asarray(old.array).astype(np.uint16) + 1
        made.finish()
    new = open_labels(old.path)
    assert [np.unique(np.asarray(level)).tolist() for level in new.levels] == [[4], [4]]
    about: Any = zarr.open_group(old.path, mode="r").attrs["ome"]
    assert about["multiscales"][0]["name"] == "l.zarr"
    with (
        pytest.raises(RuntimeError, match="on the way"),
        making_labels(old.path, (600, 700), np.uint16, overwrite=True),
    ):
        raise RuntimeError("on the way")
    assert np.unique(np.asarray(open_labels(old.path).array)).tolist() == [4]
    assert [one.name for one in tmp_path.iterdir()] == ["l.zarr"]


def test_only_label_images_are_replaced(tmp_path: Path) -> None:
    path = create_labels(tmp_path / "l.zarr", (20, 20), np.uint8).path
    with pytest.raises(ExportError, match="exists already"):
        create_labels(path, (30, 30), np.uint8)
    assert create_labels(path, (30, 30), np.uint8, overwrite=True).array.shape == (30, 30)
    zarr.create_array(tmp_path / "image.zarr", shape=(3, 3), dtype="u1")
    (tmp_path / "file.zarr").write_text("mine")
    (tmp_path / "folder").mkdir()
    for name in ("image.zarr", "file.zarr", "folder"):
        with pytest.raises(
            ExportError, match=r"Expected an OME-Zarr label image, which may be overwritten"
        ):
            create_labels(tmp_path / name, (30, 30), np.uint8, overwrite=True)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


@pytest.mark.parametrize(
    ("names", "types"),
    [
        ("yx", ["space"] * 2),
        ("tyx", ["time", "space", "space"]),
        ("tczyx", ["time", "channel", "space", "space", "space"]),
        ("tzcyx", ["time", None, "channel", "space", "space"]),  # as ImageJ has it
    ],
)
def test_axes_get_their_types(tmp_path: Path, names: str, types: list[str | None]) -> None:
    axes = ImageAxes.of(names, units=["s"] * names.count("t") + [None] * len(names.strip("t")))
    path = create_labels(tmp_path / "l.zarr", (2,) * len(names), np.uint8, axes).path
    about: Any = zarr.open_group(path, mode="r").attrs["ome"]
    assert [axis.get("type") for axis in about["multiscales"][0]["axes"]] == types
    read_by_ome_zarr_py(path)
    assert open_labels(path).axes == axes


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot hold an image with the axes axis_0"):
        create_labels(tmp_path / "a", (1,) * 6, np.uint8)
    with pytest.raises(ExportError, match="float32"):
        create_labels(tmp_path / "a", (9, 9), np.float32)
    with pytest.raises(ExportError, match=r"'0\.3' cannot be written"):
        create_labels(tmp_path / "a", (9, 9), np.uint8, version="0.3")
    with pytest.raises(ImageError, match="one name per axis"):
        create_labels(tmp_path / "a", (9, 9), np.uint8, AXES)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        create_labels(tmp_path / "file" / "a", (9, 9), np.uint8)
    with pytest.raises(ImageError, match="Expected an OME-Zarr label image"):
        open_labels(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_axes_that_do_not_hold_together_are_refused() -> None:
    with pytest.raises(ImageError, match="one of each"):
        ImageAxes(("y", "x"), (None,), (1.0, 1.0), (0.0, 0.0))
    with pytest.raises(ImageError, match="a unique name each"):
        ImageAxes.of("xx")
    with pytest.raises(ImageError, match="no scale of 0"):
        ImageAxes(("y", "x"), (None, None), (1.0, 0.0), (0.0, 0.0))
    assert ImageAxes.of("yx", scale=(0, float("nan")), units=("pixel", "\\u00B5m")) == ImageAxes(
        ("y", "x"), (None, None), (1.0, 1.0), (0.0, 0.0)
    )


def foreign(path: Path, version: str = "0.5") -> Any:
    """Write labels with two levels as another program does; return the group."""
    image = create_labels(path, (64, 80), np.uint32, version=version)
    image.array[8:40, 8:40] = 5
    group = zarr.open_group(path, mode="r+")
    group.create_array("half", shape=(32, 40), dtype=np.uint32)[...] = image.array[::2, ::2]
    return group


def change(group: Any, edit: Any) -> None:
    """Edit the entry of the pyramid, and list the level "half"."""
    attributes = dict(group.attrs)
    entry = attributes.get("ome", attributes)["multiscales"][0]
    step = [{"type": "scale", "scale": [2.0, 2.0]}]
    entry["datasets"].append({"path": "half", "coordinateTransformations": step})
    edit(attributes.get("ome", attributes), entry)
    group.attrs.put(attributes)


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_which_a_level_is_missing_are_completed_without_it(
    version: str, tmp_path: Path
) -> None:
    group = foreign(tmp_path / "labels.zarr", version)
    change(group, lambda part, entry: entry["datasets"].append({"path": "quarter"}))
    labels = open_labels(tmp_path / "labels.zarr")
    labels.array[50:60, 50:60] = 7
    labels.finish({7: {"area": 100}})
    assert np.asarray(group["half"])[27, 27] == 7
    assert open_labels(tmp_path / "labels.zarr").properties == [{"area": 100, "label-value": 7}]
    with pytest.raises(ImageError, match=r"incomplete: it lacks the level 'quarter'"):
        open_image(tmp_path / "labels.zarr")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda part, entry: part["multiscales"].append(entry), "2 pyramids"),
        (lambda part, entry: entry["datasets"].clear(), "no levels"),
        (lambda part, entry: part.pop("multiscales"), "0 pyramids"),
    ],
)
def test_metadata_without_one_pyramid_are_named(edit: Any, message: str, tmp_path: Path) -> None:
    change(foreign(tmp_path / "labels.zarr"), edit)
    with pytest.raises(ImageError, match=message):
        open_labels(tmp_path / "labels.zarr")


def test_properties_stand_where_readers_look_whatever_version_is_stated(tmp_path: Path) -> None:
    group = foreign(tmp_path / "labels.zarr")
    change(group, lambda part, entry: part.update(version="0.4"))
    open_labels(tmp_path / "labels.zarr").finish({5: {"area": 1024}})
    attributes: Any = dict(zarr.open_group(tmp_path / "labels.zarr", mode="r").attrs)
    assert list(attributes) == ["ome"]
    assert attributes["ome"]["image-label"]["properties"] == [{"area": 1024, "label-value": 5}]


def test_a_scale_for_other_axes_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "labels.zarr"
    create_labels(path, (3, 64, 80), np.uint32, AXES)
    group = zarr.open_group(path, mode="r+")
    attributes: Any = dict(group.attrs)
    steps = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    steps[0]["scale"] = [0.5, 0.25]  # of rows and columns, without planes
    group.attrs.put(attributes)
    assert open_labels(path).axes == ImageAxes.default(3)
