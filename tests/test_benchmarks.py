"""The measuring of the benchmarks, not what they measure."""

import sys

import pytest

from benchmarks.gui import gui_rows
from benchmarks.measure import Row, Timing, measure, take_turns

PARTS_OF_A_CLICK = ("queue", "predict", "preview", "draw")


def test_competitors_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    ours, other = take_turns(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert calls == ["a", "b"] * 4
    assert len(ours.seconds) == len(other.seconds) == 3
    measure(lambda: calls.append("c"), repeats=2, warm_up=2)
    assert calls[8:] == ["c"] * 4


def test_a_row_says_median_spread_and_ratio() -> None:
    row = Row("encode", Timing((0.2, 0.1, 0.4)), Timing((0.5, 0.3)), "other")
    assert str(row.ours) == "200 ms (100 ms to 400 ms, n = 3)"
    assert row.ratio == "2.00"
    assert Row("click", Timing((2.0,))).ratio == ""
    assert row.line.endswith("| other 400 ms (300 ms to 500 ms, n = 2) | 2.00 |")
    note = Row("click", Timing((2.0,)), other_name="half of it drawing")
    assert note.line == "| click | 2.00 s (2.00 s to 2.00 s, n = 1) | half of it drawing |  |"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a virtual display")
def test_the_window_is_measured_from_opening_to_labels() -> None:
    rows = list(gui_rows(sides=(512,), clicks=2, openings=1, count=3, model="tiny", seconds=0.5))
    names = [row.what for row in rows]
    assert len(names) == len(set(names)) == 8
    assert all(0 < one < 60 for row in rows for one in row.ours.seconds)
    shown, clickable, ready = (row.ours.median for row in rows[:3])
    assert shown < clickable < ready
    clicks, first = rows[4], rows[5]
    assert len(clicks.ours.seconds) == 2
    assert [part.split()[0] for part in first.other_name.split(", ")] == list(PARTS_OF_A_CLICK)
    assert rows[6].other_name.startswith("1.33 gestures an object"), "three clicks and a key"
    assert "99th percentile" in rows[7].line
