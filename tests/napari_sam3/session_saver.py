"""Label an image, save the session by the panel's button, and end: run by test_saved_widget.py.

Prints the state of the session as JSON; `state` is what the test compares it with.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from napari_sam3.cli.robot import Robot
from napari_sam3.qt.widget import SegmentWidget
from tests.napari_sam3.batch_samples import small_predictor


def state(widget: Any) -> Any:
    """Return all that is to be the same in another process, as JSON has it."""
    binding, session = widget.binding, widget.session
    table = binding.labels.features
    objects = session.objects_in(binding.labels.unique_id)
    known = {
        "labels": np.asarray(binding.labels.data).tolist(),
        "scale": binding.labels.scale.tolist(),
        "objects": [(one.id, one.category, one.prompts.points) for one in objects],
        "table": table[["index", "class", "score", "time"]].values.tolist(),
        "hand": [(one.prompts.points, one.prompts.labels) for one in session.draft_set.drafts],
        "points": np.round(binding.points.data, 1).tolist(),
        "operations": [one.kind for one in session.operations_in(binding.labels.unique_id)],
        "start": session.starts.get(binding.labels.unique_id),
        "options": (session.mode, session.policy, session.category),
        "classes": [(one.name, one.color) for one in widget.panel.classes.classes],
    }
    return json.loads(json.dumps(known, default=float))


def press(button: Any) -> None:
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)  # type: ignore[call-overload]


def main(image: str, path: str) -> None:
    """Do it."""
    viewer = napari.Viewer()
    viewer.window.resize(1000, 900)
    viewer.open(image, scale=(2, 2))
    widget: Any = SegmentWidget(viewer)
    widget.set_predictor(small_predictor())
    viewer.window.add_dock_widget(widget, name="SAM 3")
    hand = Robot(viewer)
    hand.wait_until(lambda: widget.binding is not None, "the layers")
    viewer.reset_view()
    hand.rest()
    widget.session.policy = "overwrite"
    widget.panel.classes.add("nucleus")
    for number, place in enumerate(((40, 40), (100, 90), (150, 40), (156, 136))):
        if number == 2:
            widget.panel.classes.add("other")
        hand.click(place)
        hand.wait_until(lambda: not widget.session.busy, "the mask")
        if number < 3:
            hand.type("N")
    hand.click((20, 20), right=True)
    hand.wait_until(lambda: not widget.session.busy, "the mask")
    QFileDialog.getSaveFileName = staticmethod(lambda *_: (path, ""))  # type: ignore[assignment]
    press(widget.panel.files.save_session)
    hand.rest()
    print(json.dumps(state(widget)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
