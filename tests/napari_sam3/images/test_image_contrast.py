"""One contrast for an image: planes agree, empty ones stay dark, few pixels are read."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam3.core.planes import PlaneIndex, find_limits
from napari_sam3.images.contrast import MOST_PLANES, ImageContrast, _scattered, channel_axes
from napari_sam3.images.lazy import LazyImage
from napari_sam3.images.plane_image import Channel, RenderedPlane
from napari_sam3.session.stacks import PlaneStack
from sam3.errors import ImageError


def stack(planes: int = 40) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return a stack (planes x 64 x 64) with camera noise, and a bright disc on every third one."""
    image = np.random.default_rng(0).normal(200, 4, (planes, 64, 64)).astype(np.uint16)
    rows, columns = np.mgrid[:64, :64]
    image[::3, (rows - 32) ** 2 + (columns - 32) ** 2 < 200] = 3000
    return image


def seen(data: Any, index: tuple[int, ...], contrast: ImageContrast | None) -> Any:
    plane = RenderedPlane(Channel(data, PlaneIndex((data.ndim - 2, data.ndim - 1), index),
                                  contrast=contrast))  # fmt: skip
    return plane.region(slice(None), slice(None))


def test_an_empty_plane_is_no_noise_and_planes_agree() -> None:
    image = stack()
    contrast = ImageContrast(image)
    assert seen(image, (1,), None).std() > 20, "by itself, noise is stretched over all values"
    assert seen(image, (1,), contrast).max() < 10
    first, other = (contrast.limits(PlaneIndex((1, 2), (at,))) for at in (0, 38))
    assert first == other
    assert seen(image, (0,), contrast)[32, 32].tolist() == [255] * 3
    # The same however the volume is cut.
    assert contrast.limits(PlaneIndex((0, 2), (3,))) == first


def test_a_single_plane_is_looked_at_whole() -> None:
    image = stack()[0]
    assert ImageContrast(image).limits(PlaneIndex()) == find_limits(image)


