"""TIFFs of several images: page by page, appended, unequal, cut short, damaged, lossy."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from napari_sam3.cli.main import main
from napari_sam3.images.lazy import open_image
from napari_sam3.images.open import read_image
from napari_sam3.labels.formats.choice import export_labels
from napari_sam3.labels.formats.label_files import open_label_file
from napari_sam3.labels.formats.lossy import is_lossy
from sam3.errors import ImageError

LABELS = np.zeros((6, 8), np.uint8)
LABELS[1:3, 1:3], LABELS[4:, 5:], LABELS[0, 7] = 1, 2, 3
STACK = np.stack([LABELS * (one == LABELS) for one in (1, 2, 3)])
COLOURS = np.zeros((3, 256), np.uint16)
COLOUR = np.full((6, 8, 3), 50, np.uint8)


def regions(path: str | Path) -> tuple[int, list[tuple[str, int]]]:
    """Return the exit code of the command, and the plane and id of each region."""
    output = Path(path).parent / "regions.csv"
    if not output.parent.is_dir():
        output = output.parent.with_name("regions.csv")
    output.unlink(missing_ok=True)
    code = main(["export", str(path), "-o", str(output)])
    if not output.exists():
        return code, []
    with output.open() as file:
        return code, [(row["plane"], int(row["id"])) for row in csv.DictReader(file)]


def page_by_page(path: Path, *pages: npt.NDArray[Any], **options: Any) -> None:
    with tifffile.TiffWriter(path, bigtiff=bool(options.pop("big", False))) as file:
        for page in pages:
            file.write(page, **{"photometric": "minisblack", "contiguous": False, **options})


def appended(path: Path, *pages: npt.NDArray[Any], **options: Any) -> None:
    for number, page in enumerate(pages):
        tifffile.imwrite(path, page, append=number > 0, photometric="minisblack", **options)


def pyramids(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        for page in STACK:
            file.write(page, subifds=1, photometric="minisblack", contiguous=False)
            file.write(page[::2, ::2], subfiletype=1, photometric="minisblack")


def by_pillow(path: Path, **options: Any) -> None:
    first, *others = (Image.fromarray(page) for page in STACK)
    first.save(path, save_all=True, append_images=others, **options)


STACKS: dict[str, Callable[[Path], Any]] = {
    "contiguous=False": lambda path: page_by_page(path, *STACK),
    "compressed": lambda path: page_by_page(path, *STACK, compression="zlib"),
    "tiled": lambda path: page_by_page(path, *STACK, tile=(16, 16)),
    "BigTIFF": lambda path: page_by_page(path, *STACK, big=True),
    "big-endian": lambda path: tifffile.imwrite(path, STACK.astype(">u2"), byteorder=">",
                                                photometric="minisblack"),
    "no metadata": lambda path: page_by_page(path, *STACK, metadata=None),
    "append": lambda path: appended(path, *STACK),
    "palettes": lambda path: page_by_page(path, *STACK, photometric="palette", colormap=COLOURS),
    "OME images": lambda path: page_by_page(path.with_suffix(".ome.tif"), *STACK),
    "pillow": by_pillow,
    "pillow, LZW": lambda path: by_pillow(path, compression="tiff_lzw"),
    "pyramids": pyramids,
}  # fmt: skip


@pytest.mark.parametrize("kind", STACKS)
def test_equal_pages_are_one_stack(kind: str, tmp_path: Path) -> None:
    STACKS[kind](tmp_path / "l.tif")
    (path,) = tmp_path.iterdir()
    assert regions(path) == (0, [("0", 1), ("1", 2), ("2", 3)])
    image = open_image(path)
    np.testing.assert_array_equal(np.asarray(image.data), STACK)
    np.testing.assert_array_equal(read_image(path).data, STACK)
    image.close()


def test_equal_stacks_and_colours_are_stacked_too(tmp_path: Path) -> None:
    appended(tmp_path / "s.tif", STACK, STACK * 2)
    code, found = regions(tmp_path / "s.tif")
    assert (code, found[:4]) == (0, [("0 0", 1), ("0 1", 2), ("0 2", 3), ("1 0", 2)])
    page_by_page(tmp_path / "c.tif", COLOUR, COLOUR * 2, photometric="rgb")
    image = open_image(tmp_path / "c.tif")
    assert (image.shape, image.rgb) == ((2, 6, 8), True)
    # The command that a user runs next: a plane of the stack, instead of the first page.
    page_by_page(tmp_path / "i.tif", *(np.kron(STACK, np.ones((4, 4), np.uint8)) * 50))
    options = ["--plane", "1", "--point", "25,18", "-o", str(tmp_path / "o.tif")]
    assert main(["segment", str(tmp_path / "i.tif"), *options]) == 0
    assert tifffile.imread(tmp_path / "o.tif")[:, 18, 25].tolist() == [0, 1, 0]


def grey_and_colour(path: Path) -> None:
    tifffile.imwrite(path, LABELS, photometric="minisblack")
    tifffile.imwrite(path, COLOUR, photometric="rgb", append=True)


UNEQUAL: dict[str, Callable[[Path], Any]] = {
    "grey and colour": grey_and_colour,
    "sizes": lambda path: page_by_page(path, LABELS, LABELS[:4]),
    "types": lambda path: page_by_page(path, LABELS, LABELS.astype("u2")),
    "in turn": lambda path: page_by_page(path, LABELS, LABELS[:4], LABELS, metadata=None),
}


@pytest.mark.parametrize("kind", UNEQUAL)
def test_unequal_pages_are_refused_and_can_be_chosen(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "l.tif"
    UNEQUAL[kind](path)
    assert regions(path) == (2, [])
    told = capsys.readouterr().err
    assert "images that differ: uint8 YX 6 x 8" in told or "uint8 IYX 2 x 6 x 8" in told
    assert f"{str(path) + '/0'!r}, {str(path) + '/1'!r}" in told
    code, found = regions(f"{path}/0")
    assert (code, {one for _, one in found}) == (0, {1, 2, 3})
    for number, reason in (("1", "colours" if "colour" in kind else ""), ("7", "no image 7")):
        code, found = regions(f"{path}/{number}")
        assert code == (2 if reason else 0)
        assert reason.partition(" ")[0] in capsys.readouterr().err
    for read in (open_image, read_image):
        with pytest.raises(ImageError, match="differ"):
            read(path)
        assert read(f"{path}/0").shape[-2:] == (6, 8)


def test_levels_masks_and_thumbnails_are_no_planes(tmp_path: Path) -> None:
    path = tmp_path / "l.tif"
    with tifffile.TiffWriter(path) as file:
        for page, kind in ((LABELS, 0), (LABELS[::2, ::2], 1), (LABELS > 0, 4)):
            file.write(page, subfiletype=kind, photometric="minisblack", metadata=None)
    assert regions(path) == (0, [("", 1), ("", 2), ("", 3)])


@pytest.mark.parametrize("kind", [*STACKS, "hyperstack", "one page for all", "single plane"])
def test_a_file_cut_short_is_refused_wherever_it_ends(kind: str, tmp_path: Path) -> None:
    if kind in STACKS:
        STACKS[kind](tmp_path / "l.tif")
    else:
        options: dict[str, Any] = {"photometric": "minisblack"}
        if kind == "hyperstack":
            options = {"imagej": True, "metadata": {"axes": "ZYX"}}
        if kind == "one page for all":
            options |= {"metadata": {"axes": "ZYX"}, "truncate": True}
        pixels = np.tile(STACK, (20, 3, 3)) if kind != "single plane" else np.tile(LABELS, (9, 9))
        tifffile.imwrite(tmp_path / "l.tif", pixels, **options)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        pages: Any = file.series[-1]
        last = max(page.dataoffsets[-1] + page.databytecounts[-1] for page in pages)
    for share in (0.3, 0.5, 0.7, 0.9):
        path.write_bytes(whole[: int(min(last, len(whole)) * share)])
        for read in (open_image, read_image, open_label_file):
            with pytest.raises(ImageError, match=r"/l(\.ome)?\.tif"):
                read(path)


def test_damaged_pixels_name_the_file_the_plane_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "l.tif"
    noise = np.random.default_rng(0).integers(0, 9, (3, 60, 60)).astype(np.uint16)
    for compression in ("zlib", "lzw", "zstd"):
        tifffile.imwrite(path, noise, compression=compression, photometric="minisblack")
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            at = file.pages[1].dataoffsets[0]
        content[at : at + 200] = b"\xff" * 200
        path.write_bytes(content)
        for suffix in (".csv", ".tif", ".zarr", ".json"):
            argv = ["export", str(path), "-o", str(tmp_path / f"o{suffix}")]
            assert main(argv) == 2
            told = capsys.readouterr().err
            assert f"plane 1 of the labels {str(path)!r}" in told
            assert "damaged" in told
            assert not (tmp_path / f"o{suffix}").exists()
    argv = ["segment", str(path), "--plane", "1", "--point", "5,5", "-o", str(tmp_path / "o.tif")]
    assert main(argv) == 2
    assert str(path) in capsys.readouterr().err


WITHOUT = """
import sys
sys.modules["imagecodecs"] = None
from napari_sam3.cli.main import main
argv = {"export": ["-o"], "segment": ["--point", "5,5", "-o"]}
for file in sys.argv[1:]:
    for command, options in argv.items():
        assert main([command, file, *options, file + ".out.tif"]) == 2
