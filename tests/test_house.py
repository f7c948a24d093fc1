"""The bars of the house: what is reached stays, and the script sees what breaks it."""

from __future__ import annotations

import pytest

from scripts.house import Measure, find_circles, find_upward, measure_house, room_ranks

#: Not reached yet. What is struck from here stays reached.
OPEN: set[str] = set()


@pytest.fixture(scope="module")
def measures() -> list[Measure]:
    return measure_house()


def test_a_bar_that_was_reached_holds(measures: list[Measure]) -> None:
    broken = {one.name: (one.value, one.bar, one.found) for one in measures if not one.holds}
    assert {name: what for name, what in broken.items() if name not in OPEN} == {}


def test_each_open_bar_is_one_that_is_measured(measures: list[Measure]) -> None:
    assert {one.name for one in measures} >= OPEN


def test_circles_are_found_between_files_and_between_folders() -> None:
    between_files = [("p.a", "p.b"), ("p.b", "p.c"), ("p.c", "p.a"), ("p.d", "p.a")]
    assert find_circles(between_files) == ["p.a <-> p.b <-> p.c"]
    # No file imports itself in a circle here; the folders do.
    assert find_circles([("p.x.a", "p.y.a"), ("p.y.b", "p.x.b")]) == ["p.x <-> p.y"]
    assert find_circles([("p.x", "p.x.a"), ("p.x.a", "p.x.b"), ("p.y", "p.x.a")]) == []


def test_imports_upwards_and_sideways_are_found() -> None:
    ranks = room_ranks()
    down = ("napari_sam3.qt.widget", "napari_sam3.core.masks")
    up = ("napari_sam3.core.masks", "napari_sam3.qt.widget")
    beside = ("napari_sam3.session.jobs", "napari_sam3.batch.units")
    inside = ("napari_sam3.core.masks", "napari_sam3.core.planes")
    model = ("napari_sam3.core.masks", "sam3.errors")
    assert find_upward([down, up, beside, inside, model], ranks) == [
        "napari_sam3.core.masks -> napari_sam3.qt.widget",
        "napari_sam3.session.jobs -> napari_sam3.batch.units",
    ]
    assert ranks["core"] == 0
    assert ranks["session"] == ranks["batch"]
