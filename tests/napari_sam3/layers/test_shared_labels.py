"""Labels that others write to as well: no id twice, deleted layers, counts, what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam3 import bind
from napari_sam3.core.errors import LabelError
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels import largest_label
from napari_sam3.labels.largest_label import LargestLabel
from sam3.predictor import Predictor
from tests.napari_sam3.session.test_restoring import Desk, plane


def test_no_id_is_given_that_another_tool_wrote(predictor: Predictor) -> None:
    desk = Desk(predictor)
    desk.accept((0, 2, 2))
    desk.data[1, 30:40, 30:40] = 2  # in place, without a word
    desk.accept((0, 2, 20))
    assert [one.id for one in desk.session.objects] == [1, 3]
    desk.session.delete(3)
    assert np.count_nonzero(desk.data == 2) == 100


def test_two_widgets_on_one_labels_layer(predictor: Predictor) -> None:
    desk = Desk(predictor)
    with bind(desk.viewer, desk.image, desk.binding.labels, predictor=predictor) as other:
        desk.accept((0, 2, 2))
        other.points.add([0, 45, 40])
        second = other.accept()
        assert second is not None
        desk.accept((0, 2, 20))
        assert [one.id for one in desk.session.objects] == [1, 3]
        assert second.id == 2
        # An id that was taken back here may be in use there: it does not come back.
        desk.session.undo()
        other.undo()
        other.points.add([0, 25, 40])
        third = other.accept()
        assert third is not None
        assert third.id == 3
        with pytest.raises(LabelError, match="belongs to another object"):
            desk.session.redo()


def test_an_object_accepted_while_a_batch_comes_in(predictor: Predictor) -> None:
    from napari_sam3.batch import Instance
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.rendering import Rendering

    desk = Desk(predictor)
    writing = desk.session.begin_batch(desk.binding.labels_on(plane(0)))
    for z, number in ((0, 1), (1, 2)):
        target = desk.binding.labels_on(plane(z))
        found = [Instance(number, PlaneMask.from_array(np.ones((4, 4), bool), 5, 5), 0.5)]
        desk.session.write_batch(writing, target.key, target, found, predictor, Rendering())
        if z == 0:
            desk.data[2, 3:9, 3:9] = 2
    assert [one.id for one in desk.session.objects] == [1, 3]


@pytest.mark.parametrize("kind", ["memory", "folder", "shards"])
def test_the_largest_label_of_zarr(kind: str, tmp_path: Path) -> None:
    import zarr

    store = zarr.storage.MemoryStore() if kind == "memory" else str(tmp_path / "labels.zarr")
    options: dict[str, Any] = {"shards": (2, 8, 8)} if kind == "shards" else {}
    array = zarr.create_array(store, shape=(4, 17, 16), chunks=(1, 4, 4), dtype="u4", **options)
    largest = LargestLabel()
    assert largest.of(array) == 0
    rng = np.random.default_rng(0)
    for label in (3, 9, 4, 12, 0, 5):
        z, y, x = (int(n) for n in rng.integers(0, (4, 17, 16)))
        array[z, y, x] = label
        assert largest.of(array) == int(np.max(np.asarray(array[:])))
    array[:] = 0
    assert largest.of(array) == 0
    other: Any = zarr.open(store, mode="r+") if kind != "memory" else array
    other[3, 16, 15] = 77
    assert largest.of(array) == 77


def test_the_largest_label_of_an_array_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest_label, "LARGE", 1000)
    monkeypatch.setattr(largest_label, "PART", 300)
    rng, largest = np.random.default_rng(0), LargestLabel()
    whole = np.zeros((1, 61, 47), np.uint16)
    for array in (whole, whole[0], whole[0].T, whole[:, ::2, ::3], np.zeros((7, 300), np.int32)):
        array[...] = 0
        assert largest.of(array) == 0
        for label in (5, 40, 41, 300):
            array.flat[rng.integers(array.size)] = label  # in place, without a word
            assert largest.of(array) == label
    assert largest.of(np.zeros((0, 4000), np.uint8)) == 0


def test_a_deleted_labels_layer_comes_back_with_its_objects(predictor: Predictor) -> None:
    desk = Desk(predictor)
    desk.accept((0, 2, 2), (1, 2, 2))
    labels, before = desk.binding.labels, desk.data.copy()
    for role in ("labels", "preview", "points"):
        desk.viewer.layers.remove(getattr(desk.binding.layers, role))
    desk.binding.restore()
    assert [layer.name for layer in desk.viewer.layers][1] == labels.name
    np.testing.assert_array_equal(desk.data, before)
    assert sorted(desk.binding.labels.features["index"]) == [1, 2]
    assert desk.binding.accepted == 2
    desk.accept((2, 2, 2))
    assert desk.session.objects[-1].id == 3
    for _ in range(3):
        desk.binding.undo()
    assert not desk.data.any()


def test_objects_of_this_image_are_counted_not_their_planes(predictor: Predictor) -> None:
    desk = Desk(predictor)
    desk.write({number: [(z, 2, 10 * number) for z in range(3)] for number in (1, 2, 3)})
    assert desk.binding.accepted == 3
    second = desk.viewer.add_image(np.zeros((3, 60, 50), np.uint8))
    with bind(desk.viewer, second, session=desk.session) as other:
        assert other.accepted == 0
    desk.binding.undo()
    assert desk.binding.accepted == 0


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.usefixtures("qapp")  # which napari's proxies ask for
def test_the_old_label_is_hidden_while_it_is_refined(
    predictor: Predictor, direct: bool, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")
    desk = Desk(predictor, proxied=proxied)
    desk.accept((0, 2, 2), (0, 20, 20), (1, 20, 20))
    labels = desk.binding.labels
    if direct:
        from napari.utils.colormaps import DirectLabelColormap

        labels.colormap = DirectLabelColormap(color_dict={None: "red", 1: "blue"})
    colors = labels.colormap
    shown = [labels.get_color(n) for n in (1, 2, 3)]
    desk.session.reopen(1)
    assert labels.get_color(1)[3] == 0
    np.testing.assert_allclose(labels.get_color(2), shown[1])
    assert (labels.data == 1).any()
    desk.viewer.dims.set_point(0, 1)
    assert labels.colormap == colors
    desk.viewer.dims.set_point(0, 0)
    desk.session.set_plane(  # what a click on the plane does
        desk.binding.sync.plane.source.rendered(),
        desk.binding.sync.plane.source.key(plane(0)),
        desk.binding.labels_on(PlaneIndex((1, 2), (0,))),
    )
    assert labels.get_color(1)[3] == 0
    desk.session.reject()
    assert labels.colormap == colors
    desk.session.reopen(2)
    desk.binding.close()
    np.testing.assert_allclose([labels.get_color(n) for n in (1, 2, 3)], shown)


def test_a_miss_is_a_quiet_line(open_desk: Any, blobs: Any) -> None:
    from napari_sam3.qt.notices import _on_view

    desk = open_desk(blobs)
    desk.hand.move((50, 20))
    for key, said in (("K", "No label"), ("N", "No mask to accept")):
        desk.hand.type(key)
        assert desk.status.startswith(said)
        assert not desk.widget.panel.status.styleSheet()
        assert not _on_view()
    # A click in vain is an error still, and is said as one.
    desk.hand.click((50, 20), right=True)
    desk.settle()
    assert desk.widget.panel.status.styleSheet()
