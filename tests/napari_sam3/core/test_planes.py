from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import zarr

from napari_sam3.core.planes import PlaneIndex, plane_from_array, read_plane
from sam3.errors import ImageError
from sam3.preprocess.contrast import to_uint8


def test_8_bit_colours_pass_unchanged() -> None:
    rgba = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)
    assert (plane_from_array(rgba, rgb=True) == rgba[..., :3]).all()


def test_dim_8_bit_fluorescence_is_stretched() -> None:
    image = np.full((64, 64), 4, np.uint8)
    image[20:40, 20:40] = 24
    assert np.unique(plane_from_array(image)).tolist() == [0, 255]
    plane = plane_from_array(np.array([[10, 20, 30]], np.uint8), contrast=(10, 30))
    assert plane[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int64, np.float32, np.float64])
def test_hot_pixels_do_not_flatten_the_contrast(dtype: type) -> None:
    image = np.random.default_rng(0).integers(-50 if dtype is np.int16 else 100, 200, (64, 64))
    image = image.astype(dtype)
    image[0, 0] = 32000
    plane = plane_from_array(image)
    assert np.ptp(plane[1:]) > 240
    assert plane[0, 0, 0] == 255


def test_nan_and_infinity_become_black_and_white() -> None:
    image = np.linspace(0, 1, 10_000).reshape(100, 100)
    image[0, :3] = np.nan, np.inf, -np.inf
    plane = plane_from_array(image)
    assert plane[0, :3, 0].tolist() == [0, 255, 0]
    assert abs(int(plane[50, 50, 0]) - 128) < 5


def test_a_few_bright_pixels_on_an_even_ground_stay_visible() -> None:
    image = np.full((200, 200), 1000, np.uint16)
    image[7, 7] = 1100
    assert plane_from_array(image)[7, 7, 0] == 255


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_constant_plane_is_a_zero_plane(value: int) -> None:
    assert not plane_from_array(np.full((4, 5), value, np.uint16)).any()


def test_bool_and_float_rgb() -> None:
    assert plane_from_array(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    colours = np.array([[[0.0, 0.5, 1.0], [-1.0, 2.0, np.nan]]])
    assert plane_from_array(colours, rgb=True)[0].tolist() == [[0, 128, 255], [0, 255, 0]]


@pytest.mark.parametrize(
    ("data", "rgb", "message"),
    [
        (np.zeros((0, 5)), False, "empty"),
        (np.full((3, 3), np.nan), False, "NaN"),
        (np.full((3, 3, 3), np.nan), True, "NaN"),
        (np.zeros((3, 3), complex), False, "complex128"),
        (np.zeros((3, 3, 3)), False, r"\(3, 3, 3\)"),
        (np.zeros((3, 3, 2)), True, r"\(3, 3, 2\)"),
        (np.array([["a"]]), False, "U1"),
    ],
)
def test_what_is_no_picture_is_refused(data: npt.NDArray[Any], rgb: bool, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        plane_from_array(data, rgb=rgb)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_any_two_axes_of_array_like_data_make_a_plane(kind: str) -> None:
    volume = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    data: Any = {
        "numpy": volume,
        "dask": da.from_array(volume, chunks=1),
        "zarr": zarr.array(volume, chunks=(1, 2, 2, 5)),
    }[kind]
    plane = PlaneIndex(axes=(1, 3), index=(1, 2))
    assert (read_plane(data, plane) == volume[1, :, 2, :]).all()
    assert plane.shape_of(volume.shape) == (3, 5)


def test_only_the_plane_shown_is_computed() -> None:
    seen = []

    def block(block_info: dict[Any, Any]) -> npt.NDArray[np.uint8]:
        seen.append(block_info[None]["chunk-location"])
        return np.ones((1, 8, 8), np.uint8)

    stack = da.map_blocks(block, chunks=((1,) * 50, (8,), (8,)), dtype=np.uint8, meta=np.ones(()))
    seen.clear()
    read_plane(stack, PlaneIndex((1, 2), (31,)))
    assert seen == [(31, 0, 0)]


def test_pyramids_are_read_at_their_finest_level_and_colours_stay_last() -> None:
    fine = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), np.uint8)
    pyramid = [fine, fine[:, ::2, ::2]]
    plane = read_plane(pyramid, PlaneIndex((1, 2), (2,)), rgb=True, multiscale=True)
    assert (plane == fine[2]).all()


@pytest.mark.parametrize("plane", [PlaneIndex((1, 2), (3,)), PlaneIndex((0, 1), ())])
def test_a_plane_that_does_not_exist_is_named(plane: PlaneIndex) -> None:
    with pytest.raises(ImageError, match=r"axis 0 lies outside|3 axes"):
        read_plane(np.zeros((3, 8, 8)), plane)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_large_planes_get_the_values_of_small_ones(dtype: Any) -> None:
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1).astype(dtype)
    plane = np.resize(values, (400, 400))
    limits = (info.min + 0.3 * (info.max - info.min), float(info.max) - 3)
    rows = [to_uint8(row, limits) for row in plane]
    assert np.array_equal(to_uint8(plane, limits), rows)
