"""Planes on which no pixel is finite: answered in words wherever masks are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.utils.notifications import notification_manager

from napari_sam3.batch import segment
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.lazy import LazyImage
from napari_sam3.images.plane_image import Channel, RenderedPlane
from napari_sam3.session.headless import segment_plane
from sam3.errors import ImageError
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import question, stack
from tests.napari_sam3.conftest import OpenDesk

NO_VALUE = r"axis 0 = 2 of .*no finite value"


@pytest.fixture
def floats() -> npt.NDArray[np.float32]:
    """Return a stack whose plane 2 has no finite value."""
    image = stack().astype(np.float32)
    image[2] = np.nan
    image[2, ::2] = np.inf
    image[2, 1::4] = -np.inf
    return image


@pytest.mark.parametrize("name", ["repeated", "automatic"])
def test_a_batch_reports_the_plane_and_goes_on(
    name: str, floats: npt.NDArray[Any], predictor: Predictor, tmp_path: Path
) -> None:
    results = list(segment(floats, question(name), predictor, output=tmp_path / "labels.zarr"))
    assert len(results) == len(floats)
    for z, result in enumerate(results):
        assert result.position == (z,)
        assert (result.error is not None) == (z == 2)
    assert re.search(NO_VALUE, str(results[2].error))


def test_a_batch_propagates_across_such_a_plane(
    floats: npt.NDArray[Any], predictor: Predictor
) -> None:
    from napari_sam3.batch import BatchPrompts, Propagate
    from tests.napari_sam3.batch_samples import LOOSE

    prompts = BatchPrompts({(1,): {1: PromptSet(box=(8, 8, 33, 32))}})
    results = list(segment(floats, Propagate(prompts, rules=LOOSE), predictor))
    failed = {result.position: str(result.error) for result in results if result.error is not None}
    assert list(failed) == [(2,)]
    assert "no finite value" in failed[2,]


def test_a_script_is_told(floats: npt.NDArray[Any], predictor: Predictor) -> None:
    image, prompts = LazyImage.of(floats), [PromptSet(((20.0, 20.0),), (1,))]
    with pytest.raises(ImageError, match=NO_VALUE):
        segment_plane(image, prompts, predictor, position=(2,))
    assert segment_plane(image, prompts, predictor, position=(3,)).labels.shape == floats.shape


def test_one_finite_value_anywhere_is_enough(tmp_path: Path) -> None:
    import dask.array as da

    values = np.full((2, 700, 900), np.nan, np.float32)
    values[0, 641, 777] = 5
    for data in (values, da.from_array(values, chunks=(1, 128, 128))):
        planes = [RenderedPlane(Channel(data, PlaneIndex((1, 2), (z,)))) for z in (0, 1)]
        planes[0].check_values()
        with pytest.raises(ImageError, match=r"axis 0 = 1 of .*all 630000 pixels"):
            planes[1].check_values()
    both = [Channel(values, PlaneIndex((1, 2), (z,)), contrast=(0, 1)) for z in (1, 0)]
    RenderedPlane(*both).check_values()


def test_a_click_is_answered_in_words(open_desk: OpenDesk, floats: npt.NDArray[Any]) -> None:
    desk = open_desk(floats, contrast_limits=(0, 3000))
    before = len(notification_manager.records)
    for z in (1, 2, 3, 2):
        desk.viewer.dims.set_point(0, z)
        desk.settle()
        desk.hand.wait_until(lambda: desk.session.busy is False, "the encoding to end")
    assert len(notification_manager.records) == before, "nothing is told for looking at it"
    assert "no finite value" not in desk.status
    desk.hand.click((20, 20))
    told = lambda: "no finite value" in desk.status  # noqa: E731
    desk.hand.wait_until(told, "the message", 20)
    assert "axis 0 = 2" in desk.status
    assert desk.session.prediction is None
    desk.viewer.dims.set_point(0, 3)
    desk.hand.click((20, 20))
    desk.settle()
    assert desk.session.prediction is not None
