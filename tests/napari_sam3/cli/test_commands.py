"""Commands around the segmentation, run as a user runs them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import roifile
import skimage.data
import skimage.io
import tifffile
import torch
import zarr

from napari_sam3.cli.main import COMMANDS, main
from napari_sam3.core.axes import ImageAxes
from napari_sam3.images.lazy import open_image
from napari_sam3.inference.self_test import run_self_test
from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.ome_zarr import create_labels, open_labels
from sam3.weights.load import embedded_weights
from tests.sam3.test_download import Hub, hub

__all__ = ["hub"]

COINS = {7: (154, 127), 3: (336, 125)}  # (x, y) in the middle of two coins
AXES = ImageAxes.of("zyx", units=("um", "um", "um"), scale=(2, 0.5, 0.5))


def run(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> tuple[str, str]:
    """Run a command; return what it printed on both streams."""
    try:
        ended = main([str(argument) for argument in argv])
    except SystemExit as stop:
        ended = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert ended == code, err
    return out, err


def answer(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> Any:
    """Run a command with --json; return the one object on its output."""
    out, _ = run(capsys, *argv, "--json", code=code)
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Return labels on three planes, with what is known of one of them."""
    image = create_labels(tmp_path / "labels.zarr", (3, 40, 50), np.uint16, AXES)
    array: Any = image.array
    array[0, 5:20, 6:30], array[2, 20:25, 6:9] = 3, 12
    image.finish({3: {"score": 0.5, "class": "nucleus"}})
    return image.path


# ------------------------------------------------------------------ all commands


def test_the_help_lists_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "--help")
    for name, _, _ in COMMANDS:
        assert f"\n    {name}" in out
    for code in ("0    success", "1    some", "2    input", "130  interrupted"):
        assert code in out


