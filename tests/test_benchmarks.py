"""The measuring of the benchmarks, not what they measure."""

from benchmarks.measure import Row, Timing, measure, take_turns


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
