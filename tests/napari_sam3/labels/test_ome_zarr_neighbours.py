"""Label images next to what other programs wrote: their copies of metadata, levels and versions."""

from __future__ import annotations

import datetime
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pandas as pd
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from napari_sam3.batch import Automatic, segment
from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.labels.formats.choice import check_target, export_labels
from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.labels.ome_zarr import create_labels, making_labels, open_labels
from napari_sam3.labels.output_files import ExportError
from napari_sam3.labels.pyramid import refill

VERSIONS = ("0.5", "0.4")
SHAPE = (4, 60, 80)
AXES = ImageAxes.of("zyx", units=["um"] * 3, scale=(2, 0.5, 0.25))


def consolidate(path: Path) -> None:
    """Copy all metadata into the group, as ngff-zarr does."""
    with warnings.catch_warnings():  # that zarr 3 has no specification of it yet
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)


def foreign_image(path: Path, version: str, pixels: Any = None) -> Path:
    """Write an image as ngff-zarr does: other names, levels that get flatter, one copy."""
    pixels = np.ones(SHAPE, np.uint16) if pixels is None else pixels
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    described = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    levels, names = [], None if version == "0.4" else "zyx"
    for level in range(3):
        step = 2**level
        data = pixels[::step, ::step, ::step]
        group.create_array(
            f"scale{level}/image", data=data, chunks=(2, 32, 32), dimension_names=names
        )
        scale = {"type": "scale", "scale": [2.0 * step, 0.5 * step, 0.25 * step]}
        levels.append({"path": f"scale{level}/image", "coordinateTransformations": [scale]})
    entry: Any = {"axes": described, "datasets": levels, "name": "image", "@type": "ngff:Image"}
    if version == "0.4":
        group.attrs.update({"multiscales": [{"version": "0.4", **entry}], "other": {"kept": 1}})
    else:
        group.attrs.update({"ome": {"version": version, "multiscales": [entry], "omero": {}}})
    consolidate(path)
    return path


def by_copy(path: Path, name: str) -> Any:
    """Read an array as those do who believe the copy at the top, and only that."""
    return np.asarray(zarr.open_consolidated(path, mode="r")[name])


def listed(path: Path) -> list[str]:
    """Return the labels of an image that another library finds."""
    location = parse_url(path)
    assert location is not None
    nodes = [Path(node.zarr.path) for node in Reader(location)()]
    return sorted(one.name for one in nodes if one.parent.name == "labels")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("nested", [False, True])
def test_labels_are_seen_in_a_consolidated_image(
    tmp_path: Path, version: str, nested: bool
) -> None:
    top = path = tmp_path / "image.zarr"
    if nested:  # an image in a plate, each with a copy of its own
        plate = zarr.create_group(top, zarr_format=2 if version == "0.4" else 3)
        for well in ("A/1", "B/1"):
            plate.require_group(well)
        path = top / "A" / "1" / "0"
    foreign_image(path, version)
    if nested:
        foreign_image(top / "B" / "1" / "0", version)
        consolidate(top)
    inside = path.relative_to(top).as_posix() + "/" if nested else ""

    for name, value in (("a", 7), ("b", 8)):
        export_labels(np.full(SHAPE, value), path / "labels" / name, axes=AXES)
    assert (by_copy(top, f"{inside}labels/a/0") == 7).all()
    # Others of another shape and type in their place are no mixture of both.
    export_labels(
        np.full((2, 700, 800), 9, np.uint8), path / "labels" / "a", axes=AXES, overwrite=True
    )
    for root, way in ((top, inside), (path, "")):
        found = by_copy(root, f"{way}labels/a/0")
        assert (found.shape, found.dtype, found.max()) == ((2, 700, 800), np.uint8, 9)
        assert by_copy(root, f"{way}labels/a/1").shape == (2, 350, 400)
        assert (by_copy(root, f"{way}labels/b/0") == 8).all()
        group: Any = zarr.open_consolidated(root, mode="r")[f"{way}labels"]
        assert sorted(name for name, _ in group.groups()) == ["a", "b"]
        attributes = dict(group.attrs)
        assert attributes.get("ome", attributes)["labels"] == ["a", "b"]
        assert (by_copy(root, f"{way}scale1/image") == 1).all()
    if nested:
        assert (by_copy(top, "B/1/0/scale0/image") == 1).all()
    assert listed(path) == ["a", "b"]


