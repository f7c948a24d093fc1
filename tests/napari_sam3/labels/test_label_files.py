"""Labels and images as their files store them: palettes, alpha, samples and axes."""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import xarray
import zarr
from PIL import Image

from napari_sam3.batch import Automatic, BatchError, segment
from napari_sam3.batch.sources import ImageSource
from napari_sam3.cli.main import main
from napari_sam3.images.lazy import LazyImage, open_image
from napari_sam3.images.open import read_image
from sam3.errors import ImageError
from tests.napari_sam3.batch_samples import ANYTHING, small_predictor

LABELS = np.zeros((6, 8), np.uint8)
LABELS[1:3, 1:3], LABELS[4:, 5:], LABELS[0, 7] = 1, 2, 3
STACK = np.stack([LABELS * (one == LABELS) for one in (1, 2, 3)])
PIXELS = STACK.transpose(1, 2, 0)
IDS = [1, 2, 3]
RANDOM = np.random.default_rng(0).integers(0, 1 << 16, (3, 1 << 16)).astype(np.uint16)
ALPHA = np.dstack([LABELS, np.full_like(LABELS, 255)])


def palette(mode: str = "P") -> Image.Image:
    image = Image.fromarray(LABELS).convert("L")
    image.putpalette([at * step % 256 for at in range(256) for step in (7, 13, 128)])
    return image if mode == "P" else image.convert(mode)


