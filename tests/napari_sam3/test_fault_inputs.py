"""Generated images and prompts: our error or a result of the right shape, and nothing else."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from napari_sam3 import LabelingSession, PromptSet, plane_from_array
from napari_sam3.images.open import LoadedImage
from napari_sam3.session.headless import segment_plane
from sam3.config import get_preset
from sam3.errors import Sam3Error
from sam3.model_builder import build_click_model
from sam3.predictor import Predictor
from tests.napari_sam3.fault_samples import (
    BOXES,
    NONSENSE,
    SANE,
    XY,
    arrays,
    faults,
    pictures,
)

#: Far above what the smallest model takes for any of these images on a busy machine.
MOST_SECONDS = 60.0


@pytest.fixture(scope="module")
def model() -> Predictor:
    """The embedded architecture with random weights at its smallest input: 10 ms an image."""
    config = dataclasses.replace(get_preset("tiny"), resolution=56)
    return Predictor(build_click_model(config, seed=0).eval(), device="cpu")


@contextmanager
def ours_alone() -> Iterator[None]:
    """Let errors of ours pass, if they say something, and nothing else; and no hang."""
    began = time.monotonic()
    try:
        yield
    except Sam3Error as error:
        event(f"refused with {type(error).__name__}")
    else:
        event("done")
    assert time.monotonic() - began < MOST_SECONDS


@faults(0.4)
@given(
    image=pictures().map(itemgetter(0)) | arrays() | NONSENSE,
    points=st.none() | st.lists(XY, max_size=4) | NONSENSE,
    labels=st.none() | st.lists(st.sampled_from((1, 1, 0, -1, 2, 0.5)), max_size=4) | NONSENSE,
    box=st.none() | BOXES | NONSENSE,
    mask=st.none() | st.sampled_from((0, 1, 16, 5)),
    multi=st.booleans(),
    form=st.sampled_from(("masks", "logits", "crop")),
    sane=st.booleans(),
)
def test_the_predictor(
    model: Predictor,
    image: Any,
    points: Any,
    labels: Any,
    box: Any,
    mask: int | None,
    multi: bool,
    form: str,
    sane: bool,
) -> None:
    if sane:  # pixels between 0 and 1, and a click on the first of them
        if isinstance(image, np.ndarray) and image.dtype.kind == "f":
            image = np.abs(image / np.asarray(200, image.dtype))
        points, labels, box = [[0, 0]], [1], None
    side = 4 * model.config.resolution // model.config.trunk.patch_size
    logits = None if mask is None or sane else np.zeros((1, side + mask, side), np.float32)
    with ours_alone():
        features = model.encode(image)
        shape = np.asarray(image).shape[:2]
        assert features.size == shape
        answer = model.predict(
            features,
            points,
            labels,
            box,
            logits,
            multi,
            return_logits=form == "logits",
            crop=form == "crop",
        )
        count = 3 if multi else 1
        assert answer.scores.shape == (count,)
        assert np.isfinite(answer.scores).all()
        if form != "crop":
            assert answer.masks.shape == (count, *shape)
            assert answer.masks.dtype == (bool if form == "masks" else np.float32)


def prompt_sets() -> st.SearchStrategy[tuple[Any, Any, Any]]:
    """Arguments of `PromptSet.from_arrays`, half of them such as people give."""
    sane = st.tuples(st.lists(st.tuples(SANE, SANE), min_size=1, max_size=3), st.none(), st.none())
    points = st.lists(XY, max_size=4)
    polarities = st.none() | st.lists(st.sampled_from((1, 0, "foreground", "x", 7)), max_size=4)
    return sane | st.tuples(points | NONSENSE, polarities, st.none() | BOXES | NONSENSE)


LABEL_DTYPES = st.sampled_from(("i4", "i4", "u1", "u2", "i8", "u8", "i1", "f4", "bool", "O"))


@faults(0.4)
@given(
    picture=pictures(),
    prompts=st.lists(prompt_sets(), max_size=3),
    kind=LABEL_DTYPES,
    start=st.sampled_from((0, 0, 5, 127, 255)),
    misfit=st.sampled_from((0, 0, 0, 1)),
    policy=st.sampled_from(("keep", "overwrite", "inside")),
    level=st.sampled_from((None, None, 0, 1, -2, 7, -9)),
    mode=st.sampled_from(("one", "many")),
)
def test_a_session(
    model: Predictor,
    picture: tuple[npt.NDArray[Any], bool],
    prompts: list[tuple[Any, Any, Any]],
    kind: str,
    start: int,
    misfit: int,
    policy: Any,
    level: int | None,
    mode: Any,
) -> None:
    data, rgb = picture
    session = LabelingSession(model, policy=policy, level=level, mode=mode)
    shape = tuple(n + misfit for n in data.shape[:2])
    labels = np.full(shape, min(start, 127) if kind == "i1" else start).astype(kind)
    before = labels.copy()
    with ours_alone():
        plane = plane_from_array(data, rgb=rgb)
        assert plane.shape == (*data.shape[:2], 3)
        assert plane.dtype == np.uint8
        session.set_plane(plane, "plane", labels)
        for points, polarities, box in prompts:
            with suppress(Sam3Error):
                session.set_prompts(PromptSet.from_arrays(points, polarities, box))
                held = session.predict()
                if held is not None:
                    rows, columns = held.mask.region
                    assert 0 <= rows.start <= rows.stop <= shape[0]
                    assert 0 <= columns.start <= columns.stop <= shape[1]
                accepted = session.accept()
                assert accepted is not None
                assert (labels == accepted.id).sum() == accepted.area
        while session.can_undo:
            session.undo()
    assert labels.shape == before.shape
    assert labels.dtype == before.dtype
    np.testing.assert_array_equal(labels, before, "everything was undone")
    session.close()


@faults(0.2)
@given(
    data=arrays(st.sampled_from((2, 3, 3, 4, 5))),
    rgb=st.booleans(),
    prompts=st.lists(prompt_sets(), min_size=1, max_size=2),
    position=st.none() | st.lists(st.integers(-1, 4), max_size=3),
    level=st.sampled_from((None, 0, 3)),
)
@example(np.zeros((1, 1), np.uint8), False, [([[0, 0]], [1], None)], None, None)
def test_an_image_and_prompts_to_labels(
    model: Predictor,
    data: npt.NDArray[Any],
    rgb: bool,
    prompts: list[tuple[Any, Any, Any]],
    position: list[int] | None,
    level: int | None,
) -> None:
    image = LoadedImage(data, rgb and data.ndim > 2)
    with ours_alone():
        objects = [PromptSet.from_arrays(*one) for one in prompts]
        made = segment_plane(image, objects, model, position=position, level=level)
        assert made.labels.shape == image.shape
        assert len(made.rows) + len(made.failures) == len(objects)
        assert {*np.unique(made.labels), 0} == {0, *(row.id for row in made.rows if row.area)}