def test_channels_are_kept_apart() -> None:
    image = np.stack([stack(), stack() // 10], axis=1)
    contrast = ImageContrast(image, apart=(1,))
    bright, dim = (contrast.limits(PlaneIndex((2, 3), (0, channel))) for channel in (0, 1))
    assert bright is not None
    assert dim is not None
    assert bright[1] > 5 * dim[1]
    assert channel_axes(("t", "C", "channel", "y")) == (1, 2)


def test_lazy_and_loaded_images_agree_where_viewers_load_them() -> None:
    image = stack()
    lazy = LazyImage(zarr.array(image, chunks=(1, 64, 64)), loaded_whole=True)
    plane = PlaneIndex((1, 2), (5,))
    assert lazy.channel(plane).limits() == ImageContrast(image).limits(plane)


def test_colours_pass_and_nothing_is_read_for_them() -> None:
    class Unreadable:
        shape, dtype, ndim = (30, 8, 8, 3), np.dtype(np.uint8), 4

        def __getitem__(self, key: Any) -> Any:
            raise AssertionError("read")

    assert ImageContrast(Unreadable(), rgb=True).limits(PlaneIndex((1, 2), (0,))) is None


def test_a_bounded_number_of_chunks_is_read() -> None:
    read: list[Any] = []

    class Counting:
        def __init__(self, data: Any) -> None:
            self.data, self.shape, self.dtype, self.chunks = (
                data,
                data.shape,
                data.dtype,
                data.chunks,
            )

        def __getitem__(self, key: Any) -> Any:
            read.append(key)
            return self.data[key]

    store = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(500, 20_000, 20_000), chunks=(1, 512, 512), dtype="u2",
        fill_value=7,
    )  # fmt: skip
    limits = ImageContrast(Counting(store)).limits(PlaneIndex((1, 2), (0,)))
    assert limits == (7, 7)
    assert len({key[0] for key in read}) == MOST_PLANES
    assert len(read) <= 64


def test_planes_that_cannot_be_read_are_done_without() -> None:
    image = stack(10)

    class Broken:
        shape, dtype, ndim = image.shape, image.dtype, image.ndim

        def __init__(self, bad: set[int]) -> None:
            self.bad = bad

        def __getitem__(self, key: Any) -> Any:
            if key[0] in self.bad:
                raise OSError("a bad disk")
            return image[key]

    plane = PlaneIndex((1, 2), (4,))
    low, high = ImageContrast(Broken({4, 7}), whole=True).limits(plane) or (0, 0)
    assert 180 < low < 250
    assert high == 3000
    with pytest.raises(ImageError, match="a bad disk"):
        ImageContrast(Broken(set(range(10)))).limits(plane)


def test_an_image_without_a_finite_value_is_refused() -> None:
    image = np.full((4, 8, 8), np.nan)
    first = PlaneIndex((1, 2), (0,))
    message = r"the image 'cells' of shape \(4, 8, 8\) holds no finite value: all 256 values"
    with pytest.raises(ImageError, match=message):
        ImageContrast(image, name="cells").limits(first)
    image[1] = np.inf
    with pytest.raises(ImageError, match=r"axis 0 = 1 of the image of shape \(4, 8, 8\) .* 64"):
        ImageContrast(image, apart=(0,)).limits(PlaneIndex((1, 2), (1,)))
    for data in (image, da.from_array(image, chunks=4)):
        with pytest.raises(ImageError, match=r"plane axis 0 = 0 of the image of shape \(4, 8, 8\)"):
            Channel(data, first).limits()
    image[3] = 1.0
    assert ImageContrast(image).limits(PlaneIndex((1, 2), (0,))) == (1.0, 1.0)


@pytest.mark.parametrize(("length", "good"), [(200, 9), (200, 199), (3000, 1111), (3000, 2999)])
def test_a_stack_with_values_on_a_few_planes_is_not_refused(length: int, good: int) -> None:
    image = np.full((length, 6, 5), np.nan, np.float32)
    image[good] = np.arange(30).reshape(6, 5)
    for data in (image, da.from_array(image, chunks=(100, 6, 5))):
        contrast = ImageContrast(data)
        low, high = contrast.limits(PlaneIndex((1, 2), (good,))) or (0, 0)
        assert (round(low), round(high)) == (0, 29)
        assert (
            RenderedPlane(Channel(data, PlaneIndex((1, 2), (good,)), contrast=contrast))
            .region(slice(None), slice(None))
            .any()
        )
    # Found in what is looked at, it holds for all planes, in any order.
    if length == 200:
        assert ImageContrast(image).limits(PlaneIndex((1, 2), (0,))) == (low, high)


def test_lengths_that_are_not_known_are_refused() -> None:
    lazy = da.from_array(np.eye(20), chunks=5)
    rows, columns = lazy[lazy.sum(1) > 0], lazy[:, lazy.sum(0) > 0]
    for data in (rows, columns, rows[None], da.stack([rows, rows])):
        with pytest.raises(ImageError, match=r"not known: .*nan.*compute_chunk_sizes"):
            RenderedPlane(Channel(data, PlaneIndex((data.ndim - 2, data.ndim - 1))))
        with pytest.raises(ImageError, match="compute_chunk_sizes"):
            LazyImage.of(data, rgb=False).shape  # noqa: B018
    labels = np.zeros((2, 20, 20), int)
    with pytest.raises(ImageError, match="compute_chunk_sizes"):
        PlaneStack.of(da.stack([rows, rows]), labels)


@pytest.mark.parametrize("lengths", [(1000,), (50, 32), (17, 16), (3, 100, 16)])
def test_planes_are_scattered_over_every_axis(lengths: tuple[int, ...]) -> None:
    places = np.array([_scattered(number, lengths, MOST_PLANES) for number in range(MOST_PLANES)])
    assert (places >= 0).all()
    assert (places < lengths).all()
    for axis, length in enumerate(lengths):
        found = np.unique(places[:, axis])
        # Every third of the axis is met, by several positions where it has several.
        assert len(np.unique(found * 3 // length)) == min(3, length)
        assert len(found) >= min(math.ceil(MOST_PLANES / 2), length)