@pytest.mark.parametrize("name", ["demo", *(name for name, _, _ in COMMANDS)])
def test_every_command_has_an_example_and_answers_machines(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = run(capsys, name, "--help")
    assert f"examples:\n  napari-sam3 {name}" in out
    if name == "models":
        out, _ = run(capsys, name, "list", "--help")
    assert "--json" in out
    assert all(len(line) <= 100 for line in out.splitlines())


# ------------------------------------------------------------------ segment


@pytest.fixture
def coins(tmp_path: Path) -> dict[str, Path]:
    """Return one image in all kinds of files that napari reads."""
    data = skimage.data.coins()
    kinds = {name: tmp_path / f"coins.{name}" for name in ("png", "tif", "ome.tif", "npy", "zarr")}
    skimage.io.imsave(kinds["png"], data)
    tifffile.imwrite(kinds["tif"], data)
    about = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(kinds["ome.tif"], data, metadata=about)
    np.save(kinds["npy"], data)
    axes = ImageAxes.of("yx", units=("um", "um"), scale=(0.5, 0.5))
    pyramid = create_labels(kinds["zarr"], data.shape, data.dtype, axes)
    pyramid.array[:] = data
    pyramid.finish()
    return kinds


def test_all_kinds_of_files_give_the_same_labels(
    coins: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [part for x, y in COINS.values() for part in ("--point", f"{x},{y}")]
    found = {}
    for name, path in coins.items():
        said = answer(capsys, "segment", path, *prompts, "-o", tmp_path / f"{name}.tif")
        assert [one["id"] for one in said["objects"]] == [1, 2]
        assert said["labels"] == str(tmp_path / f"{name}.tif")
        found[name] = tifffile.imread(tmp_path / f"{name}.tif")
    for other in found.values():
        np.testing.assert_array_equal(other, found["png"])
    for number, (x, y) in enumerate(COINS.values(), 1):
        assert found["png"][y, x] == number


def test_labels_get_the_axes_of_the_image(
    coins: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = coins["zarr"] / "labels" / "coins"
    run(capsys, "segment", coins["zarr"], "--point", "154,127", "-o", inside)
    written = open_labels(inside)
    assert written.axes == open_image(coins["zarr"]).axes
    assert np.asarray(written.array)[127, 154] == 1
    assert written.properties[0]["score"] > 0.5
    listed: Any = zarr.open_group(coins["zarr"] / "labels", mode="r").attrs["ome"]
    assert listed["labels"] == ["coins"]
    out, err = run(capsys, "segment", coins["zarr"], "--point", "1,1", "-o", inside, code=2)
    assert (out, "exists already" in err) == ("", True)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_prompts_of_a_table_keep_their_ids(
    coins: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    table = tmp_path / f"prompts.{kind}"
    rows = pd.DataFrame([{"object": n, "x": x, "y": y} for n, (x, y) in COINS.items()])
    if kind == "csv":
        rows.to_csv(table, index=False)
    else:
        table.write_text(rows.to_json(orient="records"))
    objects = tmp_path / "objects.csv"
    argv = ["segment", coins["png"], "--prompts", table, "-o", tmp_path / "l.tif"]
    run(capsys, *argv, "--table", objects)
    written = tifffile.imread(tmp_path / "l.tif")
    for number, (x, y) in COINS.items():
        assert written[y, x] == number
    read = pd.read_csv(objects)
    assert dict(zip(read["id"], read["area"], strict=True)) == {
        number: np.count_nonzero(written == number) for number in COINS
    }
    _, err = run(capsys, *argv, "--overwrite", "--point", "3,3", code=2)
    assert "cannot be combined with --point" in err


def test_prompts_of_many_planes_are_for_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "stack.npy", np.stack([skimage.data.coins()] * 2))
    (tmp_path / "p.csv").write_text("plane,object,x,y\n0,1,154,127\n1,5,336,125\n")
    argv = ["segment", tmp_path / "stack.npy", "--prompts", tmp_path / "p.csv", "-o"]
    _, err = run(capsys, *argv, tmp_path / "l.tif", code=2)
    assert "prompts on 2 planes" in err
    assert "batch" in err
    run(capsys, *argv, tmp_path / "l.tif", "--plane", "1")
    written = tifffile.imread(tmp_path / "l.tif")
    assert (written[0].any(), written[1, 125, 336]) == (False, 5)
    _, err = run(capsys, *argv, tmp_path / "m.tif", "--plane", "7", code=2)
    assert "prompts on 0 planes like (7,)" in err


def test_objects_that_are_not_found_end_with_1(
    coins: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The second object wants what the first one has.
    twice = ["--box", "130,106,178,149", "--box", "130,106,178,149"]
    argv = ["segment", coins["png"], *twice, "-o", tmp_path / "l.tif"]
    said = answer(capsys, *argv, code=1)
    assert [one["id"] for one in said["objects"]] == [1]
    assert said["failed"][0]["object"] == "box 130,106,178,149"
    assert tifffile.imread(tmp_path / "l.tif")[127, 154] == 1


# ------------------------------------------------------------------ export


def test_export(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "export", labels, "-o", tmp_path / "rois.zip")
    assert out == f"imagej-roi: {tmp_path / 'rois.zip'}\n"
    rois = roifile.roiread(tmp_path / "rois.zip")
    assert isinstance(rois, list)
    assert {roi.name: roi.position for roi in rois} == {"0003-0000-nucleus": 1, "0012-0002": 3}

    said = answer(capsys, "export", labels, "-o", tmp_path / "t", "--format", "csv")
    assert said == {"output": str(tmp_path / "t"), "format": "csv", "from": "label-image"}
    table = pd.read_csv(tmp_path / "t")
    assert table["area_physical"].tolist() == [360 / 4, 15 / 4]
    assert table["score"].fillna(0).tolist() == [0.5, 0]

    (tmp_path / "known.csv").write_text("id,plane,class\n12,2,cell\n")
    argv = ["export", labels, "-o", tmp_path / "l.geojson", "--table", tmp_path / "known.csv"]
    run(capsys, *argv, "--object-type", "detection")
    features = json.loads((tmp_path / "l.geojson").read_text())["features"]
    kinds = [f["properties"].get("classification", {}).get("name") for f in features]
    assert kinds == [None, "cell"]
    assert {f["properties"]["objectType"] for f in features} == {"detection"}

    run(capsys, "export", labels, "-o", tmp_path / "l.tif")
    run(capsys, "export", tmp_path / "l.tif", "-o", tmp_path / "2.zarr", "--ome-version", "0.4")
    np.testing.assert_array_equal(
        np.asarray(open_labels(tmp_path / "2.zarr").array), np.asarray(open_labels(labels).array)
    )
    assert open_labels(tmp_path / "2.zarr").axes == AXES


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-o", "l.bmp"], "has an unknown extension"),
        (["-o", "l.zip", "--ome-version", "0.4"], "Expected it with ome-zarr only"),
        (["-o", "l.zip", "--table", "nothing.csv"], "'nothing.csv' is not a table of objects"),
        (["-o", "l.zip", "--format", "bmp"], "invalid choice"),
        (["-o", "there.zip"], "exists already"),
        (["-o", "there.zip/l.zip"], "cannot be written to"),
    ],
)
def test_export_refuses(
    labels: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.zip").write_text("mine")
    _, err = run(capsys, "export", labels, *options, code=2)
    assert complaint in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.zarr", "there.zip"]


def test_export_from_another_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Outlines without a size, in the pixels of an image with a scale."""
    axes = ImageAxes.of("yx", units=("um", "um"), scale=(0.5, 0.25))
    image = np.zeros((20, 30), np.uint16)
    export_labels(image, tmp_path / "cells.ome.tif", axes=axes)
    corners = [[2, 3], [9, 3], [9, 8], [2, 8], [2, 3]]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    (tmp_path / "l.geojson").write_text(json.dumps(geometry))
    image[3:8, 2:9] = 1
    argv = ["export", tmp_path / "l.geojson", "-o", tmp_path / "l.ome.tif"]
    _, err = run(capsys, *argv, code=2)
    assert "does not state the size of its image" in err
    assert "(--image)" in err
    said = answer(capsys, *argv, "--image", tmp_path / "cells.ome.tif")
    assert said["from"] == "geojson"
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "l.ome.tif"), image)
    assert open_image(tmp_path / "l.ome.tif").axes == axes
    run(capsys, *argv, "--shape", 10, 12, "--overwrite")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "l.ome.tif"), image[:10, :12])
    out = tmp_path / "set.yolo"
    run(capsys, "export", tmp_path / "l.ome.tif", "-o", out, "--image", tmp_path / "cells.ome.tif",
        code=2)  # fmt: skip
    run(capsys, *argv[:2], "-o", out, "--image", tmp_path / "cells.ome.tif")
    assert (out / "labels" / "cells.ome.txt").read_text().startswith("0 ")
    _, err = run(capsys, *argv, "--overwrite", "--from", "coco", "--shape", 9, 9, code=2)
    assert "cannot be read as a COCO file" in err


def test_images_are_no_labels(
    coins: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "f.tif", np.full((9, 9), 0.5, np.float32))
    _, err = run(capsys, "export", tmp_path / "f.tif", "-o", tmp_path / "l.zip", code=2)
    assert "holds the number 0.5. Expected whole numbers up to 16777216" in err


# ------------------------------------------------------------------ info, models, doctor


def test_info_of_an_image(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(capsys, "info", labels)
    assert (said["kind"], said["shape"], said["dtype"]) == ("image", [3, 40, 50], "uint16")
    assert said["axes"][0] == {
        "name": "z", "length": 3, "scale": 2.0, "start": 0.0, "unit": "micrometer"
    }  # fmt: skip
    assert said["levels"] == [{"shape": [3, 40, 50], "chunks": [1, 40, 50]}]
    out, _ = run(capsys, "info", labels)
    assert "axes:        name z, length 3, scale 2, start 0, unit micrometer\n" in out


def test_info_of_weights_and_of_stores(
    coins: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = answer(capsys, "info", "tiny")
    assert (weights["kind"], weights["model"]) == ("weights", "tiny")
    store = tmp_path / "coins.store"
    filled = answer(capsys, "precompute", coins["png"], "-o", store, "--level", 0, "--yes")
    said = answer(capsys, "info", store)
    assert (said["kind"], said["fields"]) == ("embedding store", filled["fields"])
    (model,) = said["models"]
    assert model["fingerprint"] == weights["fingerprint"]
    _, err = run(capsys, "info", tmp_path / "nothing", code=2)
    assert "does not exist" in err


def test_models_are_listed_and_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny, *_) = answer(capsys, "models", "list")["models"]
    file = embedded_weights()
    assert (tiny["name"], tiny["bytes"]) == ("tiny", file.stat().st_size)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    said = answer(capsys, "models", "verify", "tiny", "--sha256", digest.upper())
    assert (said["sha256"], said["checksum"]) == (digest, "as expected")
    out, _ = run(capsys, "models", "verify", file)
    assert out.endswith("every tensor of the model is present\n")

    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-1000])
    _, err = run(capsys, "models", "verify", broken, code=2)
    assert "truncated" in err
    _, err = run(capsys, "models", "verify", broken, "--sha256", digest, code=2)
    assert f"Expected {digest}" in err
    _, err = run(capsys, "models", "verify", tmp_path / "none.pt", code=2)
    assert "weights file does not exist" in err


def test_nothing_is_downloaded_without_consent(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["models", "download", "--endpoint", hub.url, "--cache", tmp_path]
    _, err = run(capsys, *argv, code=2)
    assert "Meta's SAM License" in err
    assert "Add --yes to agree" in err
    assert hub.ranges == []
    said = answer(capsys, *argv, "--yes")
    assert Path(said["path"]).read_bytes() == hub.content


def test_refused_downloads_say_what_else_there_is(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.status, hub.error_code = 401, "GatedRepo"
    argv = ["models", "download", "--endpoint", hub.url, "--cache", tmp_path, "--yes"]
    _, err = run(capsys, *argv, code=2)
    assert "gated" in err
    assert '--model "tiny"' in err


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    said = answer(capsys, "doctor", "--device", "cpu")
    assert said["passed"]
    assert said["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert said["self-test"]["ran on"] == "cpu"
    out, _ = run(capsys, "doctor", "--device", "abacus", code=1)
    assert "the device does not exist: 'abacus'" in out
    assert out.endswith("something does not work: see above\n")


def test_the_self_test_finds_a_device_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = run_self_test("cpu")
    assert good.passed
    assert good.iou > 0.9
    from sam3.predictor import Predictor

    predict = Predictor.predict

    def shifted(self: Predictor, features: Any, points: Any, *rest: Any, **options: Any) -> Any:
        return predict(self, features, [(x - 60, y) for x, y in points], *rest, **options)

    monkeypatch.setattr(Predictor, "predict", shifted)
    assert not run_self_test("cpu").passed


def test_the_command_line_starts_without_torch_and_napari() -> None:
    code = (
        "import sys; from napari_sam3.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "slow = {'torch', 'napari', 'qtpy', 'skimage', 'zarr', 'tifffile'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
