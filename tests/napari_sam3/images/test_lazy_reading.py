"""What is read of images that are not in memory: the chunks under a field, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam3.core.drafts import Draft
from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import FieldOfView, choose_field
from napari_sam3.core.planes import PlaneIndex, find_limits, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images import reading as pixel_reading
from napari_sam3.images.plane_image import Channel, RenderedPlane
from napari_sam3.images.reading import is_in_memory, level_for, sample_plane, shrink, to_level
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import Control, EmbeddingCache
from napari_sam3.inference.questions import ObjectPrediction, Question
from sam3.errors import ImageError
from sam3.predictor import ImageFeatures, Predictor

Chunk = tuple[int, int, int]


class CountedPyramid:
    """A dask pyramid of discs on a grid, made chunk by chunk; notes which chunks are made."""

    def __init__(self, side: int, chunk: int, levels: int) -> None:
        self.made: Counter[Chunk] = Counter()
        self.chunk = chunk
        self.levels = [self._level(number, -(-side // 2**number)) for number in range(levels)]

    def _level(self, number: int, side: int) -> Any:
        lengths = (self.chunk,) * (side // self.chunk)
        lengths += (side % self.chunk,) if side % self.chunk else ()
        empty = np.zeros((0, 0), np.uint16)
        return da.map_blocks(
            self._make, number, chunks=(lengths, lengths), dtype=np.uint16, meta=empty
        )

    def _make(self, number: int, block_info: Any = None) -> npt.NDArray[np.uint16]:
        place = block_info[None]
        self.made[(number, *place["chunk-location"])] += 1
        (top, bottom), (left, right) = place["array-location"]
        y, x = np.mgrid[top:bottom, left:right] * 2**number
        disc = (y % 200 - 100) ** 2 + (x % 200 - 100) ** 2 < 40**2
        return np.where(disc, 3000, 300).astype(np.uint16)

    def under(self, level: int, field: FieldOfView) -> set[Chunk]:
        """Chunks of a level that a field meets."""
        rows, columns = (
            range(start // 2**level // self.chunk, (stop // 2**level - 1) // self.chunk + 1)
            for start, stop in (field.rows, field.columns)
        )
        return {(level, row, column) for row in rows for column in columns}


class NotingCache(EmbeddingCache):
    """Notes the fields that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[FieldOfView] = set()

    def encode_field(
        self,
        region: FieldOfView,
        plane: PlaneImage,
        predictor: Predictor,
        control: Control,
        *,
        keep_trunk: bool = False,
    ) -> ImageFeatures:
        self.asked.add(region)
        return super().encode_field(region, plane, predictor, control, keep_trunk=keep_trunk)


class Calm:
    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        pass


def drawn(levels: list[Any], plane: PlaneIndex | None = None) -> RenderedPlane:
    return RenderedPlane(Channel(levels, plane or PlaneIndex(), multiscale=True))


def click(
    plane: PlaneImage, x: float, y: float, predictor: Predictor, cache: EmbeddingCache
) -> ObjectPrediction:
    draft = Draft(1).asked(PromptSet(((x, y),), (1,)))
    found = answer(Question(plane, (draft,)), predictor, cache, Calm())
    assert found is not None
    return found[0]


def test_a_click_on_a_huge_pyramid_reads_the_chunks_under_its_field_once(
    predictor: Predictor,
) -> None:
    pyramid, cache = CountedPyramid(100_000, 256, 8), NotingCache()
    plane = drawn(pyramid.levels)
    click(plane, 61_100.0, 40_300.0, predictor, cache)
    wanted = Counter((7, row, column) for row in range(4) for column in range(4))
    for field in cache.asked:  # more than one, where the mask was cut off by its field
        wanted.update(pyramid.under(max(0, field.level), field))
    assert pyramid.made == wanted, "the lowest level for the contrast, and each field once"
    click(plane, 61_102.0, 40_301.0, predictor, cache)
    assert pyramid.made == wanted, "the same fields were read again"


@pytest.mark.parametrize("level", [1, 3, 6])
def test_a_coarse_field_is_read_from_the_level_that_the_model_can_see(
    level: int, predictor: Predictor
) -> None:
    pyramid, cache = CountedPyramid(6_000, 128, 6), EmbeddingCache()
    plane = drawn(pyramid.levels)
    contrast = plane.rendering.limits
    pyramid.made.clear()
    spot = PromptSet(((3_000.0, 3_000.0),), (1,))
    field = choose_field(plane.shape, spot, predictor.config, level)
    features = cache.encode_field(field, plane, predictor, Calm())
    assert features.size == field.encoded_shape
    assert contrast == ((300.0, 3000.0),)
    assert {chunk[0] for chunk in pyramid.made} == {min(level, 5)}


