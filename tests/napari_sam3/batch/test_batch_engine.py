"""One question about many planes: right, resumed, cancelled, and never half written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import numpy.typing as npt
import pytest
import zarr

from napari_sam3.batch import (
    Automatic,
    BatchControl,
    BatchError,
    BatchPrompts,
    Placed,
    PlaneResult,
    Progress,
    Propagate,
    Repeated,
    segment,
)
from napari_sam3.batch.output import folder_beside
from napari_sam3.core.prompts import PromptSet
from napari_sam3.images.open import LoadedImage
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.session.headless import segment_plane
from sam3.errors import ImageError, PromptError
from sam3.predictor import Predictor
from tests.napari_sam3.batch_samples import MODES, PLANES, pixels, question, stack

Labels = npt.NDArray[Any]


class Broken:
    """An image of which some planes cannot be read."""

    def __init__(self, image: Labels, bad: set[int]) -> None:
        self.image, self.bad = image, bad
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, index: Any) -> Any:
        first = index[0] if isinstance(index, tuple) else index
        # The sample by which an image is known takes small blocks; those are readable.
        if first in self.bad and (not isinstance(index, tuple) or index[1].start in (None, 0)):
            whole = not isinstance(index, tuple) or index[1].stop in (None, self.shape[1])
            if whole:
                raise OSError(5, "Input/output error")
        return self.image[index]


def together(results: list[PlaneResult], planes: int = PLANES) -> Labels:
    labels = np.zeros((planes, 60, 80), np.uint32)
    for result in results:
        labels[result.position] = result.labels
    return labels


@pytest.mark.parametrize("name", MODES)
def test_an_output_holds_what_the_results_say(
    name: str, predictor: Predictor, tmp_path: Path
) -> None:
    output = tmp_path / "labels.zarr"
    kept = list(segment(stack(), question(name), predictor, output=output))
    loose = list(segment(stack(), question(name), predictor))
    written = pixels(output)
    np.testing.assert_array_equal(written, together(kept))
    np.testing.assert_array_equal(written, together(loose))
    assert len(np.unique(written)) > 2
    assert not any(result.skipped or result.error for result in kept)


@pytest.mark.parametrize("name", MODES)
def test_a_second_run_asks_the_model_nothing(
    name: str, predictor: Predictor, tmp_path: Path
) -> None:
    output, control = tmp_path / "labels.zarr", BatchControl()
    first = list(segment(stack(), question(name), predictor, output=output))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    again = list(segment(stack(), question(name), predictor, output=output, control=control))
    assert [result.position for result in again] == [result.position for result in first]
    assert all(result.skipped for result in again)
    np.testing.assert_array_equal(together(again), together(first))
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    # In the mode "propagate" there is nothing to do on planes that no object has come to.
    assert control.progress.skipped == control.progress.done - (7 if name == "propagate" else 0)


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("after", [0, 2])
def test_a_closed_generator_is_gone_on_with_to_the_same_labels(
    name: str, after: int, predictor: Predictor, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole.zarr", tmp_path / "parts.zarr"
    list(segment(stack(), question(name), predictor, output=whole))
    started = segment(stack(), question(name), predictor, output=parts)
    for _ in range(min(after, 1 if name == "placed" else after) + 1):
        next(started)
    started.close()
    results = list(segment(stack(), question(name), predictor, output=parts))
    assert any(result.skipped for result in results)
    np.testing.assert_array_equal(pixels(parts), pixels(whole))


@pytest.mark.parametrize("name", MODES)
def test_a_cancelled_batch_ends_soon_and_is_gone_on_with(
    name: str, predictor: Predictor, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole.zarr", tmp_path / "parts.zarr"
    list(segment(stack(), question(name), predictor, output=whole))
    control = BatchControl()

    def cancel(progress: Progress) -> None:
        if progress.done == 2:
            control.cancel()

    control = BatchControl(cancel)
    list(segment(stack(), question(name), predictor, output=parts, control=control))
    assert 2 <= control.progress.done < control.progress.total or name == "placed"
    list(segment(stack(), question(name), predictor, output=parts))
    np.testing.assert_array_equal(pixels(parts), pixels(whole))


def test_a_batch_is_what_the_segment_command_does_plane_by_plane(predictor: Predictor) -> None:
    box, click = PromptSet(box=(8, 8, 33, 32)), PromptSet(((55.0, 34.0),), (1,))
    image, objects = stack(), {1: box, 2: click}
    # Left alone, a click follows the size of objects accepted before it; here there are none.
    results = list(segment(image, Repeated(objects), predictor, planes=[(2,), (4,)], level=0))
    assert [result.position for result in results] == [(2,), (4,)]
    for result in results:
        plane = LoadedImage(image[result.position])
        alone = segment_plane(plane, list(objects.values()), predictor, level=0)
        np.testing.assert_array_equal(result.labels, alone.labels)


def image_kinds(folder: Path) -> dict[str, Callable[[Labels], Any]]:
    def on_disk(image: Labels) -> Any:
        array = zarr.create_array(
            folder / "image.zarr", shape=image.shape, dtype=image.dtype, chunks=(1, 32, 32)
        )
        array[:] = image
        return array

    def mapped(image: Labels) -> Any:
        np.save(folder / "image.npy", image)
        return np.load(folder / "image.npy", mmap_mode="r")

    return {
        "zarr": on_disk,
        "memmap": mapped,
        "dask": lambda image: dask.array.from_array(image, chunks=(1, 32, 32)),
        "path": lambda image: (on_disk(image), str(folder / "image.zarr"))[1],
    }


@pytest.mark.parametrize("kind", ["zarr", "memmap", "dask", "path"])
def test_an_image_may_be_anything_with_pixels(
    kind: str, predictor: Predictor, tmp_path: Path
) -> None:
    image = stack()
    limits: Any = {"contrast": (300.0, 3000.0)}
    plain = together(list(segment(image, question("placed"), predictor, **limits)))
    other = image_kinds(tmp_path)[kind](image)
    found = together(list(segment(other, question("placed"), predictor, **limits)))
    np.testing.assert_array_equal(found, plain)


def test_where_masks_meet_the_smaller_id_keeps_the_pixels(predictor: Predictor) -> None:
    box = PromptSet(box=(8, 8, 33, 32))
    (result,) = segment(stack()[0], Placed(BatchPrompts({(): {9: box, 3: box}})), predictor)
    assert [one.id for one in result.objects] == [3, 9]
    assert set(np.unique(result.labels)) == {0, 3}


@pytest.mark.parametrize("name", MODES)
def test_a_plane_that_cannot_be_read_is_told_and_the_rest_done_and_made_good(
    name: str, predictor: Predictor, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.zarr", tmp_path / "labels.zarr"
    # By itself the contrast would be found without the plane at first, and with it afterwards.
    contrast = (0.0, 255.0)
    list(segment(stack(), question(name), predictor, output=whole, contrast=contrast))
    control = BatchControl()
    asked: dict[str, Any] = {"output": output, "contrast": contrast}
    results = list(
        segment(Broken(stack(), {5}), question(name), predictor, control=control, **asked)
    )
    failed = [result for result in results if result.error is not None]
    assert [result.position for result in failed] == [(5,)]
    assert isinstance(failed[0].error, ImageError)
    assert "Input/output error" in str(failed[0].error)
    assert control.progress.failed >= 1
    written, expected = pixels(output), pixels(whole)
    assert not written[5].any()
    if name in ("placed", "repeated"):
        others = [z for z in range(PLANES) if z != 5]
        np.testing.assert_array_equal(written[others], expected[others])
    # Once it can be read, all that depends on it is done again: chains, and ids that run on.
    again = list(segment(stack(), question(name), predictor, **asked))
    assert not [result for result in again if result.error]
    np.testing.assert_array_equal(pixels(output), expected)


def test_a_changed_question_is_refused_with_what_differs(
    predictor: Predictor, tmp_path: Path
) -> None:
    output, image, asked = tmp_path / "labels.zarr", stack(), question("placed")
    list(segment(image, asked, predictor, output=output))
    before = pixels(output)
    changed = image.copy()
    changed[:, :9] = 0
    others: list[tuple[Any, Any, dict[str, Any], str]] = [
        (changed, asked, {}, "image digest"),
        (image, question("propagate"), {}, 'with mode "placed", not "propagate"'),
        (image, asked, {"contrast": (0, 4000)}, r"settings contrast null, not \[0, 4000\]"),
        (image, asked, {"level": 0}, "settings level null, not 0"),
        (image, asked, {"planes": [(2,)]}, r"planes \[\[2\], \[5\]\], not \[\[2\]\]"),
        (image, Placed(BatchPrompts({(2,): {1: PromptSet(((9, 9),), (1,))}})), {}, "prompts"),
    ]
    for data, mode, more, message in others:
        with pytest.raises(BatchError, match=message):
            next(segment(data, mode, predictor, output=output, **more))
    np.testing.assert_array_equal(pixels(output), before)
    results = list(segment(image, question("propagate"), predictor, output=output, overwrite=True))
    assert not any(result.skipped for result in results)
    np.testing.assert_array_equal(pixels(output), together(results))


def test_another_model_is_another_question(predictor: Predictor, tmp_path: Path) -> None:
    from sam3.model_builder import build_click_model

    output = tmp_path / "labels.zarr"
    list(segment(stack(), question("placed"), predictor, output=output))
    other = Predictor(build_click_model(predictor.config, seed=1).eval(), device="cpu")
    with pytest.raises(BatchError, match="model fingerprint"):
        next(segment(stack(), question("placed"), other, output=output))


def test_other_peoples_files_are_left_alone(predictor: Predictor, tmp_path: Path) -> None:
    output = tmp_path / "labels.zarr"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(BatchError, match="was not made by a batch"):
        next(segment(stack(), question("placed"), predictor, output=output))
    assert (output / "mine.txt").read_text() == "mine"


def test_two_runs_do_not_write_one_output(predictor: Predictor, tmp_path: Path) -> None:
    output = tmp_path / "labels.zarr"
    running = segment(stack(), question("repeated"), predictor, output=output)
    next(running)
    for overwrite in (False, True):
        with pytest.raises(BatchError, match="is being written by another process"):
            next(
                segment(
                    stack(), question("repeated"), predictor, output=output, overwrite=overwrite
                )
            )
    assert len(list(running)) == PLANES - 1
    assert len(list(segment(stack(), question("repeated"), predictor, output=output))) == PLANES


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
@pytest.mark.parametrize("room", ["found", "forward", "painted"])
def test_damaged_records_are_made_again(
    room: str, damage: str, predictor: Predictor, tmp_path: Path
) -> None:
    output = tmp_path / "labels.zarr"
    list(segment(stack(), question("propagate"), predictor, output=output))
    expected = pixels(output)
    record = folder_beside(output) / room / "5.json"
    if room == "forward":
        record = record.with_name("3.json")
    good = record.read_bytes()
    if damage == "flip":
        record.write_bytes(good[:60] + bytes([good[60] ^ 1]) + good[61:])
    elif damage == "gone":
        record.unlink()
    else:
        record.write_bytes(good[:-20] if damage == "cut" else b"")
    results = list(segment(stack(), question("propagate"), predictor, output=output))
    assert not all(result.skipped for result in results)
    assert record.read_bytes() == good
    np.testing.assert_array_equal(pixels(output), expected)


def test_deleted_labels_are_painted_again_without_the_model(
    predictor: Predictor, tmp_path: Path
) -> None:
    import shutil

    output, control = tmp_path / "labels.zarr", BatchControl()
    list(segment(stack(), question("repeated"), predictor, output=output))
    expected = pixels(output)
    shutil.rmtree(output)
    list(segment(stack(), question("repeated"), predictor, output=output, control=control))
    assert control.progress.skipped == control.progress.total
    np.testing.assert_array_equal(pixels(output), expected)


def test_the_manifest_says_what_was_asked(predictor: Predictor, tmp_path: Path) -> None:
    output = tmp_path / "labels.zarr"
    list(segment(stack(), question("placed"), predictor, output=output, contrast=(0, 4000)))
    manifest = json.loads((folder_beside(output) / "manifest.json").read_text())
    asked = manifest["question"]
    assert asked["image"]["shape"] == [PLANES, 60, 80]
    assert asked["model"]["fingerprint"] == predictor.fingerprint
    assert asked["planes"] == [[2], [5]]
    assert asked["settings"]["contrast"] == [0, 4000]
    group = zarr.open_group(output, mode="r")
    about: Any = group.attrs["ome"]
    labels = {entry["label-value"] for entry in about["image-label"]["properties"]}
    assert labels <= {1, 4}
    assert labels


def test_axes_before_rows_and_columns_may_be_many(predictor: Predictor, tmp_path: Path) -> None:
    image = stack(6).reshape(2, 3, 60, 80)
    box = PromptSet(box=(8, 8, 33, 32))
    prompts = BatchPrompts({(0, 1): {1: box}, (1, 0): {2: box}})
    loose = question("propagate")
    assert isinstance(loose, Propagate)
    along_z = list(segment(image, Propagate(prompts, rules=loose.rules), predictor))
    every = [(t, z) for t in (0, 1) for z in (0, 1, 2)]
    assert sorted(result.position for result in along_z) == every
    first = [result for result in along_z if result.position[0] == 0]
    assert {one.id for result in first for one in result.objects} == {1}
    output = tmp_path / "labels.zarr"
    along_t = list(segment(image, Propagate(prompts, 0, loose.rules), predictor, output=output))
    assert {result.position[1] for result in along_t} == {0, 1}
    column = [result for result in along_t if result.position[1] == 0]
    assert {one.id for result in column for one in result.objects} == {2}
    with pytest.raises(PromptError, match="propagated along axis 2 of an image with 2 axes"):
        next(segment(image, Propagate(prompts, 2), predictor))


def test_prompts_have_to_be_on_the_planes_chosen(predictor: Predictor) -> None:
    with pytest.raises(BatchError, match=r"no prompt on the chosen planes \(2\)"):
        next(segment(stack(), question("placed"), predictor, planes=[(0,), (1,)]))
    with pytest.raises(PromptError, match="plane 2, which the image"):
        next(segment(stack(2), question("placed"), predictor))
    with pytest.raises(ImageError, match="lies outside the image"):
        next(segment(stack(2), question("repeated"), predictor, planes=[(2,)]))
    with pytest.raises(BatchError, match="list is not an image"):
        next(segment([[1, 2]], question("repeated"), predictor))


def test_features_of_the_caller_are_used_and_left(predictor: Predictor) -> None:
    cache = EmbeddingCache(1 << 30)
    list(segment(stack(), question("placed"), predictor, cache=cache))
    assert len(cache) >= 2


def test_what_is_found_in_tiles_is_found_once_and_whole() -> None:
    """Objects on the corners of tiles, with the embedded model."""
    rows, columns = np.mgrid[:300, :300]
    image = np.full((300, 300), 30, np.uint8)
    truth = np.zeros((300, 300), np.uint8)
    centres = [(100, 100), (100, 200), (200, 100), (200, 200), (150, 100), (150, 45), (262, 262)]
    for number, (row, column) in enumerate(centres, start=1):
        inside = (rows - row) ** 2 + (columns - column) ** 2 < 14**2
        image[inside], truth[inside] = 190, number
    noisy = image + np.random.default_rng(0).integers(0, 25, image.shape, dtype=np.uint8)
    settings = AutomaticSettings(seeds="blobs", level=-1)
    tiled, whole = (
        next(segment(noisy, Automatic(settings, tile=side), "tiny", device="cpu"))
        for side in (100, 1000)
    )
    for result in (tiled, whole):
        labels = result.labels
        for number in range(1, len(centres) + 1):
            inside = labels[truth == number]
            label = np.bincount(inside).argmax()
            assert label > 0, "every object is found"
            iou = (inside == label).sum() / ((labels == label) | (truth == number)).sum()
            assert iou > 0.85, "as one label"
    assert len(tiled.objects) == len(whole.objects)
