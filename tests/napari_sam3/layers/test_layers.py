"""Bindings on a bare ViewerModel: no Qt, no display."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import zarr
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.core.errors import LayerError, MissedError, NothingThereError
from napari_sam3.core.planes import PlaneIndex, plane_from_array
from napari_sam3.core.prompts import PromptSet
from napari_sam3.layers.bind import Binding
from napari_sam3.session.session import LabelingSession
from sam3.errors import PromptError
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]

PLACEMENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": (0.5, 0.25), "translate": (10, -20)},
    "turned": {"scale": (2, 3), "rotate": 30, "shear": [0.2], "translate": (5, 6)},
    "micrometres": {"scale": (0.2, 0.2), "units": ("um", "um"), "axis_labels": ("y", "x")},
}


def click(binding: Binding, row: float, column: float) -> None:
    """Add a point as napari does, at a place of the image given in px."""
    plane = binding.plane
    assert plane is not None
    place = np.zeros(binding.image.ndim)
    place[list(plane.axes)] = row, column
    place[list(plane.other_axes)] = plane.index
    world = binding.image.data_to_world(place)
    binding.points.add(binding.points.world_to_data(world))


def previewed(binding: Binding) -> npt.NDArray[np.bool_]:
    """Where the preview shows something, looked up through the world, on the plane shown."""
    plane, preview, image = binding.plane, binding.preview, binding.image
    assert plane is not None
    height, width = plane.shape_of(image.data.shape)
    shown = np.zeros((height, width), bool)
    size = np.array(preview.data.shape)
    for row, column in np.ndindex(height, width):
        place = np.zeros(image.ndim)
        place[list(plane.axes)] = row, column
        place[list(plane.other_axes)] = plane.index
        at = np.rint(preview.world_to_data(image.data_to_world(place))).astype(int)
        if (at >= 0).all() and (at < size).all():
            shown[row, column] = preview.data[tuple(at)] > 0
    return shown


@pytest.mark.parametrize("name", PLACEMENTS)
def test_a_point_becomes_a_label_where_the_image_lies(
    predictor: Predictor, blobs: Image, name: str
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs, **PLACEMENTS[name])
    binding = bind(viewer, predictor=predictor)
    click(binding, 20, 65)
    assert binding.session.prompts == PromptSet(((65.0, 20.0),), (1,))
    prediction = binding.session.prediction
    assert prediction is not None
    mask = prediction.mask.to_array(blobs.shape)
    assert (previewed(binding) == mask).all()
    accepted = binding.accept()
    assert accepted is not None
    assert (binding.labels.data == mask).all()
    assert not binding.preview.data.any()
    assert len(binding.points.data) == 0
    for layer in (binding.labels, binding.points, binding.boxes):
        assert np.allclose(layer.scale, image.scale)
        assert np.allclose(layer.data_to_world((3, 4)), image.data_to_world((3, 4)))
        assert layer.units == image.units
        assert layer.axis_labels == image.axis_labels
    binding.close()


def test_prompt_layers_with_transforms_of_their_own(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs, scale=(2, 2), units=("um", "um"))
    points = viewer.add_points(
        ndim=2, scale=(500, 500), translate=(3000, 0), units=("nm", "nm"),
        features={"polarity": np.array([], dtype=object)},
    )  # fmt: skip
    binding = bind(viewer, image, points=points, predictor=predictor)
    points.add([74, 120])  # 74 * 500 + 3000 nm = 40 um = row 20; 60 um = column 30
    assert binding.session.prompts.points == ((30, 20),)
    binding.accept()
    binding.undo()
    assert np.allclose(points.data, [[74, 120]])
    binding.close()
    assert points in viewer.layers


def test_units_that_cannot_be_converted_are_named(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs, units=("um", "um"))
    points = viewer.add_points([[1.0, 2.0]], units=("second", "second"))
    with pytest.raises(LayerError, match="second to micrometer"):
        bind(viewer, image, points=points, predictor=predictor)


def test_polarity_boxes_and_edits_reach_the_session(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    points = binding.points
    points.add([20, 20])
    points.feature_defaults = {"polarity": "background"}
    points.add([40, 20])
    assert binding.session.prompts.labels == (1, 0)
    assert [str(s) for s in points.symbol] == ["ring", "cross"]
    assert not np.allclose(*points.face_color)
    table = points.features.copy()
    table.loc[1, "polarity"] = "foreground"
    points.features = table
    assert binding.session.prompts.labels == (1, 1)
    binding.boxes.add_rectangles([[5, 5], [36, 34]])
    assert binding.session.prompts.box == (5, 5, 34, 36)
    points.selected_data = {0}
    points.remove_selected()
    assert binding.session.prompts == PromptSet(((20, 40),), (1,), (5, 5, 34, 36))
    binding.reject()
    assert (len(points.data), len(binding.boxes.data)) == (0, 0)
    for _ in range(2):
        binding.undo()
    assert binding.session.prompts.labels == (1, 1)
    assert [str(value) for value in points.features["polarity"]] == ["foreground", "foreground"]
    binding.close()


def test_planes_of_a_stack_keep_their_prompts_apart(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    stack = np.stack([blobs, blobs[::-1], blobs[:, ::-1]])
    viewer.add_image(stack, scale=(4, 0.5, 0.5), translate=(7, 0, 0))
    binding = bind(viewer, predictor=predictor)
    viewer.dims.set_point(0, 7)
    click(binding, 20, 20)
    viewer.dims.set_point(0, 7 + 8)
    assert binding.plane == PlaneIndex((1, 2), (2,))
    assert binding.session.prompts.is_empty
    assert not binding.preview.data.any()
    click(binding, 50, 45)
    binding.accept()
    assert binding.labels.data[2].any()
    assert not binding.labels.data[:2].any()
    assert len(binding.points.data) == 1
    viewer.dims.set_point(0, 7)
    assert binding.session.prompts.points == ((20, 20),)
    assert previewed(binding).any()
    binding.undo()  # what was done last, on the plane it was done on
    assert binding.plane == PlaneIndex((1, 2), (2,))
    assert binding.session.prompts.points == ((45, 50),)
    assert not binding.labels.data.any()
    binding.close()


def test_any_two_axes_may_be_shown_in_any_order(predictor: Predictor) -> None:
    viewer = ViewerModel()
    volume = np.random.default_rng(0).integers(0, 4000, (40, 30, 50)).astype(np.uint16)
    viewer.add_image(volume)
    binding = bind(viewer, predictor=predictor)
    viewer.dims.order = (1, 2, 0)
    viewer.dims.set_point(1, 11)
    assert binding.plane == PlaneIndex((0, 2), (11,))
    click(binding, 5, 40)
    assert np.allclose(binding.points.data, [[5, 11, 40]])
    binding.accept()
    labels = binding.labels.data
    assert labels[:, 11].any()
    labels[:, 11] = 0
    assert not labels.any()
    binding.close()


def test_an_image_with_fewer_axes_than_the_viewer(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    viewer.add_image(np.zeros((5, 100, 90), np.uint8))
    binding = bind(viewer, image, predictor=predictor)
    assert binding.plane == PlaneIndex((0, 1), ())
    click(binding, 20, 20)
    assert binding.session.prediction is not None
    viewer.dims.order = (1, 0, 2)
    assert "two of the last 2 of 3 axes" in str(binding.problem)
    with pytest.raises(LayerError, match="two of the last 2 of 3 axes"):
        binding.draw_box((0, 5, 5), (0, 40, 40), done=True)
    viewer.dims.order = (0, 1, 2)
    assert binding.session.prompts.points == ((20, 20),)
    binding.close()


def test_of_lazy_data_the_plane_shown_is_read_and_a_sample_of_others(
    predictor: Predictor,
) -> None:
    seen: set[int] = set()

    def block(block_info: Any) -> npt.NDArray[np.uint8]:
        seen.add(block_info[None]["chunk-location"][0])
        return np.full((1, 64, 64), block_info[None]["chunk-location"][0], np.uint8)

    fine = da.map_blocks(block, chunks=((1,) * 20, (64,), (64,)), dtype=np.uint8, meta=np.ones(()))
    viewer = ViewerModel()
    viewer.add_image([fine, fine[:, ::2, ::2]], multiscale=True, contrast_limits=(0, 20))
    viewer.dims.set_point(0, 4)
    seen.clear()
    binding = bind(viewer, predictor=predictor)
    assert seen == set()
    click(binding, 20, 20)
    # Once for the contrast, which all planes share.
    assert {4} <= seen < set(range(20))
    seen.clear()
    viewer.dims.set_point(0, 7)
    assert seen <= {7}  # napari draws it
    click(binding, 20, 20)
    assert seen == {7}
    assert binding.labels.data.shape == (20, 64, 64)
    assert binding.session.pixels is not None
    assert binding.session.pixels.shape == (64, 64, 3)
    binding.close()


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
def test_labels_of_the_users_own(predictor: Predictor, blobs: Image, kind: str) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    data: Any = np.zeros(blobs.shape, np.int16)
    data[90:, 80:] = 7
    if kind == "zarr":
        data = zarr.array(data, chunks=(32, 32))
    labels = viewer.add_labels(data)
    binding = bind(viewer, image, labels, predictor=predictor)
    click(binding, 20, 20)
    accepted = binding.accept()
    assert accepted is not None
    assert accepted.id == 8
    assert (np.asarray(labels.data)[90:, 80:] == 7).all()
    labels.data_setitem((np.array([0]), np.array([0])), 50)  # painted by hand
    click(binding, 50, 45)
    binding.session.policy = "overwrite"
    assert binding.accept().id == 51  # type: ignore[union-attr]
    binding.close()
    assert labels in viewer.layers


def test_labels_that_cannot_be_written_are_refused(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    lazy = viewer.add_labels(da.zeros(blobs.shape, dtype=np.uint8))
    small = viewer.add_labels(np.zeros((5, 5), np.uint8))
    levels = [da.zeros(blobs.shape, dtype=np.uint8), da.zeros((50, 45), dtype=np.uint8)]
    pyramid = viewer.add_labels(levels, multiscale=True)
    frozen = viewer.add_labels(np.broadcast_to(np.uint8(0), blobs.shape))
    forced = viewer.add_labels(np.zeros(blobs.shape, np.uint8))
    forced._data = np.zeros(blobs.shape, np.float64)
    count = len(viewer.layers)
    for labels, message in (
        (lazy, r"data\.compute\(\)"),
        (small, r"shape \(5, 5\).*\(100, 90\)"),
        (pyramid, "dask"),
        (frozen, "read-only"),
        (forced, r"float64.*array of integers.*new layer"),
    ):
        with pytest.raises(LayerError, match=message):
            bind(viewer, image, labels, predictor=predictor)
    assert len(viewer.layers) == count


def test_renaming_and_moving_layers_changes_nothing(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    for layer in list(viewer.layers):
        layer.name = "SAM 3 points"
    viewer.layers.reverse()
    click(binding, 20, 20)
    binding.accept()
    assert binding.labels.data.any()
    image.visible = False
    click(binding, 50, 45)
    assert binding.session.prediction is not None
    binding.close()


def test_new_image_data_are_looked_at_again(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    binding = bind(viewer, predictor=predictor)
    click(binding, 20, 20)
    first = binding.session.prediction
    image.data = blobs[::-1].copy()
    assert binding.session.pixels is not None
    assert (binding.session.pixels == plane_from_array(blobs[::-1])).all()
    assert binding.session.prediction is not None
    assert binding.session.prediction is not first
    binding.close()


def test_a_session_takes_its_prompts_to_another_image_and_back(
    predictor: Predictor, blobs: Image
) -> None:
    viewer = ViewerModel()
    image, other = (
        viewer.add_image(blobs),
        viewer.add_image(np.zeros((60, 70, 3), np.uint8), rgb=True),
    )
    session = LabelingSession(predictor)
    binding = bind(viewer, image, session=session)
    click(binding, 20, 20)
    labels = binding.labels
    binding.close()
    with bind(viewer, other, session=session) as binding:
        assert session.prompts.is_empty
    with bind(viewer, image, labels, session=session) as binding:
        assert len(binding.points.data) == 1
        assert session.prediction is not None
        binding.accept()
    assert labels.data.any()


def test_two_bindings_of_one_session_take_turns_and_one_outlives_the_other(
    predictor: Predictor, blobs: Image
) -> None:
    viewer = ViewerModel()
    image, other = viewer.add_image(blobs), viewer.add_image(blobs[::-1].copy())
    session = LabelingSession(predictor)
    with bind(viewer, image, session=session) as first:
        second = bind(viewer, other, session=session)
        for binding in (first, second, first):  # the session's plane is that of the one used
            click(binding, 20, 20)
            assert binding.sync.plane.source.is_ours(session.plane_key)
            assert binding.accept() is not None
        second.close()
        click(first, 40, 40)
        assert session.prediction is not None
        accepted = first.accept()
        assert accepted is not None
        assert first.labels.data[40, 40] == accepted.id


def test_errors_go_to_a_listener_or_are_raised(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    viewer.add_image(blobs)
    with (
        bind(viewer, predictor=predictor) as binding,
        pytest.raises(PromptError, match=r"column 500\.0"),
    ):
        binding.points.add([5, 500])
    heard: list[BaseException] = []
    with bind(viewer, predictor=predictor, on_error=heard.append) as binding:
        binding.points.add([5, 500])
        binding.accept()
    assert [type(error) for error in heard] == [MissedError, NothingThereError]


def test_three_dimensional_display_is_explained_and_survived(
    predictor: Predictor, blobs: Image
) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.stack([blobs] * 4))
    heard: list[BaseException] = []
    binding = bind(viewer, predictor=predictor, on_error=heard.append)
    click(binding, 20, 20)
    viewer.dims.ndisplay = 3
    assert heard == [], "looking is fine"
    assert binding.plane is None
    viewer.dims.ndisplay = 2
    assert binding.session.prompts.points == ((20, 20),)
    assert binding.session.prediction is not None
    binding.close()


def test_no_image(predictor: Predictor) -> None:
    with pytest.raises(LayerError, match="no image layer in the viewer"):
        bind(ViewerModel(), predictor=predictor)
