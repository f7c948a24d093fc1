"""Pieces of work side by side, and objects decoded that way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sam3 import load_predictor
from sam3.errors import DeviceMemoryError
from sam3.runtime.cores import on_all_cores, torch_threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    with torch_threads(2):
        yield


def test_pieces_are_done_at_the_same_time_in_order_and_with_one_core_each(
    two_threads: None,
) -> None:
    both = threading.Barrier(2, timeout=30)  # ends only if two are in work at once

    def work(piece: int) -> tuple[int, int, int]:
        both.wait()
        return piece, torch.get_num_threads(), threading.get_ident()

    found = on_all_cores(work, range(8))
    assert [piece for piece, _, _ in found] == list(range(8))
    assert {threads for _, threads, _ in found} == {1}
    others = {thread for _, _, thread in found}
    assert threading.get_ident() not in others
    assert len(others) == 2
    assert torch.get_num_threads() == 2, "as it was before"
    seen: list[int] = []
    fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert seen == [2], "threads that begin later have all cores"


def test_a_single_piece_or_a_single_core_stays_in_this_thread(two_threads: None) -> None:
    here = threading.get_ident()
    assert on_all_cores(lambda _piece: threading.get_ident(), [0]) == [here]
    with torch_threads(1):
        assert on_all_cores(lambda _piece: threading.get_ident(), [0, 1]) == [here, here]
    assert on_all_cores(lambda piece: piece, []) == []


def test_what_fails_in_one_piece_is_raised_here(
    two_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load_predictor(device="cpu", resolution=252)
    features = predictor.encode(np.zeros((40, 50), np.uint8))

    def no_memory(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")

    points, labels = np.full((4, 1, 2), 20.0), np.ones((4, 1), int)
    with monkeypatch.context() as patch:
        patch.setattr(predictor, "_decode", no_memory)
        with pytest.raises(DeviceMemoryError, match="fewer objects"):
            predictor.predict(features, points, labels)
    assert predictor.predict(features, points, labels).masks.shape == (4, 3, 40, 50)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_objects_decoded_side_by_side_are_those_decoded_alone(
    two_threads: None, precision: str
) -> None:
    predictor = load_predictor(device="cpu", precision=precision, resolution=252)  # type: ignore[arg-type]
    rows, columns = np.mgrid[:90, :120]
    image = np.where((rows - 40) ** 2 + (columns - 60) ** 2 < 400, 200, 30).astype(np.uint8)
    features = predictor.encode(image)
    points = np.random.default_rng(0).uniform(5, 85, (9, 1, 2))
    labels = np.ones((9, 1), int)
    together = predictor.predict(features, points, labels)
    for number in range(9):
        alone = predictor.predict(features, points[number], labels[number])
        np.testing.assert_allclose(together.logits[number], alone.logits, rtol=0, atol=1e-3)
        np.testing.assert_allclose(together.scores[number], alone.scores, rtol=0, atol=1e-4)
