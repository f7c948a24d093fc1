"""The measuring of the benchmarks, not what they measure."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import finding, model_card
from benchmarks.automatic import automatic_rows, main, match_labels
from benchmarks.baselines import otsu_watershed
from benchmarks.cuda import rows_beside_the_cpu
from benchmarks.detecting import detector_row
from benchmarks.full_size import shallow
from benchmarks.gui import gui_rows
from benchmarks.loading import loading_rows, write_released
from benchmarks.measure import Fact, Row, Skipped, Timing, measure, take_turns
from benchmarks.profile import profile_rows
from benchmarks.report import KEPT, Section, write_report
from benchmarks.run import REPORT
from benchmarks.scaling import image_rows, object_rows, plane_rows, thread_rows
from benchmarks.slide import slide_rows, store_row
from sam3 import load_predictor
from sam3.config import get_preset
from sam3.weights import load as checkpoint
from sam3.weights.load import embedded_weights

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


def test_the_page_keeps_what_was_measured_before_a_section_failed(tmp_path: Path) -> None:
    def failing() -> Iterator[Row]:
        yield Row("click", Timing((2.0,)))
        raise RuntimeError("no screen")

    said: list[str] = []
    path = tmp_path / "docs" / "page.md"
    sections = [Section("Window", [Fact("memory", "3 MB")]), Section("Scaling", failing())]
    with pytest.raises(RuntimeError, match="no screen"):
        write_report(path, sections, {"GPU": "none"}, "2026-01-31", say=said.append)
    assert said[:3] == ["## Window", "| memory | 3 MB |  |  |", "## Scaling"]
    page = path.read_text()
    assert "on 2026-01-31" in page
    assert "| GPU | none |" in page
    assert page.endswith(
        "\n## Window\n\n| What | Time | Beside it | Ratio |\n|---|---|---|---|\n"
        "| memory | 3 MB |  |  |\n"
    )
    write_report(path, sections[:1], {}, "2026-01-31", say=said.append)
    assert path.read_text().count("## ") == 1


def test_what_is_written_by_hand_stays_when_the_page_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(REPORT.read_text("utf-8"), "utf-8")
    by_hand = path.read_text("utf-8").partition(KEPT)[2]
    assert by_hand.startswith("\n\n## Beside the build of 2026-11-27\n")
    for memory in ("3 MB", "4 MB"):
        section = Section("Window", [Fact("memory", memory)])
        write_report(path, [section], {}, "2026-01-31", say=lambda text: None)
        measured, _, kept = path.read_text("utf-8").partition(f"\n{KEPT}")
        assert measured.endswith(f"| memory | {memory} |  |  |\n")
        assert measured.count("## ") == 1
        assert kept == by_hand


def test_labels_are_matched_each_with_one_object_at_most() -> None:
    truth = np.zeros((20, 40), np.int32)
    truth[2:12, 2:12], truth[2:12, 15:25], truth[15:18, 30:40] = 7, 3, 9
    assert match_labels(truth, truth * 5).f1 == match_labels(truth, truth).mean_iou == 1
    labels = np.zeros((20, 40), np.int32)
    labels[2:12, 2:10] = 1  # 0.8 of the first
    labels[2:6, 15:25], labels[6:12, 15:25] = 2, 3  # 0.4 and 0.6 of the second
    matched = match_labels(truth, labels)
    assert (matched.hits, matched.true, matched.found) == (2, 3, 3)
    assert matched.f1 == pytest.approx(2 / 3)
    assert matched.mean_iou == pytest.approx((0.8 + 0.6 + 0) / 3)
    nothing = np.zeros_like(truth)
    assert match_labels(truth, nothing).f1 == match_labels(nothing, truth).f1 == 0
    assert match_labels(nothing, nothing).f1 == match_labels(nothing, nothing).mean_iou == 1


def test_a_device_is_measured_beside_the_cpu() -> None:
    rows = list(rows_beside_the_cpu("cpu", repeats=1))
    assert [row.what.split(",")[0] for row in rows] == [
        "64 boxes in one call",
        "64 boxes in one call",
        "find all objects of an image",
    ]
    for row in rows:
        assert len(row.ours.seconds) == 1
        assert row.other is not None
        assert len(row.other.seconds) == 1


@pytest.mark.parametrize("dark", [False, True])
def test_the_watershed_parts_objects_that_touch(dark: bool) -> None:
    rows, columns = np.mgrid[:60, :80]
    truth = np.zeros((60, 80), np.int32)
    for number, (row, column) in enumerate(((30, 20), (30, 38), (20, 65)), start=1):
        truth[(rows - row) ** 2 + (columns - column) ** 2 < 10**2] = number
    grey = np.where(truth > 0, 0.8, 0.1)
    matched = match_labels(truth, otsu_watershed(1 - grey if dark else grey))
    assert (matched.hits, matched.found) == (3, 3)


def test_finding_everything_is_measured_beside_the_baseline_or_skipped_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], one_torch_thread: None
) -> None:
    data = tmp_path / "real.npz"
    predictor = load_predictor("tiny", device="cpu")
    (row,) = automatic_rows(predictor, data)
    assert isinstance(row, Skipped)
    assert "not measured: the real images (dsb2018_train.npz) are not at hand" in row.line
    main(["--data", str(data)])
    assert "skipped: there is no" in capsys.readouterr().out
    rows, columns = np.mgrid[:64, :64]
    truth = ((rows - 30) ** 2 + (columns - 34) ** 2 < 12**2).astype(np.uint16)
    images = {f"{n}_labels": truth for n in range(9)}
    images |= {f"{n}_image": (40 + 160 * truth).astype(np.uint8) for n in range(9)}
    np.savez(data, **images)
    (row,) = automatic_rows(predictor, data)
    assert isinstance(row, Row)
    assert len(row.ours.seconds) == 3, "every fourth image is held out"
    assert row.other_name.startswith("F1 at IoU 0.5 1.000, mean matched IoU ")
    assert "; Otsu and watershed 1.000 and 0.9" in row.other_name
    main(["--data", str(data), "--every", "2"])
    assert "| all | 2 | 2 | 1.000 | 1.000 |" in capsys.readouterr().out


@pytest.mark.slow
def test_finding_everything_is_compared_with_another_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, columns = np.mgrid[:64, :64]
    truth = ((rows - 30) ** 2 + (columns - 34) ** 2 < 12**2).astype(np.uint16)
    images = {f"{n}_labels": truth for n in range(9)}
    images |= {f"{n}_image": (40 + 160 * truth).astype(np.uint8) for n in range(9)}
    np.savez(tmp_path / "real.npz", **images)
    finding.main(["--base", str(finding.ROOT), "--data", str(tmp_path / "real.npz")])
    count, everything, _, f1, _ = capsys.readouterr().out.splitlines()
    assert count.startswith("2 images")
    assert 0.1 < float(everything.split()[1]) < 10
    assert f1 == "F1: 1.0000, the other 1.0000"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a virtual display")
def test_a_slide_is_measured_with_its_memory_and_what_is_read() -> None:
    memory, pixels = slide_rows(side=2500, objects=3)
    assert "2500 x 2500 px, 3 objects" in memory.what
    assert memory.value.endswith(" MB")
    assert "limit 256" in memory.beside
    assert 0 < float(pixels.value.split()[0]) < 60, "a few chunks of 2 MB at most"


def test_the_parts_of_the_encoder_are_measured_beside_what_the_machine_can_do(
    one_torch_thread: None,
) -> None:
    products, memory, *parts = profile_rows(get_preset("tiny"), repeats=2)
    assert isinstance(products, Fact)
    assert products.value.endswith(" GFLOP/s")
    assert isinstance(memory, Fact)
    assert memory.value.endswith(" GB/s")
    names = [part.what for part in parts]
    assert names[0] == "profile, one of 6 blocks: linear layers, GELU"
    assert names[2:] == [
        "profile, one of 3 blocks: attention in windows",
        "profile, one of 3 blocks: attention everywhere",
        "profile, one of 6 blocks: norms and sums",
        "profile, neck",
    ]
    assert all(isinstance(part, Row) and part.ours.median > 0 for part in parts[2:])


def test_a_first_click_from_a_store_is_measured(one_torch_thread: None) -> None:
    row = store_row(get_preset("tiny"), device="cpu", repeats=2)
    assert len(row.ours.seconds) == 2
    assert "s without the store" in row.other_name


def test_loading_is_measured_beside_reading_a_file_that_loads(tmp_path: Path) -> None:
    # The sizes are what matters here, and loading a file in released naming needs no others.
    config = shallow()
    path = tmp_path / "model.safetensors"
    write_released(config, path)
    first = checkpoint.load(path, config=config)
    write_released(config, path, seed=1)
    assert checkpoint.fingerprint(checkpoint.load(path, config=config)) != checkpoint.fingerprint(
        first
    )
    path.unlink()
    rows = list(loading_rows(config, repeats=1))
    assert len(rows) == 2
    for row in rows:
        assert row.other is not None
        assert "0.1" in row.what.partition(" GB")[0]
        assert row.ours.median > 0 < row.other.median


def test_scaling_is_measured_a_unit_and_beside_the_first(one_torch_thread: None) -> None:
    predictor = load_predictor("tiny", "cpu", resolution=252)
    images = list(image_rows(predictor, (64, 300), repeats=1))
    objects = list(object_rows(predictor, (1, 3), repeats=1))
    planes = list(plane_rows(predictor, (1, 2)))
    for rows in (images, objects, planes):
        assert len(rows) == 2
        assert rows[0].other_name.startswith("1.00 x ")
        share = rows[1].ours.median / rows[0].ours.median
        assert rows[1].other_name.startswith(f"{share:.2f} x ")
    assert "an object of 3" in objects[1].what
    assert "batch of 2" in planes[1].what
    threads = list(thread_rows(predictor, repeats=1))
    assert all(row.other_name == "one thread" for row in threads)
    assert torch.get_num_threads() == 1, "as it was before"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a virtual display")
def test_the_window_is_measured_from_opening_to_labels() -> None:
    rows = list(gui_rows(sides=(512,), clicks=2, openings=1, count=3, model="tiny", seconds=0.5))
    names = [row.what for row in rows]
    assert len(names) == len(set(names)) == 10
    assert all(0 < one < 60 for row in rows for one in row.ours.seconds)
    shown, clickable, ready = (row.ours.median for row in rows[:3])
    assert shown < clickable < ready
    clicks, first = rows[4], rows[5]
    assert len(clicks.ours.seconds) == 2
    assert [part.split()[0] for part in first.other_name.split(", ")] == list(PARTS_OF_A_CLICK)
    assert rows[6].other_name.startswith("1.33 gestures an object"), "three clicks and a key"
    assert rows[8].other_name.endswith("times a click on the image that is open")
    assert "99th percentile" in rows[9].line


@pytest.mark.slow
def test_the_detector_is_measured_beside_transformers() -> None:
    row = detector_row(shallow(), repeats=1)
    assert row.other_name == "transformers"
    assert row.other is not None
    assert all(0 < one.median < 60 for one in (row.ours, row.other))


def test_the_card_compares_two_models_set_by_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, columns = np.mgrid[:64, :64]
    for name, radius in (("cells", 14), ("grains", 18)):
        labels = ((rows - 30) ** 2 + (columns - 33) ** 2 < radius**2).astype(np.uint16)
        np.savez(tmp_path / f"{name}.npz", a_image=(200 * labels).astype(np.uint8), a_labels=labels)
    weights = str(embedded_weights())
    model_card.main(["--data", str(tmp_path), "--no-baselines", "--before", weights])
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    ]
    header, _, everything, mean, *sets = table
    assert [row[0] for row in sets] == ["cells", "grains"]
    assert header[1:5] == ["objects", "click", "click, best of three", "click, then one correction"]
    assert [row[1] for row in (everything, *sets)] == ["2", "1", "1"]
    for column in range(2, len(header)):
        pairs = [row[column].split(" → ") for row in (*sets, mean)]
        assert all(before == after for before, after in pairs)
        (a, _), (b, _), (m, _) = pairs
        if "-" not in (a, b):
            assert float(m) == pytest.approx((float(a) + float(b)) / 2, abs=0.002)
            assert float(m) > 0.8
