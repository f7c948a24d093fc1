"""Image files as they come: grey, colour, stacks, and what is no image."""

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.io
import tifffile

from napari_sam3.images.lazy import open_image
from napari_sam3.images.open import LoadedImage, plane_of, read_image
from sam3.errors import ImageError


@pytest.mark.parametrize(
    ("shape", "photometric", "planar", "expected", "rgb"),
    [
        ((20, 30), "minisblack", None, (20, 30), False),
        ((5, 20, 30), "minisblack", None, (5, 20, 30), False),
        ((1, 20, 30), "minisblack", None, (20, 30), False),
        ((20, 30, 3), "rgb", "contig", (20, 30), True),
        ((4, 20, 30), "rgb", "separate", (20, 30), True),
        ((20, 3, 4), "minisblack", None, (20, 3, 4), False),  # a narrow stack, no RGBA
    ],
)
def test_tiff(
    tmp_path: Path,
    shape: tuple[int, ...],
    photometric: str,
    planar: str | None,
    expected: tuple[int, ...],
    rgb: bool,
) -> None:
    data = np.random.default_rng(0).integers(0, 60000, shape, np.uint16)
    tifffile.imwrite(tmp_path / "i.tif", data, photometric=photometric, planarconfig=planar)
    image = read_image(tmp_path / "i.tif")
    assert (image.shape, image.rgb) == (expected, rgb)
    assert image.data.dtype == np.uint16
    if rgb and planar == "separate":
        data = np.moveaxis(data, 0, -1)
    np.testing.assert_array_equal(image.data.reshape(-1), data.reshape(-1))


@pytest.mark.parametrize(("channels", "rgb"), [(0, False), (3, True), (4, True)])
def test_png(tmp_path: Path, channels: int, rgb: bool) -> None:
    shape = (20, 30, channels) if channels else (20, 30)
    data = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    skimage.io.imsave(tmp_path / "image.png", data, check_contrast=False)
    image = read_image(str(tmp_path / "image.png"))
    assert image.rgb == rgb
    np.testing.assert_array_equal(image.data, data)


# imageio leaves files open that it turns out not to read.
@pytest.mark.filterwarnings("ignore:.*notes:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["notes.png", "notes.tif", "notes"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("no pixels here\n" * 10)
    with pytest.raises(ImageError, match=rf"{name}' cannot be read as an image: .*Expected a TIFF"):
        read_image(path)
    gc.collect()  # let it complain here, not in another test
    with pytest.raises(ImageError, match=r"image file .*missing\.tif. does not exist"):
        read_image(tmp_path / "missing.tif")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "empty: it has 0 bytes"),
        ("empty.tif", b"", "empty: it has 0 bytes"),
        ("broken.tif", b"II*\0garbage", "none of its pages can be found"),
    ],
)
@pytest.mark.parametrize("read", [read_image, open_image])
def test_a_damaged_file_is_told_in_words(
    tmp_path: Path, name: str, content: bytes, reason: str, read: Any
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=rf"{name}' (is|holds).*{reason}.*Copy or write"):
        read(tmp_path / name)


def test_a_folder_of_images_is_no_image(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8))
    with pytest.raises(ImageError, match=r"is a folder, but no zarr.*Give the path of an image"):
        open_image(tmp_path)


def test_planes_are_asked_for_with_their_ranges() -> None:
    stack = LoadedImage(np.zeros((4, 6, 20, 30)))
    assert plane_of(stack, (3, 5)).slices()[:2] == (3, 5)
    with pytest.raises(
        ImageError, match=r"Expected the position of one.*0 to 3, 0 to 5.*--plane 0,0"
    ):
        plane_of(stack)
    with pytest.raises(ImageError, match=r"\(3, 6\) lies outside"):
        plane_of(stack, (3, 6))
    with pytest.raises(ImageError, match="single plane"):
        plane_of(LoadedImage(np.zeros((20, 30, 3)), rgb=True), (0,))
