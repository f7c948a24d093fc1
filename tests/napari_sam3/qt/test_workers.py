import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from napari_sam3.qt import workers
from napari_sam3.qt.workers import ThreadRunner
from napari_sam3.session.jobs import Outcome

PROGRAM = """
import numpy as np, psutil
from napari_sam3.qt.workers import give_back_memory

def resident():
    return psutil.Process().memory_info().rss / 1e6

blocks = [np.ones(8000) for _ in range(2000)]
blocks = blocks[::100]  # what is left lies between what was freed
before = resident()
give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take memory back themselves")
def test_freed_memory_goes_back_to_the_system() -> None:
    # A process of its own: in one that runs tests, the heap is full of holes already.
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) > 100  # of 128 MB


@pytest.fixture
def runner(qtbot: Any) -> Iterator[ThreadRunner]:
    made = ThreadRunner()
    yield made
    made.close()
    assert made.wait(30)


def ask(runner: ThreadRunner, work: Any, told: list[Any]) -> Callable[[], None]:
    return runner(work, lambda outcome: told.append(outcome), lambda stage, _: told.append(stage))


def test_a_quick_answer_is_taken_at_once_and_only_once(
    runner: ThreadRunner, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BLINK", 30.0)
    told: list[Any] = []
    outcome = Outcome(predictions=())

    def work(report: Any) -> Outcome:
        report("predicting", None)
        return outcome

    ask(runner, work, told)()
    assert told == [outcome]
    # What was reported on the way comes later, and is of no use by then.
    qtbot.wait(20)
    assert told == [outcome]


def test_nobody_waits_for_work_that_says_it_takes_long(
    runner: ThreadRunner, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BLINK", 30.0)
    told: list[Any] = []
    go_on = threading.Event()

    def work(report: Any) -> Outcome:
        report("encoding", 0.0)
        assert go_on.wait(30)
        return Outcome(predictions=())

    ask(runner, work, told)()
    assert told == []
    go_on.set()
    qtbot.waitUntil(lambda: len(told) == 2, timeout=30000)
    assert told[0] == "encoding"


def test_a_failure_comes_as_an_event(
    runner: ThreadRunner, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "BLINK", 30.0)
    told: list[Any] = []

    def work(_report: Any) -> Outcome:
        raise ValueError("no")

    ask(runner, work, told)()
    assert told == []
    qtbot.waitUntil(lambda: len(told) == 1, timeout=30000)
    assert isinstance(told[0].error, ValueError)


def test_after_an_answer_that_took_long_nobody_waits_for_the_next(
    runner: ThreadRunner, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def slow(_report: Any) -> Outcome:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return Outcome(predictions=())

    monkeypatch.setattr(workers, "BLINK", 0.01)
    ask(runner, slow, told)()
    qtbot.waitUntil(lambda: len(told) == 1, timeout=30000)
    monkeypatch.setattr(workers, "BLINK", 30.0)
    ask(runner, lambda _report: Outcome(predictions=()), told)()
    assert len(told) == 1
    qtbot.waitUntil(lambda: len(told) == 2, timeout=30000)
    ask(runner, lambda _report: Outcome(predictions=()), told)()  # that one was quick
    assert len(told) == 3
