"""Batches in the viewer: asked by real clicks on the panel, written into the Labels layer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication

from napari_sam3.batch import (
    Automatic,
    BatchPrompts,
    Mode,
    Placed,
    Propagate,
    Repeated,
    segment,
    write_prompts,
)
from napari_sam3.cli.main import main
from napari_sam3.core.prompts import PromptSet
from napari_sam3.labels.ome_zarr import open_labels
from napari_sam3.layers.features import METADATA
from sam3.predictor import Predictor
from tests.napari_sam3.batch_bench import PLANES, Bench, Labels, OpenBench, pick, press
from tests.napari_sam3.batch_samples import ANYTHING, LOOSE, stack

METHODS = ("placed", "repeated", "propagate", "automatic")
# Clicks and boxes: plane, then (row, column) of a click, or (row, column, row, column) of a box.
PLACED = ((1, (20, 21)), (1, (37, 55)), (3, (8, 10, 32, 36)))
IDS = {1: {1: PromptSet(((21, 20),), (1,)), 2: PromptSet(((55, 37),), (1,))}}


def asked(method: str) -> Mode:
    """Return what the prompts of `PLACED` are to a script, on plane 1 or everywhere."""
    if method == "automatic":
        return Automatic(ANYTHING)
    if method == "repeated":
        return Repeated(IDS[1])
    box = PromptSet(box=(10, 8, 36, 32))
    prompts = BatchPrompts({(1,): IDS[1], (3,): {3: box}})
    return Propagate(prompts, rules=LOOSE) if method == "propagate" else Placed(prompts)


def by_script(image: Any, mode: Mode, model: Any, **options: Any) -> Labels:
    labels = np.zeros(image.shape[:3], np.uint32)
    for result in segment(image, mode, model, **options):
        labels[result.position] = result.labels
    return labels


@pytest.mark.parametrize("method", METHODS)
def test_the_viewer_gives_what_a_script_gives_and_undo_takes_it_back(
    method: str, open_bench: OpenBench, predictor: Predictor
) -> None:
    bench = open_bench()
    bench.place(*PLACED)
    bench.look_at(1)
    found = bench.do(method)
    expected = by_script(bench.image, asked(method), predictor)
    np.testing.assert_array_equal(found, expected)
    ids = set(np.unique(found)) - {0}
    assert len(ids) >= 2
    planes = {"placed": 2}.get(method, PLANES)
    assert bench.panel.result.text() == f"{len(ids)} objects on {planes} planes."
    assert bench.panel.result.isVisible()
    assert not bench.panel.bar.isVisible()
    table = bench.labels.features
    assert len(table) == len({(z, n) for z in range(PLANES) for n in np.unique(found[z]) if n})
    assert set(table["index"]) == ids
    assert len(bench.labels.metadata[METADATA]["objects"]) == len(table)
    desk = bench.desk
    desk.press("undo")
    assert not bench.pixels.any()
    assert not len(bench.labels.features)
    desk.press("redo")
    np.testing.assert_array_equal(bench.pixels, found)
    assert len(bench.labels.features) == len(table)
    desk.settle()


@pytest.mark.parametrize("method", METHODS)
def test_viewer_script_and_command_line_give_the_same_labels(
    method: str, open_desk: Callable[..., Any], tmp_path: Path
) -> None:
    image, output = stack(3), tmp_path / "labels.zarr"
    tifffile.imwrite(tmp_path / "stack.tif", image, photometric="minisblack")
    box = PromptSet(box=(8, 8, 33, 32))
    prompts = BatchPrompts({(1,): {1: box, 2: IDS[1][2]}})
    modes: dict[str, Mode] = {
        "placed": Placed(prompts),
        "repeated": Repeated(prompts.on((1,))),
        "propagate": Propagate(prompts),
        "automatic": Automatic(),
    }
    mode = modes[method]
    arguments = ["batch", str(tmp_path / "stack.tif"), "-o", str(output), "--mode", method]
    if method != "automatic":
        write_prompts(tmp_path / "prompts.csv", prompts)
        arguments += ["--prompts", str(tmp_path / "prompts.csv")]
    assert main([*arguments, "--device", "cpu"]) == 0
    bench = Bench(open_desk(image, model=None), image)
    bench.run.automatic = bench.run.rules = None
    bench.place((1, (8, 8, 32, 33)), (1, (37, 55)))
    bench.look_at(1)
    # Boxes come after clicks in the panel's own numbering, before them in the table above.
    if method != "automatic":
        bench.desk.session.set_objects([box, IDS[1][2]])
        bench.desk.settle()
    found = bench.do(method)
    assert len(np.unique(found)) > 2
    np.testing.assert_array_equal(found, np.asarray(open_labels(output).array[:]))
    np.testing.assert_array_equal(found, by_script(image, mode, "tiny", device="cpu"))


def test_a_range_of_planes_or_this_one_alone(open_bench: OpenBench) -> None:
    bench = open_bench()
    bench.look_at(2)
    bench.panel.last.setValue(1)
    bench.panel.first.setValue(3)  # the last one moves along
    assert bench.panel.asked.last == 3
    bench.panel.first.setValue(2)
    found = bench.do("automatic")
    assert [z for z in range(PLANES) if found[z].any()] == [2, 3]
    bench.desk.press("undo")
    pick(bench.panel.axis, None)
    assert not bench.panel.first.isEnabled()
    found = bench.do("automatic")
    assert [z for z in range(PLANES) if found[z].any()] == [2]


def test_progress_is_shown_with_its_rate_and_a_batch_can_be_stopped(
    open_bench: OpenBench, predictor: Predictor
) -> None:
    bench = open_bench(stack(40))
    bench.desk.session.policy = "overwrite"
    told: list[tuple[str, float]] = []

    def some() -> bool:
        panel = bench.panel
        told.append((panel.progress.text(), panel.bar.value() / (panel.bar.maximum() or 1)))
        return bench.pixels[3].any() and " left" in panel.progress.text()

    bench.start("automatic")
    assert bench.panel.stop_button.isVisible()
    assert bench.panel.bar.isVisible()
    assert not bench.panel.run_button.isEnabled()
    bench.desk.hand.wait_until(some, "some planes", 60)
    assert re.match(r"Plane \d+ of 40, \d+ % \(", told[-1][0])
    assert 0 < told[-1][1] < 1
    press(bench.panel.stop_button)
    bench.wait()
    found = bench.pixels
    done = [z for z in range(40) if found[z].any()]
    assert 4 <= len(done) < 40
    assert bench.panel.result.text().startswith("Stopped after ")
    expected = by_script(bench.image, Automatic(ANYTHING), predictor, planes=[(z,) for z in done])
    np.testing.assert_array_equal(found, expected)
    bench.desk.press("undo")
    assert not bench.pixels.any()
    # The next one starts with ids of its own.
    pick(bench.panel.axis, None)
    again = bench.do("automatic")
    assert min(set(np.unique(again)) - {0}) == found.max() + 1


def test_undo_while_a_batch_runs_takes_it_back_and_ends_it(open_bench: OpenBench) -> None:
    bench = open_bench(stack(40))
    bench.start("automatic")
    bench.desk.hand.wait_until(lambda: bench.pixels.any(), "a plane", 60)
    bench.desk.press("undo")
    bench.wait()
    assert not bench.pixels.any()
    assert not bench.panel.result.isVisible()


def test_clicks_are_answered_while_a_batch_runs(open_bench: OpenBench) -> None:
    bench = open_bench(stack(40))
    bench.start("automatic")
    bench.desk.hand.wait_until(lambda: bench.pixels[1].any(), "a plane", 60)
    bench.look_at(39)
    bench.desk.hand.click((20, 59))
    bench.desk.hand.wait_until(
        lambda: bench.desk.session.prediction is not None, "the mask of the click", 60
    )
    assert bench.run.running
    assert not bench.pixels[39].any()
    press(bench.panel.stop_button)
    bench.wait()


def test_policy_and_ids_respect_what_was_accepted_before(open_bench: OpenBench) -> None:
    bench = open_bench()
    bench.labels.data[1:3, 10:40, 10:40] = 6
    bench.labels.refresh()
    bench.labels.events.data()
    found = bench.do("automatic")
    assert (found[1:3, 10:40, 10:40] == 6).all()
    assert min(set(np.unique(found)) - {0, 6}) == 7
    bench.desk.press("undo")
    assert set(np.unique(bench.pixels)) == {0, 6}
    bench.desk.session.policy = "overwrite"
    found = bench.do("automatic")
    assert not (found[1:3, 10:40, 10:40] == 6).all()


class Broken:
    """An image of which one plane cannot be read, or has another size."""

    def __init__(self, image: Labels, bad: int, size: int | None = None) -> None:
        self.image, self.bad, self.size = image, bad, size
        self.shape, self.dtype, self.ndim = image.shape, image.dtype, image.ndim

    def __getitem__(self, index: Any) -> Any:
        first, found = index[0], self.image[index]
        if first == self.bad or (isinstance(first, slice) and self.bad in range(PLANES)[first]):
            if self.size is None:
                raise OSError(5, "Input/output error")
            return found[..., : self.size, : self.size]
        return found


@pytest.mark.parametrize(
    ("method", "size", "reason"),
    [
        ("automatic", None, "Input/output error"),
        ("repeated", 20, "has a different size: 20 x 20"),
        ("automatic", 20, "has a different size: 20 x 20"),
    ],
)
def test_a_plane_that_cannot_be_read_is_named_and_the_rest_done(
    open_bench: OpenBench, method: str, size: int | None, reason: str
) -> None:
    image = Broken(stack(PLANES), 3, size)
    bench = open_bench(dask.array.from_array(image, chunks=(1, 60, 80), asarray=False))
    if method == "repeated":
        bench.place(*PLACED[:2])
        bench.look_at(1)
    found = bench.do(method)
    assert [z for z in range(PLANES) if found[z].any()] == [0, 1, 2, 4]
    text = bench.panel.result.text()
    assert " on 4 planes. 1 plane failed: 3 (" in text
    assert reason in text


def test_what_cannot_be_asked_is_said(open_bench: OpenBench) -> None:
    bench = open_bench()
    for method, expected in (
        ("placed", "No prompt on the chosen planes (5)"),
        ("repeated", "No prompts to repeat on the current plane"),
        ("propagate", "No prompt on the chosen planes (5)"),
    ):
        assert not bench.do(method).any()
        assert bench.desk.status.startswith(expected)
        assert not bench.panel.bar.isVisible()
        assert bench.panel.run_button.isEnabled()


def test_one_object_is_followed_from_all_its_prompts(
    open_bench: OpenBench, predictor: Predictor
) -> None:
    bench = open_bench()
    bench.desk.session.mode = "one"
    bench.place((1, (20, 21)), (3, (20, 23)))
    found = bench.do("propagate")
    assert set(np.unique(found)) == {0, 1}
    first, second = PromptSet(((21, 20),), (1,)), PromptSet(((23, 20),), (1,))
    prompts = BatchPrompts({(1,): {1: first}, (3,): {1: second}})
    expected = by_script(bench.image, Propagate(prompts, rules=LOOSE), predictor)
    np.testing.assert_array_equal(found, expected)


def test_an_output_is_written_besides_and_gone_on_with(
    open_bench: OpenBench, tmp_path: Path
) -> None:
    bench, output = open_bench(), tmp_path / "labels.zarr"
    bench.panel.output.setText(str(output))
    found = bench.do("automatic")
    np.testing.assert_array_equal(np.asarray(open_labels(output).array[:]), found)
    bench.desk.press("undo")
    again = bench.do("automatic")
    # Nothing was asked anew; in the layer the ids go on, as always.
    np.testing.assert_array_equal(again, np.where(found, found + found.max(), 0))
    bench.panel.first.setValue(1)
    bench.desk.press("undo")
    assert not bench.do("automatic").any()
    assert "Give the same options to resume" in bench.desk.status
    bench.panel.overwrite.setChecked(True)
    anew = bench.do("automatic")
    assert not anew[0].any()
    assert anew[1:].any()
    np.testing.assert_array_equal(np.asarray(open_labels(output).array[:]) > 0, anew > 0)


def test_masks_below_the_limits_of_the_fold_do_not_count(
    open_bench: OpenBench, predictor: Predictor
) -> None:
    bench = open_bench()
    panel = bench.panel
    for method, limited in (("placed", False), ("propagate", True), ("automatic", True)):
        panel.method.setCurrentIndex(panel.method.findData(method))
        assert panel.limits.isHidden() is not limited
    assert panel.asked.limits is None
    assert panel.min_area.value() == ANYTHING.min_area
    objects = [
        one for r in segment(bench.image, Automatic(ANYTHING), predictor) for one in r.objects
    ]
    score = round(float(np.median([one.score for one in objects])), 2)
    area = 1 + min(one.mask.area for one in objects if one.score >= score)
    panel.min_score.setValue(score)
    panel.min_area.setValue(area)
    settings = dataclasses.replace(ANYTHING, min_score=score, min_area=area)
    expected = by_script(bench.image, Automatic(settings), predictor)
    everything = by_script(bench.image, Automatic(ANYTHING), predictor)
    assert len(np.unique(expected)) < len(np.unique(everything))
    found = bench.do("automatic")
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("chosen", ["contrast", "axes", "channels"])
def test_the_engine_sees_what_the_viewer_shows(
    chosen: str, open_bench: OpenBench, predictor: Predictor
) -> None:
    image = stack(PLANES)
    bench = open_bench(image)
    desk, binding = bench.desk, bench.desk.widget.binding
    if chosen == "contrast":
        desk.viewer.layers[0].contrast_limits = (300, 1200)
        binding.set_rendering(contrast="layer")
        expected = by_script(image, Automatic(ANYTHING), predictor, contrast=(300.0, 1200.0))
        found = bench.do("automatic")
    elif chosen == "axes":
        desk.viewer.dims.order = (1, 0, 2)
        QApplication.processEvents()
        bench.panel.first.setValue(18)
        bench.panel.last.setValue(20)
        turned = np.ascontiguousarray(image.swapaxes(0, 1))
        limits = desk.widget.binding.snapshot().channels[0].limits.limits
        from napari_sam3.core.planes import PlaneIndex

        expected = by_script(
            turned, Automatic(ANYTHING), predictor, planes=[(18,), (19,), (20,)],
            contrast=limits(PlaneIndex((0, 2), (18,))),
        ).swapaxes(0, 1)  # fmt: skip
        found = bench.do("automatic")
    else:
        from napari_sam3.layers.plane_source import ChannelChoice

        layer = desk.widget.binding.image
        binding.set_rendering(channels=(ChannelChoice(layer), None, None), contrast=(300.0, 3000.0))
        found = bench.do("automatic")
        low, high = 300.0, 3000.0
        grey = np.clip((image - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
        colour = np.stack([grey, 0 * grey, 0 * grey], axis=-1)
        from napari_sam3.images.lazy import LazyImage

        expected = np.zeros(image.shape, np.uint32)
        for result in segment(LazyImage(colour, rgb=True), Automatic(ANYTHING), predictor):
            expected[result.position] = result.labels
    assert len(np.unique(found)) > 2
    assert (found == expected).mean() >= 0.9999
