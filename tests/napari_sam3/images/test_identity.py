"""The same image is recognised, another one is not, and little is read for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import zarr

from napari_sam3.images.identity import identify
from sam3.errors import ImageError


class Counting:
    """An array that counts the pixels read from it."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.bytes = self.reads = 0

    def __getitem__(self, place: Any) -> npt.NDArray[Any]:
        block: npt.NDArray[Any] = self.array[place]
        self.bytes += block.nbytes
        self.reads += 1
        return block


def noise(*shape: int, dtype: str = "uint16") -> npt.NDArray[Any]:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("shape", [(3, 4), (300, 200), (5, 64, 100), (2, 3, 1, 70, 500)])
def test_an_image_is_the_same_however_it_is_held(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    stored = zarr.open_array(tmp_path / "image.zarr", mode="w", shape=shape, dtype=image.dtype)
    stored[...] = image
    first = identify(image, "first")
    assert first.shape == shape
    assert first.dtype == "uint16"
    assert first == identify(da.from_array(image, chunks=50), "as dask")
    assert first == identify(stored, "as zarr")
    assert first == identify(image.astype(">u2"), "another byte order")
    assert first == identify(np.asfortranarray(image), "another layout")
    assert first.name == "first"


@pytest.mark.parametrize("place", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_a_difference_in_a_corner_makes_another_image(place: tuple[int, int]) -> None:
    image = noise(4, 3000, 2500)
    first = identify(image, "image")
    image[(-1, *place)] += 1
    assert identify(image, "image") != first


def test_small_images_are_read_whole() -> None:
    image = noise(130, 170, dtype="uint8")
    first = identify(image, "image")
    for row, column in np.random.default_rng(1).integers(0, 130, (20, 2)):
        image[row, column] += 1
        assert identify(image, "image") != first
        image[row, column] -= 1


def test_shape_and_dtype_are_part_of_the_identity() -> None:
    image = np.zeros((60, 80), np.uint8)
    others = [image.T, image[:-1], image[None], image.astype(np.uint16), image.astype(np.int8)]
    identities = [identify(one, "image") for one in (image, *others)]
    assert len({(one.shape, one.dtype, one.digest) for one in identities}) == len(identities)
    assert len({one.digest for one in identities}) == len(identities)


@pytest.mark.parametrize(
    ("shape", "dtype", "rgb"),
    [
        ((20000, 30000), "uint8", False),
        ((9000, 9000, 3), "uint8", True),
        ((50, 2, 1000, 1000), "uint16", False),
        ((100, 1000, 1000), "float64", False),
        ((3, 1, 40_000_000), "uint8", False),
        ((40_000_000, 1), "uint8", False),
    ],
)
def test_about_a_megabyte_is_read_of_any_image(
    shape: tuple[int, ...], dtype: str, rgb: bool
) -> None:
    counting = Counting(np.broadcast_to(np.ones((), dtype), shape))
    identify(counting, "image", rgb=rgb)
    assert 1 << 9 < counting.bytes <= 1 << 20
    assert counting.reads <= 64


def test_a_huge_lazy_stack_is_read_in_four_planes_only() -> None:
    read = []

    def plane(block_info: Any = None) -> npt.NDArray[np.uint16]:
        read.append(block_info[None]["chunk-location"])
        return np.full((1, 1, 2048, 2048), len(read) > 0, np.uint16)

    shape = (500, 40, 2048, 2048)
    chunks = ((1,) * 500, (1,) * 40, (2048,), (2048,))
    stack = da.map_blocks(plane, chunks=chunks, dtype=np.uint16, meta=np.zeros((0,) * 4, np.uint16))
    assert stack.shape == shape
    identify(stack, "stack")
    assert 1 <= len(read) <= 4
    assert (0, 0, 0, 0) in read
    assert (499, 39, 0, 0) in read


def test_of_a_pyramid_the_coarsest_level_is_sampled() -> None:
    fine, coarse = Counting(noise(4000, 4000)), Counting(noise(500, 500))
    identity = identify([fine, coarse], "pyramid", multiscale=True)
    assert identity.shape == (4000, 4000)
    assert fine.reads == 0
    assert coarse.reads > 0
    assert identity != identify([fine, coarse.array + 1], "pyramid", multiscale=True)


def test_colours_are_sampled_whole() -> None:
    image = noise(64, 64, 3, dtype="uint8")
    first = identify(image, "image", rgb=True)
    image[63, 63, 2] += 1
    assert identify(image, "image", rgb=True) != first


def test_an_image_without_pixels_has_an_identity() -> None:
    assert identify(np.zeros((0, 5)), "a") == identify(np.zeros((0, 5)), "b")


def test_what_has_no_plane_is_refused() -> None:
    for data, rgb in ((np.zeros(5), False), (np.zeros((5, 3)), True)):
        with pytest.raises(ImageError, match="rows and columns"):
            identify(data, "image", rgb=rgb)
    with pytest.raises(ImageError, match="Expected numbers"):
        identify(np.full((3, 3), None), "image")


def test_an_image_with_damage_is_known_by_the_rest() -> None:
    class Damaged:
        def __init__(self, array: Any, plane: int | None) -> None:
            self.array, self.plane = array, plane
            self.shape, self.dtype = array.shape, array.dtype

        def __getitem__(self, place: Any) -> Any:
            if place[0] == self.plane:
                raise OSError("a bad disk")
            return self.array[place]

    image = noise(7, 30, 40)
    other = image.copy()
    other[0, 0, 0] += 1
    damaged = [identify(Damaged(image, plane), "a") for plane in (4, 4, 6, None)]
    assert damaged[0] == damaged[1]
    assert damaged[0] != damaged[2]
    assert damaged[3] == identify(image, "b")
    assert damaged[0] != identify(Damaged(other, 4), "a")

    def read(block: Any, block_info: Any = None) -> Any:
        if block_info and block_info[None]["chunk-location"][0] == 4:
            raise OSError("a bad disk")
        return block

    lazy = da.from_array(image, chunks=(1, 30, 40)).map_blocks(read, dtype=image.dtype)
    assert identify(lazy, "as dask") == damaged[0]


def test_pixels_that_cannot_be_read_are_reported() -> None:
    def broken(block: Any) -> Any:
        raise RuntimeError("the disk is gone")

    data = da.zeros((50, 50), chunks=10).map_blocks(broken, dtype=float, meta=np.zeros((0, 0)))
    with pytest.raises(ImageError, match=r"'slide'.*the disk is gone"):
        identify(data, "slide")
