"""Labels of very large planes: a pyramid that is written level by level."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.layers.label_levels import LARGEST_SIDE, SMALLEST_SIDE, make_levels, write_levels
from sam3.predictor import Predictor


def test_a_pyramid_halves_until_it_fits_on_a_screen_and_takes_no_room() -> None:
    levels = make_levels((3, 20_001, 70_000))
    assert [level.shape for level in levels[:3]] == [
        (3, 20_001, 70_000), (3, 10_001, 35_000), (3, 5001, 17_500),
    ]  # fmt: skip
    assert max(levels[-1].shape[1:]) <= SMALLEST_SIDE < max(levels[-2].shape[1:])
    assert all(level.nbytes_stored() < 10_000 for level in levels)


@given(st.data())
def test_coarse_levels_hold_every_other_label(data: Any) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 40)] * 2), "shape")
    sizes = [shape]
    while max(sizes[-1]) > 6:
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    levels = [np.zeros((2, *size), np.uint16) for size in sizes]
    truth = np.zeros((2, *shape), np.uint16)
    for value in range(1, 4):
        (r0, r1), (c0, c1) = (
            sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2), "span")) for n in shape
        )
        values = np.full((r1 - r0, c1 - c0), value, np.uint16)
        write_levels(levels, PlaneIndex((1, 2), (1,)), (slice(r0, r1), slice(c0, c1)), values)
        truth[1, r0:r1, c0:c1] = value
    for number, level in enumerate(levels):
        assert np.array_equal(level, truth[:, :: 2**number, :: 2**number]), number


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [((100, 90), (67, 60)), ((100, 90), (40, 90)), ((100, 90), (34, 60)), ((90, 100), (72, 29))],
)
def test_coarse_levels_of_any_ratio_show_what_lies_there(
    fine: tuple[int, int], coarse: tuple[int, int]
) -> None:
    levels = [np.zeros((2, *size), np.uint16) for size in (fine, coarse)]
    rows, columns = np.mgrid[: fine[0], : fine[1]]
    disc = ((rows - 70) ** 2 + (columns - 65) ** 2 < 15**2).astype(np.uint16)
    whole = [np.zeros((2, *size), np.uint16) for size in (fine, coarse)]
    write_levels(whole, PlaneIndex((1, 2), (1,)), (slice(0, fine[0]), slice(0, fine[1])), disc)
    for top in range(0, fine[0], 7):  # piece by piece it is the same
        part = slice(top, min(top + 7, fine[0]))
        write_levels(levels, PlaneIndex((1, 2), (1,)), (part, slice(0, fine[1])), disc[part])
    np.testing.assert_array_equal(levels[1], whole[1])
    assert not levels[1][0].any()
    assert levels[1][1].any()
    ratio = np.array(fine) / coarse
    found = (np.argwhere(levels[1][1]) + 0.5) * ratio
    # As viewers lay a coarse level over the finest one: half a coarse pixel off, at the most.
    np.testing.assert_allclose(found.mean(axis=0), (70.5, 65.5), atol=ratio.max() / 2)
    assert abs(len(found) * ratio.prod() - disc.sum()) < 0.15 * disc.sum()


def test_planes_of_a_level_with_fewer_or_more_planes_are_written() -> None:
    levels = [np.zeros((n, 4, 4), int) for n in (9, 6, 18)]
    for z in range(9):
        region = (slice(0, 4), slice(0, 4))
        write_levels(levels, PlaneIndex((1, 2), (z,)), region, np.full((4, 4), z))
    assert levels[1][:, 0, 0].tolist() == [0, 2, 3, 5, 6, 8]
    assert levels[2][:, 0, 0].tolist() == [z // 2 for z in range(18)]


def test_planes_across_a_pyramid_are_written_where_a_level_has_them() -> None:
    levels: list[npt.NDArray[Any]] = [np.zeros((5, 8, 8), int), np.zeros((5, 4, 4), int)]
    for column in (2, 3):
        plane = PlaneIndex((0, 1), (column,))
        write_levels(levels, plane, (slice(0, 5), slice(0, 8)), np.full((5, 8), column))
    assert (levels[0][:, :, 2] == 2).all()
    assert (levels[0][:, :, 3] == 3).all()
    assert (levels[1][:, :, 1] == 2).all(), "the plane between two of the coarse level is not in it"


def test_labels_of_a_very_large_plane_are_a_pyramid_and_undone_on_every_level(
    predictor: Predictor,
) -> None:
    side = LARGEST_SIDE + 1
    store = zarr.storage.MemoryStore()
    image = zarr.create_array(store, shape=(side, 300), chunks=(300, 300), dtype=np.uint8)
    rows, columns = np.mgrid[:300, :300]
    image[9000:9300] = np.where((rows - 150) ** 2 + (columns - 150) ** 2 < 400, 200, 20)
    viewer = ViewerModel()
    viewer.add_image([image, image[::2, ::2]], multiscale=True, contrast_limits=(0, 255))
    with bind(viewer, predictor=predictor) as binding:
        assert binding.labels.multiscale
        binding.points.add([9150, 150])
        accepted = binding.accept()
        assert accepted is not None
        fine, coarse = binding.labels.data[0], binding.labels.data[1]
        there = np.asarray(fine[:]) == accepted.id
        assert there.sum() == accepted.area > 0
        assert np.array_equal(np.asarray(coarse[:]) == accepted.id, there[::2, ::2])
        # The same layer is taken again, with its ids.
        labels = binding.labels
    with bind(viewer, viewer.layers[0], labels, predictor=predictor) as binding:
        binding.points.add([9050, 50])
        second = binding.accept()
        assert second is not None
        assert second.id == accepted.id + 1
        binding.undo()
        assert not (np.asarray(fine[:]) == second.id).any()
        assert not (np.asarray(coarse[:]) == second.id).any()


@pytest.mark.parametrize("level", [0, 1])
def test_a_read_only_level_is_refused(predictor: Predictor, level: int, tmp_path: Any) -> None:
    from napari_sam3.core.errors import LayerError

    group = zarr.open_group(tmp_path / "labels.zarr", mode="w")
    for number, side in enumerate((64, 32)):
        group.create_array(str(number), shape=(side, side), dtype=np.uint16)
    levels: list[Any] = [np.zeros((64, 64), np.uint16), np.zeros((32, 32), np.uint16)]
    levels[level] = zarr.open_group(tmp_path / "labels.zarr", mode="r")[str(level)]
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((64, 64), np.uint8))
    labels = viewer.add_labels(levels, multiscale=True)
    with pytest.raises(LayerError, match="read-only"):
        bind(viewer, image, labels, predictor=predictor)
