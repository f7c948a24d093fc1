"""Planes of another size, or that hold no numbers: named, gone around, and done once repaired."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
from dask.delayed import delayed

from napari_sam3.batch import BatchPrompts, Propagate, segment
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.identity import identify_blocks
from napari_sam3.images.lazy import open_image
from sam3.errors import ImageError
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import (
    LOOSE,
    MODES,
    PLANES,
    pixels,
    question,
    stack,
    write_ome_files,
)

BAD = 2
#: What a file of a stack may hold instead of 60 x 80 px of uint16, and how that is named.
KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "smaller": (lambda plane: plane[:20, :20], "a different size: 20 x 20 px"),
    "larger": (lambda plane: np.pad(plane, 10), "a different size: 80 x 100 px"),
    "turned": (lambda plane: plane.T, "a different size: 80 x 60 px"),
    "in colour": (lambda plane: np.stack([plane] * 3, -1), "a different size: 60 x 80 x 3 px"),
    "complex": (lambda plane: plane.astype(complex), "the data type complex128"),
    "text": (lambda plane: plane.astype(str), "the data type <U"),
    "nothing": (lambda plane: np.asarray(None), "cannot be read"),
}


def lazy(change: Callable[[Any], Any]) -> Any:
    """A stack as napari makes it from a folder: it states the size of the first file for all."""
    files = [change(plane) if z == BAD else plane for z, plane in enumerate(stack())]
    read = [dask.array.from_delayed(delayed(one), (60, 80), np.uint16) for one in files]
    return dask.array.stack(read)


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("smaller", name) for name in MODES), ("larger", "placed"), ("complex", "repeated")],
)
def test_it_fails_alone_and_is_done_after_a_repair(
    kind: str, name: str, predictor: Predictor, tmp_path: Path
) -> None:
    change, reason = KINDS[kind]
    mode, output = question(name), tmp_path / "labels.zarr"

    def run(image: Any, path: Path) -> list[Any]:
        return list(segment(image, mode, predictor, output=path, contrast=(0.0, 3000.0)))

    results = run(lazy(change), output)
    errors = {one.position[0]: str(one.error) for one in results if one.error is not None}
    assert list(errors) == [BAD]
    assert reason in errors[BAD]
    others = [one for one in results if one.position[0] != BAD]
    assert others
    assert all(one.objects for one in others)
    again = run(stack(), output)
    done = {one.position[0] for one in again if not one.skipped}
    if name in ("placed", "repeated"):
        assert done == {BAD}
    assert BAD in done
    run(stack(), tmp_path / "whole.zarr")
    np.testing.assert_array_equal(pixels(output), pixels(tmp_path / "whole.zarr"))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_named(kind: str, predictor: Predictor) -> None:
    change, reason = KINDS[kind]
    results = list(segment(lazy(change), question("repeated"), predictor))
    errors = {one.position[0]: str(one.error) for one in results if one.error is not None}
    assert list(errors) == [BAD]
    assert reason in errors[BAD]
    assert sum(bool(one.objects) for one in results) == PLANES - 1


def test_an_image_is_known_without_a_plane_that_is_nothing() -> None:
    _, blocks = identify_blocks(lazy(lambda plane: np.asarray(None)), "stack")
    whole = identify_blocks(stack(), "stack")[1]
    assert None in blocks
    assert all(one in (None, other) for one, other in zip(blocks, whole, strict=True))


@pytest.mark.parametrize("change", [lambda plane: plane.T.copy(), lambda plane: plane.view("i2")])
def test_a_file_of_as_many_bytes_is_not_read_as_the_first(change: Any, tmp_path: Path) -> None:
    planes = list(stack())
    first = write_ome_files(tmp_path, [*planes[:BAD], change(planes[BAD]), *planes[BAD + 1 :]])
    with pytest.raises(ImageError, match=r"page 2 of .* Expected uint16 of shape"):
        open_image(first)


def test_objects_are_followed_through_time_and_not_through_channels(
    predictor: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "series.ome.tif"
    tifffile.imwrite(path, np.stack([stack(3)] * 2, 1), metadata={"axes": "TCYX"})
    prompts = BatchPrompts({(1, 1): {1: PromptSet(box=(8, 8, 33, 32))}})
    results = list(segment(path, Propagate(prompts, rules=LOOSE), predictor))
    assert sorted(one.position for one in results) == [(0, 1), (1, 1), (2, 1)]
    assert all(one.objects for one in results)