@pytest.mark.parametrize("version", VERSIONS)
def test_finishing_keeps_every_copy_true(tmp_path: Path, version: str) -> None:
    path = foreign_image(tmp_path / "image.zarr", version)
    labels = create_labels(path / "labels" / "cells", (600, 700), np.uint16)
    create_labels(path / "labels" / "others", (600, 700), np.uint16)
    consolidate(path / "labels")
    labels.array[:] = 3
    labels.finish({3: {"area": 5}})
    for root, way in ((path, "labels/"), (path / "labels", "")):
        assert (by_copy(root, f"{way}cells/1") == 3).all()
        assert by_copy(root, f"{way}others/0").shape == (600, 700)
        attributes = dict(zarr.open_consolidated(root, mode="r")[f"{way}cells"].attrs)
        about: Any = attributes.get("ome", attributes)
        assert len(about["multiscales"][0]["datasets"]) == 2
        assert about["image-label"]["properties"] == [{"label-value": 3, "area": 5}]


@pytest.mark.parametrize("version", [*VERSIONS, "0.6"])
def test_levels_of_another_program_keep_their_names(tmp_path: Path, version: str) -> None:
    before = np.zeros((5, 61, 83), np.uint16)
    before[:, 10:30, 10:30] = 7
    path = foreign_image(tmp_path / "labels.zarr", version, before)
    old = dict(zarr.open_group(path, mode="r").attrs)
    labels = open_labels(path)
    labels.array[:, 40:60, 40:70] = 3
    labels.array[:, 10:30, 10:30] = 0
    labels.finish({3: {"class": "nucleus"}})

    names = [f"scale{level}/image" for level in range(3)]
    for number, name in enumerate(names):
        for found in (by_copy(path, name), np.asarray(open_labels(path).levels[number])):
            assert found.shape == before[:: 2**number, :: 2**number, :: 2**number].shape
            places = np.argwhere(found == 3) * 2**number
            assert places[:, 1:].min(axis=0) == pytest.approx([40, 40], abs=3)
            assert places[:, 1:].max(axis=0) == pytest.approx([59, 69], abs=5)
            assert set(np.unique(found)) == {0, 3}
    new = dict(zarr.open_group(path, mode="r").attrs)
    about: Any = new.get("ome", new)
    kept: Any = old.get("ome", old)
    assert about["multiscales"] == kept["multiscales"]
    assert {**about, "image-label": None} == {**kept, "image-label": None}
    assert open_labels(path).properties == [{"label-value": 3, "class": "nucleus"}]
    if version != "0.6":  # which its library does not read yet
        location = parse_url(path)
        assert location is not None
        assert len(next(iter(Reader(location)())).data) == 3
        models: Any = ome_zarr_models.v04 if version == "0.4" else ome_zarr_models.v05
        models.ImageLabel.from_zarr(zarr.open_group(path, mode="r"))


def test_labels_of_one_level_get_more_beside_it(tmp_path: Path) -> None:
    group = zarr.create_group(tmp_path / "l.zarr")
    group.create_array("s0", data=np.full((1100, 900), 4, np.uint32), dimension_names="yx")
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": "theirs",
                "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
                "datasets": [
                    {
                        "path": "s0",
                        "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}],
                    }
                ],
                "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.25]}],
            }
        ],
    }
    labels = open_labels(tmp_path / "l.zarr")
    for _ in range(2):  # again after a correction
        labels.finish()
        assert [level.path for level in labels.levels] == ["s0", "1", "2"]
        assert [np.unique(np.asarray(level)).tolist() for level in labels.levels] == [[4]] * 3
    about: Any = ome_zarr_models.v05.ImageLabel.from_zarr(
        zarr.open_group(tmp_path / "l.zarr", mode="r")
    )
    (entry,) = about.attributes.ome.multiscales
    # That of the whole image comes on top of those of its levels.
    assert entry.datasets[1].coordinateTransformations[0].scale == [2, 2]
    assert entry.coordinateTransformations[0].scale == [0.5, 0.25]
    assert (entry.name, labels.axes.scale) == ("theirs", (0.5, 0.25))


