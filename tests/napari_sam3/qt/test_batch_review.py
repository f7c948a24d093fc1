"""Batches that find objects: their results are candidates, filtered, dropped and accepted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_sam3.batch import Automatic, segment
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.session.candidate_filter import CandidateFilter
from napari_sam3.session.candidates import CandidatePlane
from sam3 import load_predictor
from sam3.predictor import Predictor
from tests.napari_sam3.batch_bench import PLANES, Bench, Labels, OpenBench, pick, press
from tests.napari_sam3.batch_samples import ANYTHING, stack


@pytest.fixture
def reviewed(open_bench: OpenBench) -> OpenBench:
    """A bench whose fold is as it opens: what is found is reviewed first."""

    def open_one(*arguments: Any, **options: Any) -> Bench:
        bench = open_bench(*arguments, **options)
        bench.panel.review.setChecked(True)
        return bench

    return open_one


def by_script(image: Labels, predictor: Predictor) -> dict[int, tuple[Instance, ...]]:
    results = segment(image, Automatic(ANYTHING), predictor)
    return {result.position[0]: result.objects for result in results}


def outlines(labels: Labels) -> set[bytes]:
    """The objects of a stack, whatever their ids."""
    return {np.packbits(labels == one).tobytes() for one in np.unique(labels) if one}


def painted(found: dict[int, tuple[Instance, ...]]) -> Labels:
    labels, number = np.zeros((PLANES, 60, 80), np.uint32), 0
    for z, objects in found.items():
        for one in objects:
            number += 1
            free = one.mask.crop & (labels[z][one.mask.region] == 0)
            labels[z][one.mask.region][free] = number
    return labels


def test_review_is_offered_where_objects_are_found(reviewed: OpenBench) -> None:
    panel = reviewed().panel
    for at in range(panel.method.count()):
        panel.method.setCurrentIndex(at)
        finds = panel.method.currentData() in ("automatic", "similar")
        assert panel.review.isHidden() is not finds
        assert panel.asked.review is finds
    panel.review.setChecked(False)
    assert not panel.asked.review


def test_a_batch_is_reviewed_filtered_dropped_and_accepted(
    reviewed: OpenBench, predictor: Predictor
) -> None:
    bench = reviewed()
    desk, candidates = bench.desk, bench.desk.session.candidates
    find, review = desk.widget.panel.finding, desk.widget.finding.review
    assert not bench.do("automatic").any()
    expected = by_script(bench.image, predictor)
    count = sum(map(len, expected.values()))
    assert len(candidates) == count
    assert bench.panel.result.text() == f"{count} candidates on {PLANES} planes."
    # The table opens by itself, and lists them on all planes, the worst first.
    table = review.panel
    assert table.isVisible()
    desk.hand.wait_until(lambda: table.model.rowCount() == count, "the rows")
    scores = [row.score for row in table.model.rows]
    assert scores == sorted(scores)
    assert {row.plane.plane.index[0] for row in table.model.rows} == set(range(PLANES))
    # What is on other planes is counted and can be accepted from here.
    bench.look_at(2)
    here = len(expected[2])
    assert find.count.text().startswith(f"{here} of {here} shown")
    assert find.count.text().endswith(f"; {count - here} on other planes")
    # A filter hides some, a click drops one; neither asks the model.
    middle = float(np.median(scores))
    table.score.setValue((middle, 1.0))
    desk.hand.wait_until(lambda: len(candidates.shown) < count, "the filter")
    assert all(one.score >= middle for one in candidates.shown)
    table.score.setValue((0.0, 1.0))
    desk.hand.wait_until(lambda: len(candidates.shown) == count, "all of them")
    key = desk.session.plane_key
    best = candidates.on(key)[0].mask
    row, column = np.argwhere(best.crop)[0] + (best.row, best.column)
    dropped = candidates.at(key, row, column)
    desk.hand.click((row, column))
    assert len(candidates) == count - 1
    assert dropped not in candidates.all
    # One alone, then the rest: two steps.
    desk.session.reviewing.select(None)
    desk.hand.type("Shift-W")
    desk.hand.type("Shift-Y")
    alone = bench.pixels
    assert len(np.unique(alone)) == 2
    press(find.accept)
    assert not len(candidates)
    found = bench.pixels
    assert len({int(z) for z in np.nonzero(found)[0]}) == PLANES
    assert len(desk.widget.binding.labels.features) > 2
    desk.press("undo")
    np.testing.assert_array_equal(bench.pixels, alone)
    desk.press("undo")
    assert not bench.pixels.any()


def test_all_accepted_are_the_labels_of_a_script(reviewed: OpenBench, predictor: Predictor) -> None:
    bench = reviewed()
    bench.do("automatic")
    bench.look_at(0)
    press(bench.desk.widget.panel.finding.accept)
    assert outlines(bench.pixels) == outlines(painted(by_script(bench.image, predictor)))
    # What is labelled now is not offered again.
    bench.do("automatic")
    labels = bench.pixels
    for one in bench.desk.session.candidates.all:
        z = one.plane.key.plane.index[0]
        covered = np.count_nonzero(labels[z][one.mask.region][one.mask.crop])
        assert covered <= one.area / 2


def test_the_status_line_counts_candidates_away_from_the_mouse(reviewed: OpenBench) -> None:
    """It said "1 candidate: accept all" after they had been accepted."""
    bench = reviewed()
    bench.look_at(0)
    desk, candidates = bench.desk, bench.desk.session.candidates
    find = desk.widget.panel.finding
    desk.hand.move((50, 70))
    target = desk.widget.binding.labels_on(PlaneIndex((1, 2), (0,)))
    square = Instance(0, PlaneMask(5, 5, np.ones((6, 6), bool)), 0.9)
    candidates.put(CandidatePlane(target.key, target), [square])
    told = "1 candidate: "
    desk.hand.wait_until(lambda: not desk.session.busy and desk.status.startswith(told), told)
    press(find.accept)
    assert not len(candidates)
    assert desk.status.startswith("Click an object")
    # What has no free pixel stays, and the reason is said.
    candidates.put(CandidatePlane(target.key, target), [square])
    press(find.accept)
    assert len(candidates) == 1
    assert "ll pixels of 1 candidate already belong" in desk.status
    press(find.clear)
    assert desk.status.startswith("Click an object")


def test_two_batches_and_one_that_is_stopped_stay_apart(reviewed: OpenBench) -> None:
    bench = reviewed(stack(40))
    candidates = bench.desk.session.candidates
    bench.panel.last.setValue(0)
    bench.do("automatic")
    first = len(candidates)
    bench.panel.last.setValue(39)
    bench.panel.first.setValue(1)
    bench.start("automatic")
    bench.desk.hand.wait_until(lambda: len(candidates) > 2 * first, "some planes", 60)
    press(bench.panel.stop_button)
    bench.wait()
    assert bench.panel.result.text().startswith("Stopped after ")
    assert first < len(candidates)
    # Each is an object of its own, though both batches count from 1.
    assert len(bench.desk.widget.binding.review.rows()) == len(candidates)
    count = len(candidates)
    candidates.drop(candidates.all[0])
    assert len(candidates) == count - 1


def test_a_filter_that_is_moved_while_a_batch_runs_holds(reviewed: OpenBench) -> None:
    bench = reviewed(stack(40))
    candidates = bench.desk.session.candidates
    candidates.filter = CandidateFilter(0.9)
    bench.start("automatic")
    assert candidates.filter == CandidateFilter()  # of an earlier search
    bench.desk.hand.wait_until(lambda: len(candidates) > 0, "a plane", 60)
    candidates.filter = CandidateFilter(0.0, 1.0, 40)
    now = len(candidates)
    bench.desk.hand.wait_until(lambda: len(candidates) > now, "more planes", 60)
    assert candidates.filter == CandidateFilter(0.0, 1.0, 40)
    assert all(one.area >= 40 for one in candidates.shown)
    press(bench.panel.stop_button)
    bench.wait()


def test_similar_objects_of_all_planes(reviewed: OpenBench) -> None:
    embedded = load_predictor("tiny", device="cpu")
    bench = reviewed(stack(3), model=embedded)
    candidates, panel = bench.desk.session.candidates, bench.panel
    bench.start("similar")  # without an example: said, and nothing begins
    assert "o example to search by" in bench.desk.status
    assert not bench.run.running
    assert panel.min_area.isHidden()
    assert panel.min_score.value() == 0.5
    bench.look_at(1)
    bench.desk.hand.click((20, 21))
    bench.desk.settle()
    bench.desk.press("accept")
    bench.do("similar")
    there = {
        (one.plane.key.plane.index[0], row, column)
        for one in candidates.shown
        for z, row, column in [(z, *at) for z in range(3) for at in ((20, 20 + z), (38 - z, 55))]
        if one.plane.key.plane.index[0] == z and one.mask.covers(row, column)
    }
    # All discs but the example itself.
    assert there == {(0, 20, 20), (0, 38, 55), (1, 37, 55), (2, 20, 22), (2, 36, 55)}
    # Straight into the labels; objects that are labelled keep their pixels.
    panel.review.setChecked(False)
    found = bench.do("similar")
    assert [int(found[at]) for at in ((1, 20, 21), (2, 20, 22), (0, 38, 55))].count(0) == 0
    assert found[1, 20, 21] == 1
    bench.desk.press("undo")
    assert np.unique(bench.pixels).tolist() == [0, 1]
    pick(panel.method, "automatic")
    assert not panel.min_area.isHidden()


def test_one_plane_more_costs_the_same_however_many_are_kept(reviewed: OpenBench) -> None:
    """Filtering 200 planes again for each new one took longer than the planes."""
    bench = reviewed(np.zeros((200, 64, 64), np.uint8))
    desk = bench.desk
    candidates, passed = desk.session.candidates, []
    square = np.ones((3, 3), bool)
    found = [
        Instance(0, PlaneMask(r, c, square), 0.5) for r in range(0, 60, 6) for c in range(0, 60, 6)
    ]
    original = CandidateFilter.passes

    def passes(self: CandidateFilter, scores: Any, areas: Any) -> Any:
        passed.append(len(scores))
        return original(self, scores, areas)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CandidateFilter, "passes", passes)
        for z in range(200):
            target = desk.widget.binding.labels_on(PlaneIndex((1, 2), (z,)))
            desk.session.finding.offer(CandidatePlane(target.key, target), found)
    assert len(candidates.shown) == 20_000
    assert sum(passed) == 20_000
