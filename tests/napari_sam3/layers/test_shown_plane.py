"""The plane that is worked on is the plane that napari shows, and what it shows is an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from napari.components import ViewerModel
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_sam3 import bind
from napari_sam3.core.errors import LabelError, LayerError, MisplacedError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.layers.bind import Binding
from napari_sam3.layers.coordinates import shown_plane
from sam3.errors import ImageError
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]

TURN = np.eye(4)
TURN[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
SHEAR = np.eye(4)
SHEAR[0, 2] = 0.3

PLACES: dict[str, dict[str, Any]] = {
    "plain": {},
    "thirds": {"scale": (0.3, 0.5, 0.25), "translate": (-2.5, 3, 1000.1)},
    "negative": {"scale": (-0.5, 2, -1)},
    "turned in the plane": {"rotate": 30, "scale": (2, 1, 1)},
    "millimetres": {"units": ("mm", "mm", "mm"), "scale": (0.004, 0.001, 0.001)},
    "oblique": {"affine": TURN},
    "sheared": {"affine": SHEAR},
}


def corners(z: float, y0: float, x0: float, y1: float, x1: float) -> list[list[float]]:
    return [[z, y0, x0], [z, y0, x1], [z, y1, x1], [z, y1, x0]]


# By napari, about oblique slices.
@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
@pytest.mark.parametrize("mode", ["none", "max"])
@pytest.mark.parametrize("name", PLACES)
def test_the_plane_is_the_slice_of_napari_or_none(name: str, mode: str) -> None:
    data = np.arange(5.0 * 6 * 7).reshape(5, 6, 7)
    viewer = ViewerModel()
    image = viewer.add_image(data, projection_mode=mode, **PLACES[name])
    options = {"units": ("um",) * 4, "scale": (1, 1000, 1000, 1000)} if "mill" in name else {}
    viewer.add_image(np.zeros((2, 9, 9, 9)), visible=False, **options)
    same, excused = 0, []
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)):
        viewer.dims.order = order
        along = order[1]
        span = viewer.dims.range[along]
        for place in np.linspace(span.start, span.stop, 15):
            viewer.dims.set_point(along, place)
            try:
                plane = shown_plane(image, viewer.dims)
            except LayerError as error:
                excused.append(image._slice.empty or "are oblique" in str(error))
                continue
            same += 1
            raw = image._slice.image.raw
            assert not image._slice.empty
            assert sorted(raw.ravel()) == sorted(data[plane.slices()].ravel())
    # Axes 0 and 1, turned into each other, are never shown together in these orders.
    assert same or name == "oblique"
    assert excused
    assert all(excused)


def test_halves_go_where_napari_goes_and_take_their_click_along(
    predictor: Predictor, blobs: Image
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.stack([blobs] * 5), scale=(0.3, 1, 1))
    binding = bind(viewer, image, predictor=predictor)
    binding.session.policy = "overwrite"  # two of the places are on one plane
    for place in (0.15, 0.45, 0.75, 1.05):
        viewer.dims.set_point(0, place)
        plane = binding.plane
        assert plane is not None
        binding.points.add(binding.points.world_to_data((place, 50, 45)))
        assert binding.session.prompts.points == ((45, 50),), place
        shown = binding.preview._slice
        assert not shown.empty
        assert shown.image.raw.any()
        accepted = binding.accept()
        assert accepted is not None
        assert (binding.labels._slice.image.raw == accepted.id).any()
        assert (binding.labels.data[plane.slices()] == accepted.id).any()
        binding.boxes.add_rectangles(corners(place / 0.3, 5, 5, 40, 40))
        assert binding.session.prompts.box == (5, 5, 40, 40)
        binding.reject()
    binding.close()


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
def test_beyond_the_end_and_thick_slices_write_nothing(
    predictor: Predictor, blobs: Image, margin: float
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.stack([blobs] * 3), projection_mode="mean")
    viewer.add_image(np.zeros((9, 100, 90)), visible=False)
    said: list[str] = []
    on_error = lambda error: said.append(str(error))  # noqa: E731
    binding = bind(viewer, image, predictor=predictor, on_error=on_error)
    viewer.dims.set_point(0, 1)
    binding.points.add([1, 50, 45])
    if margin:
        viewer.dims.margin_left = viewer.dims.margin_right = (margin, 0, 0)
    else:
        viewer.dims.set_point(0, 6)
    if margin == 0.3:
        assert binding.plane == PlaneIndex((1, 2), (1,))
        assert binding.accept() is not None
        return
    wanted = "is shown: planes 0 to 2" if margin else "Expected 0 to 2"
    assert wanted in str(binding.problem)
    assert said == [], "looking is fine"
    assert not binding.ready_for_click((6, 50, 45))
    binding.draw_box((6, 5, 5), (6, 40, 40), done=True)
    assert binding.accept() is None
    assert len(binding.boxes.data) == 0
    assert not binding.labels.data.any()
    assert wanted in said[-1]
    viewer.dims.margin_left = viewer.dims.margin_right = (0, 0, 0)
    viewer.dims.set_point(0, 1)
    assert binding.accept() is not None
    binding.close()


def test_own_layers_follow_the_image(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.stack([blobs] * 3))
    binding = bind(viewer, image, predictor=predictor)
    viewer.dims.set_point(0, 1)
    binding.points.add([1, 50, 45])
    binding.boxes.add_rectangles(corners(1, 30, 25, 70, 65))
    prompts = binding.session.prompts
    image.scale, image.translate = (4, 0.5, 0.5), (7, -3, 2)
    image.units = ("um",) * 3
    image.rotate = 20
    viewer.dims.set_point(0, 11)
    assert binding.session.prompts == prompts
    for layer in (binding.labels, binding.points, binding.boxes):
        assert np.allclose(layer.data_to_world((1, 30, 20)), image.data_to_world((1, 30, 20)))
        assert layer.units == image.units
    assert not binding.preview._slice.empty
    accepted = binding.accept()
    assert accepted is not None
    place = image.data_to_world((1, 50, 45))
    binding.delete(place)
    assert not binding.labels.data.any()
    binding.close()
    image.scale = (1, 1, 1)
    again = bind(viewer, image, binding.labels, predictor=predictor)
    assert np.allclose(again.labels.scale, 1)
    again.close()


@pytest.mark.parametrize(
    "place",
    [{"scale": (2, 2)}, {"translate": (0, 1)}, {"rotate": 3}, {"affine": np.diag([1, 1.01, 1])}],
)
def test_foreign_labels_elsewhere_are_refused_or_aligned(
    predictor: Predictor, blobs: Image, place: dict[str, Any]
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    labels = viewer.add_labels(np.zeros(blobs.shape, int), **place)
    count = len(viewer.layers)
    with pytest.raises(MisplacedError, match="is displaced from the image"):
        bind(viewer, image, labels, predictor=predictor)
    assert len(viewer.layers) == count
    binding = bind(viewer, image, labels, align=True, predictor=predictor)
    assert np.allclose(labels.data_to_world((80, 80)), (80, 80))
    labels.scale = (3, 3)
    with pytest.raises(MisplacedError):
        binding.delete((30, 30))
    binding.close()


def test_labels_in_other_units_at_the_same_place_are_taken(
    predictor: Predictor, blobs: Image
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs, scale=(0.2, 0.2), units=("um", "um"))
    same = {"nm": (200, 200), "pixel": (0.2, 0.2)}
    for unit, scale in same.items():
        labels = viewer.add_labels(np.zeros(blobs.shape, int), scale=scale, units=(unit, unit))
        bind(viewer, image, labels, predictor=predictor).close()
        viewer.layers.remove(labels)


def in_hand(predictor: Predictor, blobs: Image, **options: Any) -> Binding:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    labels = viewer.add_labels(np.zeros(blobs.shape, options.pop("dtype", np.uint32)), **options)
    binding = bind(viewer, image, labels, predictor=predictor)
    binding.points.add([50, 45])
    return binding


def test_locked_labels_are_not_written(predictor: Predictor, blobs: Image) -> None:
    binding = in_hand(predictor, blobs)
    binding.labels.editable = False
    with pytest.raises(LabelError, match="is locked"):
        binding.accept()
    assert not binding.labels.data.any()
    binding.labels.editable = True
    accepted = binding.accept()
    assert accepted is not None
    label, before = accepted.id, binding.labels.data.copy()
    y, x = np.argwhere(before)[0]
    binding.labels.editable = False
    for command in (
        lambda: binding.delete((y, x)),
        lambda: binding.session.split(label),
        binding.undo,
    ):
        with pytest.raises(LabelError):
            command()
        assert (binding.labels.data == before).all()
    binding.labels.editable = True
    binding.undo()
    assert not binding.labels.data.any()
    binding.labels.editable = False
    with pytest.raises(LabelError, match="is locked"):
        binding.redo()
    assert not binding.labels.data.any()
    binding.close()


COLORS: dict[str, Callable[[], Any]] = {
    "direct": lambda: DirectLabelColormap(color_dict={None: "transparent", 7: "red"}),
    "named": lambda: DirectLabelColormap(color_dict={None: "blue", 1: "transparent"}),
    "cyclic": lambda: CyclicLabelColormap(colors=np.array([[0, 0, 0, 0]] * 2 + [[1, 0, 0, 1.0]])),
    "background": lambda: CyclicLabelColormap(
        colors=np.array([[0, 0, 0, 0], [1, 0, 0, 1.0], [0, 1, 0, 1.0]]), background_value=1
    ),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("name", COLORS)
def test_new_objects_are_seen(predictor: Predictor, blobs: Image, name: str, dtype: Any) -> None:
    binding = in_hand(predictor, blobs, colormap=COLORS[name](), dtype=dtype)
    accepted = binding.accept()
    assert accepted is not None
    assert binding.labels.colormap.map(np.array([accepted.id]))[0, 3] == 1
    if name == "direct":
        assert binding.labels.colormap.map(np.array([2]))[0, 3] == 0
        assert np.allclose(binding.labels.colormap.map(np.array([7]))[0], (1, 0, 0, 1))
    binding.set_classes({"cell": "red"}, show=True)
    binding.points.add([20, 20])
    second = binding.accept()
    assert second is not None
    binding.set_classes({})
    assert binding.labels.colormap.map(np.array([second.id]))[0, 3] == 1
    binding.close()


def test_a_new_object_is_seen_where_only_the_selected_label_was(
    predictor: Predictor, blobs: Image
) -> None:
    binding = in_hand(predictor, blobs)
    binding.labels.show_selected_label, binding.labels.selected_label = True, 9
    accepted = binding.accept()
    assert accepted is not None
    assert binding.labels.selected_label == 9
    assert not binding.labels.show_selected_label
    binding.close()


@pytest.mark.parametrize("name", COLORS)
def test_a_label_of_others_is_seen_after_it_was_refined(
    predictor: Predictor, blobs: Image, name: str
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    data = (blobs > 100).astype(int)
    labels = viewer.add_labels(data, colormap=COLORS[name]())
    binding = bind(viewer, image, labels, predictor=predictor)
    binding.session.policy = "overwrite"
    binding.refine((50, 45))
    binding.points.add([50, 45])
    accepted = binding.accept()
    assert accepted is not None
    assert labels.colormap.map(np.array([accepted.id]))[0, 3] == 1
    assert isinstance(labels.colormap, type(COLORS[name]()))
    binding.close()


class Wrapped:
    """An array of another library, as napari's protocol of layer data asks for."""

    def __init__(self, array: npt.NDArray[Any], dtype: Any = None) -> None:
        self.array, self.dtype = array, array.dtype if dtype is None else dtype
        self.shape, self.ndim, self.size = array.shape, array.ndim, array.size

    def __getitem__(self, index: Any) -> Wrapped:
        return Wrapped(self.array[index], self.dtype)

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.asarray(self.array, dtype)