def image_06(path: Path, transformation: dict[str, Any], *, by_name: bool = False) -> Path:
    """Write an image in version 0.6, with a coordinate system of its own for a stage."""

    def link(name: str) -> Any:
        return name if by_name else {"name": name}

    group = zarr.create_group(path)
    group.create_array("s0", data=np.ones((3, 40, 50), np.uint16))
    systems = [
        {"name": name, "axes": [{"name": a, "type": "space", "unit": unit} for a in "zyx"]}
        for name, unit in (("stage", "millimeter"), ("physical", "micrometer"))
    ]
    step = {**transformation, "input": link("s0"), "output": link("physical")}
    whole = {
        "type": "scale",
        "scale": [9, 9, 9],
        "input": link("physical"),
        "output": link("stage"),
    }
    entry = {
        "coordinateSystems": systems,
        "datasets": [{"path": "s0", "coordinateTransformations": [step]}],
        "coordinateTransformations": [whole],
    }
    group.attrs["ome"] = {"version": "0.6", "multiscales": [entry]}
    return path


@pytest.mark.parametrize("by_name", [False, True])
def test_an_image_in_version_06_keeps_its_scale(tmp_path: Path, by_name: bool) -> None:
    steps = [
        {"type": "scale", "scale": [2.0, 0.5, 0.25]},
        {"type": "translation", "translation": [1, 2, 3]},
    ]
    path = image_06(
        tmp_path / "i.zarr", {"type": "sequence", "transformations": steps}, by_name=by_name
    )
    expected = ImageAxes.of(
        "zyx", units=["micrometer"] * 3, scale=(2, 0.5, 0.25), translate=(1, 2, 3)
    )
    assert open_image(path).axes == expected
    assert open_image(image_06(tmp_path / "j.zarr", steps[0])).axes.scale == (2, 0.5, 0.25)
    assert open_image(image_06(tmp_path / "k.zarr", {"type": "identity"})).axes.units[0]


