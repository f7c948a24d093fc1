"""Encoded images on disk, switched on in the panel; and the outline of the field in use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from npe2 import PluginManifest

from napari_sam3.images.lazy import LazyImage
from napari_sam3.inference.precompute import all_planes, fill, plan_fields
from napari_sam3.inference.store.store import EmbeddingStore, default_store_folder
from napari_sam3.layers.field_outline import FIELD_NAME
from napari_sam3.qt.settings import PLUGIN, read_settings, write_setting
from sam3.predictor import Predictor

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, npe2pm: Any) -> None:
    """Let napari know the plugin and its settings, and keep stores of tests apart."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))


@pytest.fixture
def encoded(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Note the shape (height, width) of every image that the model encodes."""
    found: list[tuple[int, int]] = []
    encode = predictor.encode

    def noting(image: Any, *rest: Any, **options: Any) -> Any:
        found.append(image.shape[:2])
        return encode(image, *rest, **options)

    monkeypatch.setattr(predictor, "encode", noting)
    return found


def switch_on(desk: Any) -> EmbeddingStore:
    desk.widget.panel.advanced.store.click()
    desk.hand.wait_until(lambda: desk.session.cache.store is not None, "the store", 30)
    store: EmbeddingStore = desk.session.cache.store
    return store


def pick(combo: Any, start: str) -> None:
    index = next(i for i in range(combo.count()) if combo.itemText(i).startswith(start))
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def test_what_was_encoded_is_there_the_next_time(
    open_desk: OpenDesk, blobs: Image, encoded: list[tuple[int, int]]
) -> None:
    write_setting("prefetch", False)
    desk = open_desk(blobs)
    desk.hand.click((20, 65))
    desk.settle()
    assert encoded, "before there is a store"
    assert not desk.widget.panel.advanced.store.isChecked()
    store = switch_on(desk)
    assert store.path == default_store_folder()
    for place in ((20, 20), (20, 65)):
        desk.press("reject")
        desk.hand.click(place)
        desk.settle()
    assert store.info().fields == len(encoded)
    desk.widget.panel.advanced.unfold(True)
    desk.hand.wait_until(
        lambda: f"{len(encoded)} fields" in desk.widget.panel.advanced.stored.text(), "the count"
    )
    mask = desk.session.prediction.mask
    desk.widget.shut_down()
    assert desk.session.cache.store is None
    assert desk.widget.wait(30)

    encoded.clear()
    again = open_desk(blobs)
    again.hand.wait_until(lambda: again.session.cache.store is not None, "the store", 30)
    assert again.widget.panel.advanced.store.isChecked()
    for place in ((20, 20), (20, 65)):
        again.press("reject")
        again.hand.click(place)
        again.settle()
    assert encoded == []
    assert again.session.prediction.mask.region == mask.region
    assert np.array_equal(again.session.prediction.mask.crop, mask.crop)


def test_it_can_be_switched_off(
    open_desk: OpenDesk, blobs: Image, encoded: list[tuple[int, int]]
) -> None:
    write_setting("prefetch", False)
    desk = open_desk(blobs)
    store = switch_on(desk)
    desk.widget.panel.advanced.store.click()
    assert desk.session.cache.store is None
    assert read_settings().store is False
    desk.hand.click((20, 20))
    desk.settle()
    assert encoded
    assert store.info().fields == 0


def test_a_folder_that_is_no_store_is_refused_and_labelling_goes_on(
    open_desk: OpenDesk, blobs: Image, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    desk = open_desk(blobs)
    write_setting("store_folder", str(tmp_path / "other"))
    write_setting("store", True)
    desk.hand.wait_until(lambda: "not an embedding store" in desk.status, "the error", 30)
    assert desk.session.cache.store is None
    assert not desk.widget.panel.advanced.store.isChecked()
    assert [one.name for one in (tmp_path / "other").iterdir()] == ["notes.txt"]
    desk.hand.click((20, 20))
    desk.settle()
    assert desk.session.prediction is not None


def test_the_contrast_of_a_store_is_offered(
    open_desk: OpenDesk,
    blobs: Image,
    predictor: Predictor,
    encoded: list[tuple[int, int]],
    tmp_path: Path,
) -> None:
    image = LazyImage(blobs)
    store = EmbeddingStore(tmp_path / "store")
    for level in (-1, 0):
        plan = plan_fields(
            image, all_planes(image), predictor.config, level=level, contrast=(10.0, 100.0)
        )
        assert list(fill(plan, predictor, store))
    encoded.clear()

    write_setting("prefetch", False)
    desk = open_desk(blobs)
    write_setting("store_folder", str(tmp_path / "store"))
    switch_on(desk)
    contrast = desk.widget.panel.advanced.combos["contrast"]
    pick(contrast, "As stored: 10 to 100")
    assert contrast.currentText() == "As stored: 10 to 100"
    desk.hand.click((20, 20))
    desk.settle()
    assert encoded == []
    assert desk.session._parts.drafts.plane.image.rendering.limits == ((10.0, 100.0),)
    # It is of this store and not remembered for others.
    assert read_settings().contrast == "image"
    write_setting("prefetch", True)
    assert desk.session._parts.drafts.plane.image.rendering.limits == ((10.0, 100.0),)


def test_channels_of_a_store_that_the_image_has_not_are_refused(
    open_desk: OpenDesk, blobs: Image
) -> None:
    from napari_sam3.core.rendering import Rendering

    desk = open_desk(blobs)
    desk.widget.panel.advanced.offer_stored(
        [("As stored: DAPI", Rendering(("DAPI",), ((0.0, 9.0),)))]
    )
    pick(desk.widget.panel.advanced.combos["contrast"], "As stored: DAPI")
    assert "the stored fields were made with: DAPI. Expected" in desk.status
    assert desk.widget.binding.session.plane_shape == blobs.shape


def test_the_field_in_use_is_outlined_on_demand(open_desk: OpenDesk, blobs: Image) -> None:
    desk = open_desk(np.stack([np.tile(blobs, (3, 3))] * 2))
    box = desk.widget.panel.advanced.field_outline
    names = {layer.name for layer in desk.viewer.layers}
    box.click()
    active = desk.viewer.layers.selection.active
    assert active.name == "SAM 3 points"
    outline = desk.viewer.layers[FIELD_NAME]
    assert len(outline.data) == 0
    desk.hand.click((50, 45))
    desk.settle()
    field = desk.session.prediction.field
    assert field.shape != desk.session.plane_shape
    corners = np.asarray(outline.data[0])
    plane = desk.widget.binding.plane
    assert set(corners[:, 0]) == set(plane.index)
    assert (corners[:, 1].min(), corners[:, 1].max()) == (field.rows[0] - 0.5, field.rows[1] - 0.5)
    assert (corners[:, 2].min(), corners[:, 2].max()) == tuple(np.array(field.columns) - 0.5)
    assert not outline.editable
    desk.press("accept")
    assert len(outline.data) == 0
    # Deleted by hand, it comes back with the next mask; switched off, it is empty.
    desk.viewer.layers.remove(outline)
    desk.widget.binding.listen()
    desk.hand.click((50, 45))
    desk.settle()
    assert FIELD_NAME in desk.viewer.layers
    assert desk.viewer.layers.selection.active.name == "SAM 3 points"
    box.click()
    assert {layer.name for layer in desk.viewer.layers} == {*names, FIELD_NAME}
    assert len(desk.viewer.layers[FIELD_NAME].data) == 0