class ForeignType:
    """A data type that numpy does not know."""

    def __str__(self) -> str:
        return "other.uint8"


def xarray_of(blobs: Image) -> Any:
    return pytest.importorskip("xarray").DataArray(blobs)


SHOWN: dict[str, Callable[[Image], Any]] = {
    "tensor": torch.from_numpy,
    "float tensor": lambda blobs: torch.from_numpy(blobs).float(),
    "stack": lambda blobs: torch.from_numpy(np.stack([blobs] * 2)),
    "colours": lambda blobs: torch.from_numpy(np.stack([blobs] * 3, axis=-1)),
    "levels": lambda blobs: [Wrapped(blobs, ForeignType()), Wrapped(blobs[::2, ::2])],
    "jax-like": Wrapped,
    "foreign type": lambda blobs: Wrapped(blobs, ForeignType()),
    "xarray": xarray_of,
    "big-endian": lambda blobs: blobs.astype(">u2"),
    "masked": np.ma.masked_array,
}


@pytest.mark.parametrize("name", SHOWN)
def test_any_array_that_napari_shows_is_labelled(
    predictor: Predictor, blobs: Image, name: str
) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(SHOWN[name](blobs), multiscale=name == "levels" or None)
    binding = bind(viewer, image, predictor=predictor)
    binding.points.add([0, 50, 45] if name == "stack" else [50, 45])
    assert binding.accept() is not None
    thumbnail = binding.thumbnail()
    assert thumbnail is not None
    assert thumbnail[50, 45].mean() >= 200
    plane = PlaneIndex((1, 2), (1,)) if name == "stack" else PlaneIndex()
    again = binding.snapshot().rendered(plane).region(slice(None), slice(None))
    assert again[50, 45].mean() >= 200
    binding.keep_journal(folder=None)
    binding.close(discard_journal=True)


