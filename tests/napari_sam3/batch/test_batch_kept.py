"""What of a batch in the viewer outlives it: the journal, session files, and nothing else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sam3.layers.journaling import identify_layer
from napari_sam3.qt.crash_recovery import Safety
from napari_sam3.records.folder import journals_in
from napari_sam3.records.recovery import read_journal
from tests.napari_sam3.batch_bench import PLANES, Labels, OpenBench
from tests.napari_sam3.batch_samples import stack


def test_the_journal_holds_a_batch_plane_by_plane(
    open_bench: OpenBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Safety, "folder", str(tmp_path / "journals"))
    bench = open_bench()
    binding = bench.desk.widget.binding
    bench.desk.hand.wait_until(lambda: binding.journal.file is not None, "the journal", 30)
    bench.start("automatic")
    bench.desk.hand.wait_until(lambda: bench.pixels[1].any(), "a plane", 60)
    (path,) = journals_in(tmp_path / "journals", identify_layer(binding.image))
    assert read_journal(path).objects  # while it runs
    bench.wait()
    found, restored = np.zeros_like(bench.pixels), read_journal(path)

    def write(key: Any, region: Any, values: Labels) -> None:
        found[(*key.index, *region)] = values

    restored.apply(write)
    np.testing.assert_array_equal(found, bench.pixels)
    assert [one.id for one in restored.objects] == [one.id for one in bench.desk.session.objects]
    bench.desk.press("undo")
    assert not read_journal(path).operations


def test_a_session_file_of_a_batch_is_replayed(open_bench: OpenBench, tmp_path: Path) -> None:
    bench = open_bench()
    binding = bench.desk.widget.binding
    found = bench.do("automatic")
    binding.save_session(tmp_path / "session.json")
    bench.desk.press("undo")
    assert binding.replay(tmp_path / "session.json") == PLANES
    np.testing.assert_array_equal(bench.pixels, found)
    bench.desk.press("undo")
    assert not bench.pixels.any()
    bench.desk.settle()


@pytest.mark.parametrize("way", ["shut down", "another image", "labels deleted", "panel gone"])
def test_a_batch_leaves_nothing_behind(way: str, open_bench: OpenBench) -> None:
    bench = open_bench(stack(60))
    desk, widget, labels = bench.desk, bench.desk.widget, bench.labels
    bench.start("automatic")
    bench.desk.hand.wait_until(lambda: bench.pixels.any(), "a plane", 60)
    if way == "shut down":
        widget.shut_down()
        assert widget.wait(60)
    elif way == "another image":
        desk.viewer.add_image(stack(2), name="another")
        widget.set_image(desk.viewer.layers["another"])
        assert not bench.panel.bar.isVisible()
    elif way == "labels deleted":
        desk.viewer.layers.remove(desk.viewer.layers[bench.labels.name])
        desk.hand.wait_until(lambda: not bench.run.running, "the batch to end", 60)
        assert "was deleted" in desk.status
        desk.settle()
    else:  # what Qt tells when it deletes the panel without anybody having closed it
        widget.panel.destroyed.emit(None)
        desk.hand.wait_until(lambda: not bench.run.running, "the batch to end", 60)
    desk.hand.wait_until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("napari-sam3-")],
        "the threads of the batch to end", 30,
    )  # fmt: skip
    assert not bench.run.running
    assert not labels.data[-1].any()