def grey_bits(path: Path, bits: int) -> None:
    """Write a grey PNG of 2 or 4 bits, as ImageMagick does where ids are few."""
    import struct
    import zlib

    padded = np.pad(LABELS, ((0, 0), (0, -LABELS.shape[1] % (8 // bits))))
    rows = b""
    for row in padded:
        digits = "".join(f"{value:0{bits}b}" for value in row)
        rows += b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
    head = struct.pack(">IIBBBBB", LABELS.shape[1], LABELS.shape[0], bits, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
    )


def tiff(data: npt.NDArray[Any], **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that another version will choose otherwise
            tifffile.imwrite(path, data, **options)

    return write


#: Name, how it is written, and the ids of the objects of each plane; None if it is refused.
FILES: list[tuple[str, Callable[[Path], Any], list[int] | None]] = [
    ("palette.png", palette().save, IDS),
    ("palette-2-bits.png", lambda path: palette().save(path, bits=2), IDS),
    ("palette.gif", palette().save, IDS),
    ("palette.bmp", palette().save, IDS),
    ("palette.tif", palette().save, IDS),
    ("palette-alpha.tif", palette("PA").save, IDS),
    ("palette-16.tif", tiff(LABELS.astype("u2"), photometric="palette", colormap=RANDOM), IDS),
    ("grey.png", Image.fromarray(LABELS).save, IDS),
    ("grey-2-bits.png", lambda path: grey_bits(path, 2), IDS),
    ("grey-4-bits.png", lambda path: grey_bits(path, 4), IDS),
    ("grey-16.png", Image.fromarray(LABELS.astype("u2") * 300).save, [300, 600, 900]),
    ("mask.png", Image.fromarray(LABELS > 0).save, [1]),
    ("alpha.png", Image.fromarray(ALPHA, "LA").save, IDS),
    ("alpha.tif", Image.fromarray(ALPHA, "LA").save, IDS),
    ("colour.png", palette("RGB").save, None),
    ("colour-alpha.png", palette("RGBA").save, None),
    ("colour.tif", palette("RGB").save, None),
    ("written-as-colour.tif", tiff(STACK), None),
    ("written-as-colour-32.tif", tiff(STACK.astype(np.int32)), None),
    ("samples.tif", tiff(PIXELS, photometric="minisblack", planarconfig="contig"), None),
    ("two.tif", tiff(ALPHA, photometric="minisblack", planarconfig="contig"), None),
    ("s.ome.tif", tiff(PIXELS, photometric="rgb", metadata={"axes": "YXS"}), None),
    ("stack.tif", tiff(STACK, photometric="minisblack"), IDS),
    ("last.tif", tiff(PIXELS, photometric="minisblack", metadata={"axes": "YXC"}), IDS),
    ("hyper.tif", tiff(STACK[None, :, None], imagej=True, metadata={"axes": "TZCYX"}), IDS),
    ("array.npy", lambda path: np.save(path, PIXELS), None),
]  # fmt: skip
PLANES_OF = {"colour.png", "colour-alpha.png", "colour.tif", "two.tif", "array.npy"}


def exported(path: Path, *options: str) -> tuple[int, list[int]]:
    """Return the exit code of the command, and the ids of all regions."""
    output = path.with_suffix(".regions.csv")
    code = main(["export", str(path), "-o", str(output), *options])
    if not output.exists():
        return code, []
    with output.open() as file:
        return code, [int(row["id"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("name", "write", "ids"), FILES, ids=[one[0] for one in FILES])
def test_labels_are_the_numbers_that_a_file_stores(
    name: str,
    write: Callable[[Path], Any],
    ids: list[int] | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / name)
    code, found = exported(tmp_path / name)
    if ids is not None:
        assert (code, found) == (0, ids)
        return
    assert (code, found) == (2, [])
    assert "--no-rgb" in capsys.readouterr().err
    if name not in PLANES_OF:
        assert exported(tmp_path / name, "--no-rgb") == (0, IDS), "samples are planes"


@pytest.mark.parametrize(
    ("name", "write", "shape", "rgb"),
    [
        ("planar.tif", tiff(STACK, photometric="rgb"), (6, 8), True),
        ("stack.tif", tiff(STACK, photometric="minisblack"), (3, 6, 8), False),
        ("planar-stack.tif", tiff(np.stack([STACK] * 5), photometric="rgb"), (5, 6, 8), True),
        ("zs.ome.tif", tiff(np.stack([STACK] * 5), photometric="rgb",
                            metadata={"axes": "ZSYX"}), (5, 6, 8), True),
        ("s.ome.tif", tiff(PIXELS, photometric="rgb", metadata={"axes": "YXS"}), (6, 8), True),
        ("samples.tif", tiff(PIXELS, photometric="minisblack", planarconfig="contig"),
         (3, 6, 8), False),
        ("five.tif", tiff(np.dstack([PIXELS, ALPHA]), photometric="minisblack",
                          planarconfig="contig"), (5, 6, 8), False),
        ("alpha.tif", tiff(ALPHA, photometric="minisblack", planarconfig="contig",
                           extrasamples=["unassalpha"]), (6, 8), False),
        ("last.tif", tiff(PIXELS, photometric="minisblack", metadata={"axes": "YXC"}),
         (3, 6, 8), False),
        ("turned.tif", tiff(LABELS.T, photometric="minisblack", metadata={"axes": "XY"}),
         (6, 8), False),
        ("rgb.tif", tiff(np.stack([PIXELS] * 4), imagej=True, metadata={"axes": "ZYXS"}),
         (4, 6, 8), True),
        ("alpha.png", Image.fromarray(ALPHA, "LA").save, (6, 8), False),
        ("palette.png", palette().save, (6, 8), True),
    ],
)  # fmt: skip
def test_images_have_the_axes_and_samples_of_their_file(
    name: str, write: Callable[[Path], Any], shape: tuple[int, ...], rgb: bool, tmp_path: Path
) -> None:
    write(tmp_path / name)
    for read in (read_image, open_image):
        image: Any = read(tmp_path / name)
        assert (image.shape, image.rgb) == (shape, rgb)
        assert image.axes.ndim == len(shape)
        pixels = np.asarray(image.data)
        first = pixels[..., 0] if rgb else pixels
        if shape == (6, 8) and "palette" not in name:
            np.testing.assert_array_equal(first, STACK[0] if rgb else LABELS)
        elif not rgb:
            np.testing.assert_array_equal(first[:3], STACK)
    if rgb and name.endswith("tif"):
        planes = open_image(tmp_path / name, rgb=False)
        np.testing.assert_array_equal(planes.data[..., :, :, :].reshape(-1, 6, 8)[:3], STACK)
        assert planes.axes.names[-3:] == ("c", "y", "x")


def arrays(shape: tuple[int, ...]) -> list[Any]:
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return [pixels, dask.array.from_array(pixels), zarr.array(pixels), xarray.DataArray(pixels)]


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_an_array_that_may_be_in_colour_is_refused_with_both_ways_named(last: int) -> None:
    for array in arrays((50, 40, last)):
        with pytest.raises(ImageError, match=r"shape \(50, 40, .*rgb=False \(--no-rgb\)") as told:
            next(segment(array, Automatic(ANYTHING)))
        assert ("rgb=True (--rgb)" in str(told.value)) == (last > 2)
        assert ImageSource.of(array, False).open().shape == (50, 40, last)
        if last > 2:
            opened = ImageSource.of(array, True).open()
            assert (opened.rgb, opened.shape) == (True, (50, 40))
    for array in arrays((last, 50, 40)):
        assert ImageSource.of(array).open().shape == (last, 50, 40)
        with pytest.raises(ImageError, match="not a colour image"):
            ImageSource.of(array, True)


def test_names_of_axes_say_whether_an_array_is_in_colour(tmp_path: Path) -> None:
    for names, rgb in ((("y", "x", "c"), True), (("z", "y", "x"), False)):
        data = xarray.DataArray(np.zeros((50, 40, 3), np.uint8), dims=names)
        assert ImageSource.of(data).open().rgb == rgb
        path = tmp_path / f"{rgb}.zarr"
        zarr.create_array(path, data=np.zeros((50, 40, 3), np.uint8), dimension_names=names)
        image = open_image(path)
        assert (image.rgb, image.axes.names) == (rgb, names[:2] if rgb else names)


def test_an_array_in_colour_is_segmented_as_one_plane() -> None:
    colour = np.random.default_rng(0).integers(0, 255, (50, 40, 3), np.uint8)
    predictor = small_predictor()
    (told,) = segment(colour, Automatic(ANYTHING), predictor, rgb=True)
    (expected,) = segment(LazyImage(colour, rgb=True), Automatic(ANYTHING), predictor)
    assert told.labels.shape == (50, 40)
    np.testing.assert_array_equal(told.labels, expected.labels)
    with pytest.raises(BatchError, match="rgb=False does not fit"):
        next(segment(LazyImage(colour, rgb=True), Automatic(ANYTHING), predictor, rgb=False))


@pytest.mark.parametrize("command", ["segment", "batch", "precompute", "info"])
def test_commands_ask_whether_an_array_is_in_colour(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "i.npy", np.zeros((50, 40, 3), np.uint8))
    options = {
        "segment": ["--point", "5,5", "-o", str(tmp_path / "o.tif")],
        "batch": ["--mode", "automatic", "-o", str(tmp_path / "o.zarr")],
        "precompute": ["--dry-run", "-o", str(tmp_path / "o.store")],
        "info": [],
    }[command]
    path = str(tmp_path / "i.npy")
    assert main([command, path, *options]) == 2
    told = capsys.readouterr().err
    assert "--rgb" in told
    assert "--no-rgb" in told
    if command == "info":
        for option, shape in (("--rgb", "50 x 40"), ("--no-rgb", "50 x 40 x 3")):
            assert main([command, path, option]) == 0
            assert f"shape:       {shape}\n" in capsys.readouterr().out


def test_what_is_wrong_with_an_export_is_told_and_not_that_space_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "large.npy", np.full((6, 8), 1 << 40))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name, reason in (("o.tif", "do not fit a label TIFF"), ("o.parquet", "pyarrow")):
        assert main(["export", str(tmp_path / "large.npy"), "-o", str(tmp_path / name)]) == 2
        told = capsys.readouterr().err
        assert reason in told
        assert "Free some space" not in told
        assert not (tmp_path / name).exists()