def test_labels_are_not_put_into_an_image_of_an_unknown_version(tmp_path: Path) -> None:
    path = image_06(tmp_path / "i.zarr", {"type": "identity"})
    with pytest.raises(ExportError, match=r"into an image in OME-Zarr 0\.6.*outside of the image"):
        create_labels(path / "labels" / "cells", (3, 40, 50), np.uint16)
    assert sorted(one.name for one in path.iterdir()) == ["s0", "zarr.json"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_spatialdata_store_is_left_alone(tmp_path: Path, version: str) -> None:
    store = tmp_path / "data.zarr"
    about = {"spatialdata_attrs": {"version": "0.2"}}
    form: Any = 2 if version == "0.4" else 3
    zarr.create_group(store, zarr_format=form, attributes=about).create_group("labels")
    foreign_image(store / "images" / "slide", version)
    consolidate(store)
    files = {one: one.stat().st_mtime_ns for one in store.rglob("*")}
    for place in ("labels/cells", "images/slide/labels/cells", "cells.zarr"):
        with pytest.raises(ExportError, match=r"SpatialData store '.*data\.zarr'.*Labels2DModel"):
            create_labels(store / place, (4, 5), np.uint16)
        with pytest.raises(ExportError, match="SpatialData"):
            check_target(store / place, "ome-zarr")
        with pytest.raises(ExportError, match="SpatialData"):
            next(segment(np.ones((2, 40, 50)), Automatic(), output=store / place))
    assert files == {one: one.stat().st_mtime_ns for one in store.rglob("*")}


def test_what_is_not_done_yet_is_in_no_copy(tmp_path: Path) -> None:
    path = foreign_image(tmp_path / "image.zarr", "0.5")
    with making_labels(path / "labels" / "cells", (600, 700), np.uint16) as made:
        made.array[:] = 1
        made.finish()
        assert "partial" not in (path / "zarr.json").read_text()
    assert "partial" not in (path / "zarr.json").read_text()
    assert (by_copy(path, "labels/cells/1") == 1).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_properties_that_json_cannot_hold_become_text(tmp_path: Path, version: str) -> None:
    made = create_labels(tmp_path / "l.zarr", (9, 9), np.uint8, version=version)
    features = pd.DataFrame(
        {
            "index": [1, 2],
            "seen": pd.to_datetime(["2026-01-02 03:04:05", None]),
            "took": pd.to_timedelta(["1h", None]),
            "count": pd.array([3, None], "Int64"),
            "good": pd.array([True, None], "boolean"),
            "kind": pd.Categorical(["a", None]),
            "day": [datetime.date(2026, 1, 2), None],
            "list": [np.arange(2), None],
            "far": [np.inf, 1.5],
        }
    )
    path = export_labels(
        np.ones((9, 9), int), tmp_path / "t.zarr", version=version,
        table=ObjectTable.from_features(features),
    )  # fmt: skip
    made.finish({1: features.iloc[0].to_dict(), 2: {"number": np.int64(5)}})
    for place in (path, made.path):
        group = zarr.open_group(place, mode="r")
        about: Any = dict(group.attrs).get("ome", dict(group.attrs))
        first = json.loads(json.dumps(about["image-label"]["properties"][0], allow_nan=False))
        assert (first["seen"], first["day"]) == ("2026-01-02T03:04:05", "2026-01-02")
        assert (first["count"], first["good"], first["kind"]) == (3, True, "a")
        assert (first["list"], first["far"], first["label-value"]) == ([0, 1], "inf", 1)
        assert "01:00:00" in first["took"]
        assert listed(place) == []
    assert open_labels(made.path).properties[1] == {"label-value": 2, "number": 5}


@pytest.mark.parametrize(
    ("fine", "coarse", "steps"),
    [
        ((30, 33), (10, 11), (3, 3)),
        ((4, 16, 18), (2, 8, 9), (2, 2, 2)),
        ((20, 31), (5, 8), (4, 4)),
        ((12, 12), (12, 3), (1, 4)),
    ],
)
def test_a_pixel_of_any_coarser_level_is_what_most_of_its_pixels_are(
    fine: tuple[int, ...], coarse: tuple[int, ...], steps: tuple[int, ...]
) -> None:
    labels = np.random.default_rng(0).integers(0, 3, fine).astype("u2")
    few = zarr.create_array({}, shape=coarse, chunks=(4,) * len(coarse), dtype="u2")
    many = zarr.create_array({}, shape=fine, chunks=(4,) * len(fine), dtype="u2")
    many[...] = labels
    refill(few, many)
    for place in np.ndindex(coarse):
        block = tuple(slice(at * s, (at + 1) * s) for at, s in zip(place, steps, strict=True))
        counts = np.bincount(labels[block].ravel())
        assert few[place] == np.flatnonzero(counts == counts.max())[-1]


def test_a_thin_object_stays_on_a_level_of_a_third(tmp_path: Path) -> None:
    few = zarr.create_array({}, shape=(10, 10), chunks=(4, 4), dtype="u2")
    many = zarr.create_array({}, shape=(30, 30), chunks=(9, 9), dtype="u2")
    many[6:9, 6:8] = 5  # the middle of the block, and what is left of it
    many[15:18, 15] = many[15:18, 17] = 6  # around the middle
    many[24:27, 3:6] = 7
    refill(few, many)
    assert [few[at] for at in ((2, 2), (5, 5), (8, 1))] == [5, 6, 7]
    assert np.count_nonzero(few[...]) == 3