"""


def test_without_imagecodecs_the_remedy_is_to_install_it(tmp_path: Path) -> None:
    files = []
    for compression in ("lzw", "zstd", "jpeg"):
        files.append(str(tmp_path / f"{compression}.tif"))
        tifffile.imwrite(files[-1], np.tile(LABELS, (9, 9)), compression=compression)
    done = subprocess.run([sys.executable, "-c", WITHOUT, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(told) == 6
    for line, file in zip(told, [one for one in files for _ in range(2)], strict=True):
        assert repr(file) in line
        assert "pip install imagecodecs" in line
        assert "connection" not in line


def encoded(path: Path, kind: str, **options: Any) -> Path:
    Image.fromarray(np.tile(LABELS * 60, (9, 9))).save(path, format=kind, **options)
    return path


def test_labels_that_were_compressed_with_loss_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.tile(LABELS * 60, (9, 9))
    lossy = [
        encoded(tmp_path / "l.jpg", "JPEG"),
        encoded(tmp_path / "l.JPE", "JPEG", progressive=True),
        encoded(tmp_path / "no suffix", "JPEG"),
        encoded(tmp_path / "l.png", "JPEG"),
        encoded(tmp_path / "l.webp", "WEBP"),
        encoded(tmp_path / "l.jp2", "JPEG2000", irreversible=True),
        tmp_path / "j.tif",
        tmp_path / "k.tif",
    ]
    tifffile.imwrite(lossy[-2], pixels, compression="jpeg")
    tifffile.imwrite(lossy[-1], pixels, compression="jpeg2000", compressionargs={"level": 30})
    for path in lossy:
        for options in ([], ["--no-rgb"]):
            argv = ["export", str(path), "-o", str(tmp_path / "o.csv"), *options]
            assert main(argv) == 2, path
            assert f"{str(path)!r} is not a label image: its compression" in capsys.readouterr().err
    for path in lossy[:4]:
        assert open_image(path).shape == pixels.shape, "an image may be lossy"
    exact = [encoded(tmp_path / "e.jp2", "JPEG2000"), tmp_path / "e.tif"]
    tifffile.imwrite(exact[-1], pixels, compression="jpeg2000")
    for path in exact:
        found = open_label_file(path)
        np.testing.assert_array_equal(np.asarray(found.data), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("tile", [None, (32, 48)])
@pytest.mark.parametrize(
    ("compression", "exact", "lossy"),
    [
        ("jpegxl", ({}, {"lossless": True}), ({"distance": 1}, {"level": 90}, {"distance": 0.01})),
        ("jpegxr", ({}, {"level": 100}), ({"level": 80}, {"level": 0.5})),
        (
            "lerc",
            ({}, {"compression": "zstd"}),
            ({"level": 2}, *({"level": 1, "compression": over} for over in ("deflate", "zstd"))),
        ),
        ("webp", ({"lossless": True},), ({"level": 80, "lossless": False},)),
    ],
)
def test_the_stream_tells_whether_a_tiff_is_exact(
    tmp_path: Path, compression: Any, exact: Any, lossy: Any, tile: Any, dtype: Any
) -> None:
    pixels, path, planes = np.tile(LABELS * 60, (9, 9)).astype(dtype), tmp_path / "l.tif", None
    if compression == "webp":  # it knows colours alone: planes that were written as such
        if dtype != np.uint8:
            return
        planes, pixels = pixels[None].repeat(3, 0), np.stack([pixels] * 3, -1)
    if compression == "jpegxr" and dtype == np.float32:
        return  # imagecodecs writes it in half the bits
    for options in (*exact, *lossy):
        tifffile.imwrite(path, pixels, tile=tile, compression=compression, compressionargs=options)
        if options in lossy:
            with pytest.raises(ImageError, match=r"its compression .* changes"):
                open_label_file(path, rgb=False)
            continue
        found = open_label_file(path, rgb=False)
        np.testing.assert_array_equal(found.data[:], pixels if planes is None else planes)
        found.close()


def test_a_stream_without_its_end_or_of_rare_kinds() -> None:
    import imagecodecs

    pixels = np.tile(LABELS * 60, (9, 9)).astype(np.uint8)
    packed_anew = bytes(imagecodecs.jpegxl_encode_jpeg(imagecodecs.jpeg_encode(pixels)))
    boxed = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True))
    assert is_lossy(packed_anew)
    assert not is_lossy(boxed)
    assert is_lossy(bytes(imagecodecs.jpegxl_encode(pixels, distance=1.0, usecontainer=True)))
    assert not is_lossy(boxed[:12])
    assert not is_lossy(b"WMPHOTO\0")


def test_a_tiff_is_known_by_its_bytes(tmp_path: Path) -> None:
    page_by_page(tmp_path / "labels", *STACK)
    page_by_page(tmp_path / "labels.mask", *STACK)
    for name in ("labels", "labels.mask"):
        assert regions(tmp_path / name) == (0, [("0", 1), ("1", 2), ("2", 3)])


def test_pages_of_other_files_that_are_gone_are_missing(tmp_path: Path) -> None:
    options: Any = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "l.ome.tif", STACK, ome=True, **options)
    with tifffile.TiffFile(tmp_path / "l.ome.tif") as file:
        xml = file.ome_metadata
    assert xml is not None
    parts = []
    for number in range(3):
        name = "l.ome.tif" if number == 0 else f"l{number}.ome.tif"
        parts.append(
            f'<TiffData IFD="0" FirstZ="{number}" PlaneCount="1"><UUID FileName="{name}">'
            f"urn:uuid:0000000{number}</UUID></TiffData>"
        )
    start, end = xml.index("<TiffData"), xml.index("</Pixels>")
    described = xml[:start] + "".join(parts) + xml[end:]
    tifffile.imwrite(tmp_path / "l.ome.tif", STACK[0], description=described, metadata=None)
    with pytest.raises(ImageError, match="2 of its 3 pages are missing"):
        open_label_file(tmp_path / "l.ome.tif")
    with pytest.raises(ImageError, match="missing"):
        export_labels(open_image(tmp_path / "l.ome.tif").data, tmp_path / "o.csv")


def test_a_npz_holds_one_array_or_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "one.npz", masks=STACK)
    np.savez(tmp_path / "two.npz", image=COLOUR, masks=STACK)
    assert regions(tmp_path / "one.npz") == (0, [("0", 1), ("1", 2), ("2", 3)])
    assert regions(tmp_path / "two.npz") == (2, [])
    assert "2 arrays: image, masks" in capsys.readouterr().err