@pytest.mark.parametrize("kind", ["gradients", "bfloat16"])
def test_tensors_that_numpy_does_not_read(predictor: Predictor, blobs: Image, kind: str) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(torch.zeros(100, 90))
    tensor = torch.from_numpy(blobs).float()
    image._data = tensor.requires_grad_() if kind == "gradients" else tensor.bfloat16()
    if kind == "gradients":
        bind(viewer, image, predictor=predictor).close()
    else:
        with pytest.raises(ImageError, match=r"torch Tensor of torch.bfloat16"):
            bind(viewer, image, predictor=predictor)
        assert list(viewer.layers) == [image]


def test_labels_that_are_no_arrays_to_write_to(predictor: Predictor, blobs: Image) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(blobs)
    for data in (torch.zeros(100, 90, dtype=torch.int32), Wrapped(blobs.astype(int))):
        labels = viewer.add_labels(data)
        with pytest.raises(LayerError, match="cannot be written to"):
            bind(viewer, image, labels, predictor=predictor)


def test_the_window_shows_any_error_of_an_image(
    open_desk: Callable[..., Any], blobs: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk()
    data = Wrapped(blobs)
    image = desk.viewer.add_image(data, contrast_limits=(0, 255))
    desk.hand.wait_until(lambda: desk.widget.binding is not None, "the layers", 30)
    desk.hand.wait_until(lambda: not desk.session.busy, "the model")
    # A file that goes away: what is shown is kept by napari, what is new cannot be read.
    desk.widget.set_image(None)
    del data.shape
    assert not desk.widget.set_image(image)
    assert "AttributeError" in desk.status
    data.shape = blobs.shape
    assert desk.widget.set_image(image)
