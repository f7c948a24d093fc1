"""How often the pixels of an accepted object are read and written, through real events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from napari_sam3.core.operations import LabelChange
from napari_sam3.layers.label_layer import LayerTarget

Image = npt.NDArray[np.uint8]
OpenDesk = Callable[..., Any]


def test_an_accepted_object_is_read_once_and_written_once(
    open_desk: OpenDesk, blobs: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()

    def count(name: str) -> None:
        done = getattr(LayerTarget, name)

        def call(*args: Any) -> Any:
            counts[name] += 1
            return done(*args)

        monkeypatch.setattr(LayerTarget, name, call)

    desk = open_desk(blobs)
    hand, session, labels = desk.hand, desk.session, desk.widget.binding.labels
    count("read")
    count("write")
    told: list[LabelChange] = []
    session.labels_changed.connect(told.append)
    session.mode = "many"
    for policy, boxes in (
        ("keep", [((5, 5), (36, 34))]),
        ("overwrite", [((20, 20), (70, 60)), ((30, 5), (60, 70)), ((63, 5), (88, 33))]),
    ):
        session.policy = policy
        for start, stop in boxes:
            hand.drag(start, stop)
        desk.settle()
        counts.clear()
        told.clear()
        hand.type("N")
        assert counts == {"read": len(boxes), "write": len(boxes)}, policy
        (change,) = told
        assert len(change.writes) == len(change.operation.objects) == len(boxes)
        for write in change.writes:  # as they are when all are written, though boxes overlap
            assert np.array_equal(write.values, labels.data[write.region])
        for known in change.operation.objects:
            assert known.area > 0
    hand.type("Control-Z")
    counts.clear()
    hand.type("Control-Shift-Z")
    for write in told[-1].writes:
        assert np.array_equal(write.values, labels.data[write.region])
    assert counts["write"] == 3