def test_a_mask_of_a_coarse_field_is_the_same_from_a_pyramid_and_from_all_pixels(
    predictor: Predictor,
) -> None:
    y, x = np.mgrid[:112, :112]
    coarse = (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)
    fine = coarse.repeat(8, 0).repeat(8, 1)
    levels: list[Any] = [da.from_array(one, chunks=64) for one in (fine, fine[::2, ::2], coarse)]
    contrast = (0.0, 255.0)
    whole = RenderedPlane(Channel(fine, PlaneIndex(), contrast=contrast))
    pyramid = RenderedPlane(Channel(levels, PlaneIndex(), multiscale=True, contrast=contrast))
    (field,) = fields_over((896, 896), 112, 3)
    assert field.extract(pyramid).shape == (112, 112, 3)
    masks = []
    for plane in (whole, pyramid):
        features = EmbeddingCache().encode_field(field, plane, predictor, Calm())
        found = predictor.predict(features, [[400.5, 300.0]], [1], multimask_output=False)
        masks.append(found.masks[0])
    assert masks[0].shape == masks[1].shape == (896, 896)
    assert np.mean(masks[0] != masks[1]) < 0.02


@settings(deadline=None)
@given(st.data(), st.integers(600, 100_000), st.booleans(), st.integers(1, 5))
def test_regions_of_pyramids_of_odd_lengths_lie_where_they_should(
    data: st.DataObject, length: int, rounded_up: bool, level: int
) -> None:
    lengths = [length]
    for _ in range(level):
        lengths.append((lengths[-1] + rounded_up) // 2)
    levels = [np.broadcast_to(np.uint8(0), (n, n)) for n in lengths]
    assert [level_for(levels, PlaneIndex(), 2**k) for k in range(level + 1)] == [*range(level + 1)]
    start = data.draw(st.integers(0, length - 300))
    stop = data.draw(st.integers(start + 300, length))
    (top, bottom), _ = to_level(levels, level, PlaneIndex(), (start, stop), (0, length))
    assert 0 <= top < bottom <= lengths[-1]
    # Half a pixel of rounding, and at the end what rounding down has cut off the pyramid.
    lost = max(0, stop - lengths[-1] * 2**level)
    assert abs(top * 2**level - start) <= 2**level / 2 + lost
    assert abs(bottom * 2**level - stop) <= 2**level / 2 + lost


def test_padding_of_a_coarse_field_shrinks_with_it() -> None:
    long = da.zeros((40, 4_000), chunks=(40, 100), dtype=np.uint8)
    plane = drawn([long, long[::2, ::2], long[::4, ::4]])
    (field,) = fields_over((40, 4_000), 1008, 2)
    assert field.encoded_shape == (3_000, 4_000)
    assert field.extract(plane).shape == (750, 1_000, 3)


def test_lazy_data_without_a_pyramid_are_sampled_chunk_by_chunk() -> None:
    single = CountedPyramid(20_000, 500, 1)
    plane = RenderedPlane(Channel(single.levels[0], PlaneIndex()))
    assert plane.rendering.limits == ((300.0, 3000.0),)
    assert len(single.made) <= 16**2
    assert set(single.made.values()) == {1}
    sample = sample_plane(single.levels, PlaneIndex())
    assert sample.nbytes <= pixel_reading.SAMPLE_BYTES
    np.testing.assert_array_equal(sample, sample_plane(single.levels, PlaneIndex()))


def test_large_fields_of_lazy_data_without_a_pyramid_are_read_in_strips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_sam3.images import plane_image

    values = np.random.default_rng(1).integers(0, 255, (1_003, 617), dtype=np.uint8)
    stored = zarr.array(values, chunks=(100, 100))
    plane = RenderedPlane(Channel(stored, PlaneIndex(), contrast=(0.0, 255.0)))
    asked = slice(3, 1_001), slice(10, 600)
    whole = plane.region(*asked, 4)
    assert whole.shape == (998, 590, 3)
    monkeypatch.setattr(plane_image, "STRIP_BYTES", 100_000)
    strips = plane.region(*asked, 4)
    assert strips.shape == (250, 148, 3)
    block = values[3 + 4 * 60 : 3 + 4 * 61, 10 + 4 * 30 : 10 + 4 * 31]
    assert strips[60, 30, 0] == np.rint(block.mean())
    read: Callable[[tuple[int, int]], Any] = lambda span: values[slice(*span)]  # noqa: E731
    np.testing.assert_array_equal(shrink(read, (0, 1_003), 10_000, 1), values)


def test_small_lazy_planes_have_the_contrast_of_the_same_plane_in_memory() -> None:
    values = np.random.default_rng(2).integers(0, 4_000, (3, 300, 400), dtype=np.uint16)
    at = PlaneIndex((1, 2), (1,))
    for data in (zarr.array(values, chunks=(1, 64, 64)), da.from_array(values, chunks=90)):
        plane = RenderedPlane(Channel(data, at))
        assert plane.is_lazy
        assert plane.rendering.limits == (find_limits(values[1]),)
        np.testing.assert_array_equal(
            plane.region(slice(20, 90), slice(0, 400)), plane_from_array(values[1])[20:90]
        )


def test_zarr_2_and_3_and_memory_mapped_tiff_and_their_views_are_lazy(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 255, (200, 100), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", values)
    mapped = tifffile.memmap(tmp_path / "image.tif", mode="r")
    kinds: list[Any] = [mapped, np.asarray(mapped), mapped[:100]]
    for version in (2, 3):
        path = tmp_path / f"{version}.zarr"
        zarr.create_array(path, data=values, chunks=(64, 64), zarr_format=version)
        kinds.append(zarr.open_array(path, mode="r"))
    for data in kinds:
        assert not is_in_memory(data)
        pixels = RenderedPlane(Channel(data, PlaneIndex(), contrast=(0.0, 255.0))).region(
            slice(5, 60), slice(7, 90)
        )
        np.testing.assert_array_equal(pixels[..., 0], values[5:60, 7:90])
    assert is_in_memory(values[::2].T)


def test_xarray_is_read_where_it_is_asked() -> None:
    xarray = pytest.importorskip("xarray")
    pyramid = CountedPyramid(4_000, 100, 1)
    data = xarray.DataArray(pyramid.levels[0], dims=("y", "x"))
    plane = RenderedPlane(Channel(data, PlaneIndex(), contrast=(0.0, 3000.0)))
    assert plane.region(slice(0, 100), slice(100, 300)).shape == (100, 200, 3)
    assert set(pyramid.made) == {(0, 0, 1), (0, 0, 2)}


def test_colours_in_8_bits_are_not_looked_at_for_contrast() -> None:
    looked: list[int] = []

    def make() -> npt.NDArray[np.uint8]:
        looked.append(1)
        return np.zeros((50, 50, 3), np.uint8)

    data = da.map_blocks(
        make, chunks=((50,) * 80, (50,) * 80, (3,)), dtype=np.uint8, meta=np.zeros(0)
    )
    plane = RenderedPlane(Channel(data, PlaneIndex(), rgb=True))
    assert plane.rendering.limits == ()
    assert not looked


def test_levels_with_fewer_planes_lend_their_contrast_only() -> None:
    fine = da.zeros((8, 1_200, 1_200), chunks=(1, 300, 300), dtype=np.uint16)
    coarse = da.full((4, 600, 600), 7, chunks=(1, 300, 300), dtype=np.uint16)
    channel = Channel([fine, coarse], PlaneIndex((1, 2), (7,)), multiscale=True)
    assert channel.level_for(4) == 0
    assert RenderedPlane(channel).rendering.limits == ((7.0, 7.0),)


def test_a_chunk_that_cannot_be_read_is_named(tmp_path: Path, predictor: Predictor) -> None:
    stored = zarr.create_array(
        tmp_path / "image.zarr", data=np.ones((400, 400), np.uint16), chunks=(100, 100)
    )
    (tmp_path / "image.zarr" / "c" / "2" / "3").write_bytes(b"nonsense")
    plane = RenderedPlane(Channel(stored, PlaneIndex(), contrast=(0.0, 5.0), name="slide"))
    field = FieldOfView(0, (100, 212), (100, 212))
    EmbeddingCache().encode_field(field, plane, predictor, Calm())
    with pytest.raises(ImageError, match=r"rows 180 to 291, columns 280 to 391 of the plane of sl"):
        FieldOfView(0, (180, 292), (280, 392)).extract(plane)
    broken = da.map_blocks(
        lambda: (_ for _ in ()).throw(OSError("share is gone")),
        chunks=((10,) * 300, (10,) * 300), dtype=np.uint16, meta=np.zeros((0, 0), np.uint16),
    )  # fmt: skip
    with pytest.raises(ImageError, match=r"blocks of the plane of the image.*share is gone"):
        _ = RenderedPlane(Channel(broken, PlaneIndex())).rendering


def test_a_thumbnail_of_a_huge_pyramid_is_made_from_its_lowest_level() -> None:
    pyramid = CountedPyramid(100_000, 512, 8)
    plane = drawn(pyramid.levels)
    assert not plane.is_ready
    assert plane.rendering
    assert plane.is_ready
    step = 100_000 // 128
    small = plane.region(slice(None, None, step), slice(None, None, step))
    assert max(small.shape) < 200
    assert {chunk[0] for chunk in pyramid.made} == {7}
    single = RenderedPlane(Channel(pyramid.levels[0], PlaneIndex(), contrast=(0.0, 1.0)))
    assert single.rendering
    assert not single.is_ready, "all of it would be read for a thumbnail"


def test_a_plane_larger_than_the_memory_is_reported_with_the_remedy() -> None:
    class Huge:
        shape, dtype, ndim = (64, 64), np.dtype(np.uint8), 2

        def __getitem__(self, key: Any) -> Any:
            raise MemoryError("Unable to allocate 2 TiB")

    with pytest.raises(ImageError, match=r"'slide'.* Unable to allocate 2 TiB\. .*Free memory"):
        pixel_reading.read_pixels(Huge(), PlaneIndex((0, 1), ()), (0, 8), (0, 8), name="'slide'")
