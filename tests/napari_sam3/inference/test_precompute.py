"""Encoding ahead: said before, interrupted, gone on with, and found again by a click."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import zarr

from napari_sam3.cli.main import main
from napari_sam3.core.fields import choose_field
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.contrast import ImageContrast
from napari_sam3.images.lazy import open_image
from napari_sam3.images.open import plane_of
from napari_sam3.images.plane_image import Channel, RenderedPlane
from napari_sam3.images.reading import is_in_memory
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.precompute import all_planes, fill, measure, plan_fields
from napari_sam3.inference.store.store import EmbeddingStore
from sam3.errors import ImageError
from sam3.predictor import Predictor


@pytest.fixture
def stack() -> npt.NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4000, (2, 70, 130), dtype=np.uint16)


@pytest.fixture
def tiff(tmp_path: Path, stack: npt.NDArray[np.uint16]) -> Path:
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    return tmp_path / "stack.tif"


def ome_zarr(path: Path, *levels: npt.NDArray[Any], version: Any = 3) -> Path:
    group = zarr.create_group(path, zarr_format=version)
    for number, level in enumerate(levels):
        group.create_array(str(number), data=level, chunks=(1, 64, 64))
    scales = [{"axes": [], "datasets": [{"path": str(n)} for n in range(len(levels))]}]
    group.attrs.update(
        {"ome": {"multiscales": scales}} if version == 3 else {"multiscales": scales}
    )
    return path


class Noting:
    cancelled = abandoned = encoded = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        self.encoded |= fraction is not None


def first_click_encodes(plane: PlaneImage, store: EmbeddingStore, predictor: Predictor) -> bool:
    """Read the field of a click as the viewer does, and tell whether it had to be encoded."""
    field = choose_field(plane.shape, PromptSet(((65.0, 35.0),), (1,)), predictor.config)
    noting = Noting()
    EmbeddingCache(store=store).encode_field(field, plane, predictor, noting)
    return noting.encoded


def test_a_click_on_a_plane_encoded_ahead_is_answered_from_the_store(
    tmp_path: Path, tiff: Path, stack: npt.NDArray[np.uint16], predictor: Predictor
) -> None:
    image, store = open_image(tiff), EmbeddingStore(tmp_path / "store")
    plan = plan_fields(image, all_planes(image), predictor.config)
    steps = list(fill(plan, predictor, store))
    assert (steps[-1].done, steps[-1].total, steps[-1].skipped) == (plan.fields,) * 2 + (0,)
    # Level -1 of 112 px: spans of 56 px, every 28 px, over 70 x 130 px.
    assert plan.fields == 2 * (2 * 4) == store.info().fields
    assert len(store.info().renderings) == 1, "planes of an image share their contrast"
    contrast = ImageContrast(stack)
    for number in range(2):
        plane = PlaneIndex((1, 2), (number,))
        in_memory = RenderedPlane(Channel(stack, plane, contrast=contrast))
        assert not first_click_encodes(in_memory, store, predictor)
    other = RenderedPlane(Channel(stack[0], PlaneIndex(), contrast=(0.0, 100.0)))
    assert first_click_encodes(other, store, predictor)


def test_it_can_be_stopped_and_gone_on_with(
    tmp_path: Path, tiff: Path, predictor: Predictor
) -> None:
    image, store = open_image(tiff), EmbeddingStore(tmp_path / "store")
    plan = plan_fields(image, all_planes(image), predictor.config)
    measured = measure(plan, predictor)
    assert measured.seconds > 0
    first = list(islice(fill(plan, predictor, store, measured), 5))
    assert [step.done for step in first] == [1, 2, 3, 4, 5]
    assert all(step.seconds_left for step in first)
    assert store.info().fields == 5
    assert measured.nbytes == pytest.approx(store.info().nbytes / 5, rel=0.1)
    rest = list(fill(plan, predictor, store))
    assert (rest[-1].done, rest[-1].skipped) == (plan.fields, 5)


def test_a_region_takes_the_fields_that_clicks_in_it_take(predictor: Predictor) -> None:
    from napari_sam3.images.lazy import LazyImage

    image = LazyImage(np.zeros((900, 700), np.uint8))
    region = (120, 300, 260, 411)
    plan = plan_fields(image, all_planes(image), predictor.config, region=region, level=0)
    wanted = {
        choose_field((900, 700), PromptSet(((float(x), float(y)),), (1,)), predictor.config, 0)
        for y in range(120, 260, 3)
        for x in range(300, 411, 3)
    }
    assert set(plan.grid) == wanted
    whole = plan_fields(image, all_planes(image), predictor.config, level=9)
    assert [field.shape for field in whole.grid] == [(900, 700)]
    for wrong in ((0, 0, 901, 10), (5, 5, 5, 9), (-1, 0, 4, 4)):
        with pytest.raises(ImageError, match="is outside the plane"):
            plan_fields(image, all_planes(image), predictor.config, region=wrong)
    with pytest.raises(ImageError, match="level -3 does not exist"):
        plan_fields(image, all_planes(image), predictor.config, level=-3)


def test_a_whole_slide_is_planned_without_making_its_fields(predictor: Predictor) -> None:
    from napari_sam3.images.lazy import LazyImage

    slide = zarr.zeros((1_000_000, 1_000_000), chunks=(4096, 4096), dtype=np.uint8)
    plan = plan_fields(LazyImage(slide), [PlaneIndex()], predictor.config)
    assert plan.fields > 10**9 / 2


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_is_opened_as_a_pyramid(
    tmp_path: Path, stack: npt.NDArray[np.uint16], version: int
) -> None:
    path = ome_zarr(tmp_path / "image.zarr", stack, stack[:, ::2, ::2], version=version)
    image = open_image(path)
    assert (image.shape, image.multiscale, len(image.data)) == ((2, 70, 130), True, 2)
    assert open_image(path / "1").shape == (2, 35, 65)
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(ImageError, match="group of 0 arrays without OME metadata"):
        open_image(tmp_path / "other.zarr")
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "nowhere"):
        with pytest.raises(ImageError, match=nothing):
            open_image(tmp_path / nothing)


def test_tiffs_are_opened_without_reading_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "packed": {"compression": "zlib", "tile": (64, 64)},
        "planar": {"planarconfig": "separate"},
    }
    for name, options in kinds.items():
        path = tmp_path / f"{name}.tif"
        data = np.moveaxis(values, -1, 0) if name == "planar" else values
        tifffile.imwrite(path, data, photometric="rgb", **options)
        image = open_image(path)
        assert (image.shape, image.rgb) == ((300, 400), True)
        assert is_in_memory(image.data) == (name == "planar"), "its axes had to be moved"
        plane = RenderedPlane(image.channel(plane_of(image)))
        np.testing.assert_array_equal(plane.region(slice(9, 60), slice(0, 99)), values[9:60, :99])
        image.close()
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(values, subifds=1, tile=(64, 64), photometric="rgb")
        file.write(values[::2, ::2], subfiletype=1, tile=(64, 64), photometric="rgb")
    image = open_image(tmp_path / "pyramid.tif")
    assert (image.multiscale, image.rgb, len(image.data)) == (True, True, 2)
    image.close()


def test_the_command_says_what_it_takes_and_goes_on_where_it_stopped(
    tmp_path: Path, tiff: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "store"
    command = ["precompute", str(tiff), "-o", str(output), "--level", "0"]
    assert main([*command, "--all-planes", "--dry-run"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("2 fields at level -1, planes: 2, about ")
    assert "GB" in out
    assert not output.exists()
    assert main([*command, "--plane", "1", "--yes"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("(1 fields, 0 already there)\n")
    assert err.splitlines()[-1].startswith("1 of 1 fields")
    assert main([*command, "--all-planes", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("(2 fields, 1 already there)\n")


def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, tiff: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["precompute", str(tiff), "-o", str(tmp_path / "store")]
    wrong = {
        "has several planes": [],
        "Add --yes": ["--plane", "0", "--level", "0"],
        "four whole numbers": ["--plane", "0", "--region", "1,2"],
        "two increasing numbers": ["--plane", "0", "--contrast", "5,2"],
        "outside the image": ["--plane", "7"],
    }
    for message, options in wrong.items():
        try:
            code = main([*command, *options])
        except SystemExit as stop:
            code = int(stop.code or 0)
        assert code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_ctrl_c_ends_the_command_with_a_store_to_go_on_with(tmp_path: Path, tiff: Path) -> None:
    output = tmp_path / "store"
    # Where the tests run in the background of a shell, their children ignore the signal.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from napari_sam3.cli.main import main; sys.exit(main(sys.argv[1:]))"
    program = [sys.executable, "-c", code, "precompute", str(tiff), "-o", str(output)]
    values = np.random.default_rng(0).integers(0, 4000, (1500, 1500), dtype=np.uint16)
    tifffile.imwrite(tiff, values)
    running = subprocess.Popen(
        [*program, "--yes"], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("[0-9a-f]" * 32 + ".safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command resumes it" in err
    store = EmbeddingStore(output)
    assert all(store.get(about.key) is not None for about in store.stored())
    assert not list(output.glob(".*.partial"))
