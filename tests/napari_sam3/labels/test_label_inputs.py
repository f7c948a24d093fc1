"""Labels of other programs: how outlines count, what is decided where a file does not say."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from napari_sam3.core.axes import ImageAxes
from napari_sam3.core.masks import PlaneMask
from napari_sam3.labels.formats.choice import FORMATS, export_labels
from napari_sam3.labels.formats.label_planes import objects
from napari_sam3.labels.formats.polygons import centre_rings, fill_edges, fill_inclusive
from napari_sam3.labels.formats.reading import INPUTS, input_format, read_labels
from sam3.errors import ImageError
from tests.napari_sam3.labels.label_samples import SHAPE, read, square


def as_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), "utf-8")
    return path


def feature(corners: Any, name: str = "", **more: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"type": "Feature", "geometry": geometry, "properties": {"name": name, **more}}


BOX = [[4, 3], [9, 3], [9, 8], [4, 8], [4, 3]]


# ------------------------------------------------------------------ outlines


def test_outlines_are_filled_as_their_programs_do() -> None:
    """Any mask comes back from its rings along edges, and through centres but for its holes."""
    random = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(random.integers(1, 9, 2))
        mask = PlaneMask.from_array(random.random(shape) < random.choice([0.3, 0.6, 0.9]), 3, 5)
        if mask.is_empty:
            continue
        rings, filled = centre_rings(mask)
        pixels = np.zeros(SHAPE, bool)
        for ring in rings:
            assert len(ring) >= 3
            pixels |= fill_inclusive(ring.astype(float), SHAPE).to_array(SHAPE)
        whole = mask.to_array(SHAPE)
        assert filled == bool((pixels & ~whole).any())
        assert not (whole & ~pixels).any()
        for label, part in objects(pixels.astype(np.uint8) * 7, ()):
            assert label == 7
            assert (part.to_array(SHAPE) == pixels).all()


def test_polygons_are_cut_off_at_the_image() -> None:
    ring = np.array([[-5.0, -5], [3, -5], [3, 4], [-5, 4]])
    assert fill_edges([ring], SHAPE).bbox == (0, 0, 4, 3)
    assert fill_inclusive(ring, SHAPE).bbox == (0, 0, 5, 4)
    assert fill_edges([ring - 100], SHAPE).is_empty
    assert fill_inclusive(np.array([[1e9, 1e9], [-1e9, 0], [1e9, -1e9]]), SHAPE).area > 0


# ------------------------------------------------------------------ decisions


def test_the_smaller_object_is_on_top(tmp_path: Path) -> None:
    nucleus = [[5, 4], [7, 4], [7, 6], [5, 6], [5, 4]]
    for order in ([nucleus, BOX], [BOX, nucleus]):
        path = as_json(tmp_path / "l.json", [feature(ring) for ring in order])
        with pytest.warns(UserWarning, match="overlap in 4 px"):
            pixels = read(path)
        cell = 1 + order.index(BOX)
        np.testing.assert_array_equal(pixels > 0, square(3, 4, 8, 9) > 0)
        assert (pixels[4:6, 5:7] == 3 - cell).all()
        assert np.count_nonzero(pixels == cell) == 21


def test_covered_and_outside_objects_are_named(tmp_path: Path) -> None:
    far = [[90, 90], [99, 90], [99, 99], [90, 90]]
    path = as_json(tmp_path / "l.geojson", [feature(BOX), feature(BOX), feature(far)])
    with pytest.warns(UserWarning, match=r"1 object\(s\) are hidden.*1 object\(s\) lie outside"):
        assert np.unique(read(path)).tolist() == [0, 2]


def test_labels_that_are_stated_stay(tmp_path: Path) -> None:
    """Names that are numbers; one that comes twice counts once, others follow the largest."""
    shifted = [[x + 10, y] for x, y in BOX]
    third = [[x + 20, y] for x, y in BOX]
    features = [feature(BOX, "70001"), feature(shifted, "70001"), feature(third, "cell")]
    pixels = read(as_json(tmp_path / "l.geojson", features))
    assert pixels.dtype == np.uint32
    assert np.unique(pixels).tolist() == [0, 70001, 70002, 70003]
    assert (pixels[5, 5], pixels[5, 15], pixels[5, 25]) == (70001, 70002, 70003)


def test_a_size_is_needed_and_checked(tmp_path: Path) -> None:
    path = as_json(tmp_path / "l.geojson", feature(BOX))
    with pytest.raises(ImageError, match=r"does not state the size.*--image.*--shape"):
        read_labels(path)
    axes = ImageAxes.of("yx", units=("um", "um"), scale=(2, 3))
    image = export_labels(square(0, 0, 1, 1), tmp_path / "image.ome.tif", axes=axes)
    loaded = read_labels(path, image=image)
    assert loaded.axes == axes
    np.testing.assert_array_equal(loaded.data, square(3, 4, 8, 9))
    stated = export_labels(square(3, 4, 8, 9), tmp_path / "o.geojson")
    assert read_labels(stated).data.shape == SHAPE
    with pytest.raises(ImageError, match="holds labels of 20 x 30, the image has 9 x 9"):
        read_labels(stated, shape=(9, 9))
    with pytest.raises(ImageError, match="do not fit into memory"):
        read_labels(path, shape=(1 << 40, 1 << 40))


def test_planes_of_other_images_are_refused(tmp_path: Path) -> None:
    deep = feature(BOX)
    deep["geometry"]["plane"] = {"c": -1, "z": 3, "t": 0}
    path = as_json(tmp_path / "l.geojson", deep)
    with pytest.raises(ImageError, match="an object on the plane"):
        read(path)
    pixels = read(path, shape=(5, *SHAPE))
    assert np.unique(np.nonzero(pixels)[0]).tolist() == [3]


# ------------------------------------------------------------------ GeoJSON


def test_geojson_of_qupath(tmp_path: Path) -> None:
    """Derived classes, lists of measurements, cells with nuclei, points and lines."""
    old = feature(BOX, classification={"name": "Tumor", "colorRGB": -3670016})
    old["properties"]["measurements"] = [{"name": "Nucleus: Area", "value": 4.5}]
    cell = feature([[x + 12, y] for x, y in BOX], objectType="cell")
    cell["properties"]["classification"] = {"names": ["Tumor", "Positive"]}
    cell["nucleusGeometry"] = {"type": "Polygon", "coordinates": [BOX]}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    parts = {
        "type": "GeometryCollection",
        "geometries": [{"type": "MultiPolygon", "coordinates": [
            [[[0, 0], [9, 0], [9, 3], [0, 3]], [[1, 1], [1, 2], [2, 2], [2, 1]]],
            [[[20, 12], [22, 12], [22, 14], [20, 14]]],
        ]}],
    }  # fmt: skip
    features = [old, cell, point, {"type": "Feature", "geometry": parts, "properties": None}]
    path = as_json(tmp_path / "l.json", {"type": "FeatureCollection", "features": features})
    with pytest.warns(UserWarning, match=r"1 object\(s\) have no area"):
        loaded = read_labels(path, shape=SHAPE)
    assert loaded.format == "geojson"
    assert loaded.table.known(1, ()) == {"class": "Tumor", "Nucleus: Area": 4.5}
    assert loaded.table.known(2, ()) == {"class": "Tumor: Positive"}
    assert np.bincount(loaded.data.ravel()).tolist()[1:] == [25, 25, 26 + 4]


# ------------------------------------------------------------------ ROIs of ImageJ


# ------------------------------------------------------------------ COCO


def coco(*annotations: dict[str, Any], images: int = 1) -> dict[str, Any]:
    listed = [
        {"id": n, "file_name": f"{n}.png", "height": SHAPE[0], "width": SHAPE[1]}
        for n in range(1, images + 1)
    ]
    known = [{"id": 5, "name": "cell"}]
    return {"images": listed, "annotations": list(annotations), "categories": known}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_polygons_and_run_lengths(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    noise = np.asfortranarray(random.random(SHAPE) < 0.5).astype(np.uint8)
    compressed = coco_mask.encode(noise)
    compressed["counts"] = compressed["counts"].decode()
    flat = noise.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    counts = np.diff([0, *changes, flat.size]).tolist()
    polygons = [[4, 3, 9, 3, 9, 8, 4, 8], [20, 3, 24, 3, 24, 5, 20, 5]]
    for segmentation, expected in (
        (compressed, noise),
        ({"size": list(SHAPE), "counts": counts}, noise),
        (polygons, square(3, 4, 8, 9) | square(3, 20, 5, 24)),
    ):
        one = {"image_id": 1, "category_id": 5, "segmentation": segmentation, "score": 0.5}
        path = as_json(tmp_path / "l.json", coco(one))
        loaded = read_labels(path)
        np.testing.assert_array_equal(loaded.data, expected)
        assert loaded.table.known(1, ()) == {"class": "cell", "score": 0.5}
        # The list of a detector's results has no sizes and no names.
        loaded = read_labels(as_json(path, [one]), shape=SHAPE)
        np.testing.assert_array_equal(loaded.data, expected)


def test_coco_of_several_images_and_boxes(tmp_path: Path) -> None:
    one = {"image_id": 1, "category_id": 5, "segmentation": [[4, 3, 9, 3, 9, 8, 4, 8]]}
    other = {"image_id": 2, "category_id": 5, "bbox": [1, 2, 3, 4], "segmentation": []}
    path = as_json(tmp_path / "l.json", coco(one, other, images=2))
    with pytest.raises(ImageError, match=r"lists 2 image\(s\): '1.png', '2.png'.*--image-name"):
        read_labels(path)
    np.testing.assert_array_equal(read(path, image_name="data/1.png"), square(3, 4, 8, 9))
    with pytest.warns(UserWarning, match="no area"):
        assert not read(path, image_name="2.png").any()
    wrong = {"image_id": 1, "segmentation": {"size": [5, 5], "counts": [3, 4, 18]}}
    with pytest.raises(ImageError, match="do not fit an image"):
        read(as_json(path, coco(wrong)))


# ------------------------------------------------------------------ YOLO, VIA, labelme


def test_yolo_of_others(tmp_path: Path) -> None:
    """A prediction with a score, whose classes are named in classes.txt."""
    path = tmp_path / "cells.txt"
    corners = np.array([[4, 3], [8, 3], [8, 7], [4, 7]]) / (SHAPE[1], SHAPE[0])
    words = " ".join(f"{value:.6f}" for value in (corners + 1e-4).ravel())
    path.write_text(f"1 {words} 0.75\n\n1 {words}\n")
    (tmp_path / "classes.txt").write_text("cell\nnucleus\n")
    with pytest.warns(UserWarning, match="overlap"):
        loaded = read_labels(path, shape=SHAPE)
    np.testing.assert_array_equal(loaded.data > 0, square(3, 4, 8, 9) > 0)
    assert loaded.table.known(1, ()) == {"class": "nucleus", "score": 0.75}
    assert loaded.table.known(2, ()) == {"class": "nucleus"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("0 0.5 0.5 0.1 0.1", "line 1: it is a box"),
        ("0 1 2 3 4 5 60", "not fractions of the image"),
        ("cell 0 0 0 1 1 1", "line 1"),
        ("0.5 0 0 0 1 1 1", "its class"),
        ("0 nan 0 0 1 1 1", "line 1"),
    ],
)
def test_yolo_that_is_none(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "l.txt").write_text(line)
    with pytest.raises(ImageError, match=complaint):
        read(tmp_path / "l.txt")


def test_yolo_beside_images_that_are_there(tmp_path: Path) -> None:
    """A data set is replaced but for its images, and nothing else is."""
    path = export_labels(square(3, 4, 8, 9), tmp_path / "d.yolo", image_name="a.png")
    (path / "images").mkdir()
    (path / "images" / "a.png").write_bytes(b"mine")
    export_labels(square(0, 0, 3, 3), path, image_name="b.png", overwrite=True)
    assert (path / "images" / "a.png").read_bytes() == b"mine"
    assert [one.name for one in (path / "labels").iterdir()] == ["b.txt"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.png").write_bytes(b"mine")
    with pytest.raises(Exception, match="Expected a YOLO dataset"):
        export_labels(square(0, 0, 3, 3), tmp_path / "photos", "yolo", overwrite=True)
    assert (tmp_path / "photos" / "me.png").read_bytes() == b"mine"


def test_shapes_of_via(tmp_path: Path) -> None:
    shapes = [
        {"name": "rect", "x": 4, "y": 3, "width": 5, "height": 5},
        {"name": "circle", "cx": 20, "cy": 5, "r": 2},
        {"name": "ellipse", "cx": 20, "cy": 14, "rx": 4, "ry": 2, "theta": 0},
        {"name": "polygon", "all_points_x": [2, 6, 6, 2], "all_points_y": [12, 12, 16, 16]},
        {"name": "point", "cx": 1, "cy": 1},
    ]
    regions = [{"shape_attributes": one, "region_attributes": {"kind": "cell"}} for one in shapes]
    exported = {"a.png123": {"filename": "a.png", "size": 123, "regions": regions}}
    path = as_json(tmp_path / "l.json", exported)
    with pytest.warns(UserWarning, match="no area"):
        loaded = read_labels(path, shape=SHAPE)
    assert loaded.format == "via"
    assert np.bincount(loaded.data.ravel()).tolist()[1:] == [25, 12, 28, 25]
    assert loaded.table.known(2, ()) == {"class": "cell"}


def test_shapes_of_labelme(tmp_path: Path) -> None:
    def shape(kind: str, points: Any, group: int | None = None) -> dict[str, Any]:
        return {"label": "cell", "points": points, "group_id": group, "shape_type": kind}

    shapes = [
        shape("rectangle", [[8.0, 7.0], [4.0, 3.0]]),
        shape("circle", [[20.0, 5.0], [22.0, 5.0]]),
        shape("polygon", [[2, 12], [4, 12], [4, 14], [2, 14]], 9),
        shape("polygon", [[12, 12], [14, 12], [14, 14], [12, 14]], 9),
        shape("linestrip", [[0, 0], [5, 5]]),
    ]
    content = {"shapes": shapes, "imagePath": "a.png", "imageHeight": 20, "imageWidth": 30}
    path = as_json(tmp_path / "l.json", content)
    with pytest.warns(UserWarning, match="no area"):
        loaded = read_labels(path)
    assert loaded.data.shape == SHAPE
    assert loaded.format == "labelme"
    counts = {label: int(n) for label, n in zip(*np.unique(loaded.data, return_counts=True))}  # noqa: B905
    assert counts[9] == 18
    assert counts[10] == 25
    assert counts[11] == 21


# ------------------------------------------------------------------ numbers in other types


# ------------------------------------------------------------------ files that are none


class Evil:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("place", ["masks", "filename", "napari-sam3"])
def test_files_of_cellpose_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {"masks": square(3, 4, 8, 9), place: Evil()}
    np.save(tmp_path / "x_seg.npy", np.array(content, dtype=object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"would run '(posix|nt).system'"):
        read_labels(tmp_path / "x_seg.npy")
    assert not (tmp_path / "hacked").exists()


def test_forged_arrays_of_cellpose_are_refused(tmp_path: Path) -> None:
    """Types that hold pointers would have numpy read memory that is not its own."""
    pairs = np.zeros(3, [("a", object), ("b", int)])
    for content in ({"masks": pairs}, {"masks": np.array([[1, None]], object)}, {}, [1], 5):
        np.save(tmp_path / "x_seg.npy", np.array(content, dtype=object), allow_pickle=True)
        with pytest.raises(ImageError, match="Check the file"):
            read_labels(tmp_path / "x_seg.npy")
    whole = (tmp_path / "x_seg.npy").read_bytes()
    (tmp_path / "x_seg.npy").write_bytes(whole[:-4])
    with pytest.raises(ImageError, match="Check the file"):
        read_labels(tmp_path / "x_seg.npy")


@pytest.mark.parametrize("name", ["l.json", "l.geojson"])
@pytest.mark.parametrize(
    "content", ["", "{", "null", "3", '{"a": 1}', "[[]]", '"x"', "[" * 100_000, '{"type": "x"}']
)
def test_json_that_is_none(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ImageError, match="Check the file"):
        read(tmp_path / name)


def test_files_that_unpack_to_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_sam3.labels.formats.stated.MOST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "l.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.roi", b"Iout" + bytes(100_000))
    (tmp_path / "l.json").write_text("[" + " " * 1000 + "]")
    (tmp_path / "l.txt").write_text("0 0 0 0 1 1 1" + " " * 1000)
    for path in tmp_path.iterdir():
        with pytest.raises(ImageError, match="Expected up to 1000"):
            read(path)


def test_every_object_format_is_read() -> None:
    label_images = {"ome-zarr", "ome-tiff", "tiff", "cellpose-masks"}
    tables = {"csv", "parquet"}
    assert set(INPUTS) - {"ctc"} == set(FORMATS) - label_images - tables
    for one in FORMATS.values():
        if one.name in tables:
            with pytest.raises(ImageError, match="is a table"):
                input_format(f"l{one.suffixes[0]}")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_labels(tmp_path / "l.zip")
    with pytest.raises(ImageError, match="unknown input format: 'svg'"):
        read_labels(as_json(tmp_path / "l.json", []), "svg")
