"""A session with a stack of two discs that wander, for tests of propagation."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.planes import PlaneIndex
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.session.propagation_run import PropagationResult
from napari_sam3.session.session import LabelingSession
from napari_sam3.session.stacks import PlaneStack

#: Random weights know no objects: nothing ends.
ENDLESS = EndRules(min_area=1)
PLANES, HERE = 6, 2


@dataclass
class Table:
    """A session with a stack, on plane HERE."""

    session: LabelingSession
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint32]
    stack: PlaneStack

    def go_to(self, z: int) -> None:
        key = PlaneIndex((1, 2), (z,))
        self.session.set_plane(self.stack.images[z], key, self.stack.labels[z])

    def show(self, z: int, box: tuple[float, float, float, float]) -> int:
        """Accept an object by a box; returns its label."""
        self.go_to(z)
        self.session.set_prompts(PromptSet(box=box))
        self.session.predict()
        accepted = self.session.accept()
        assert accepted is not None
        return accepted.id

    def propagate(self, *labels: int, **options: Any) -> PropagationResult:
        options.setdefault("stack", self.stack)
        options.setdefault("rules", ENDLESS)
        found = self.session.propagate(labels or None, **options)
        assert found is not None
        return found

    def planes(self, label: int) -> list[int]:
        return [int(z) for z in np.flatnonzero((self.labels == label).any((1, 2)))]


def z_of(key: Hashable) -> int:
    assert isinstance(key, PlaneIndex)
    return key.index[0]


LEFT, RIGHT = (8.0, 8.0, 33.0, 32.0), (42.0, 22.0, 68.0, 50.0)


def make_table(session: LabelingSession, image: npt.NDArray[Any]) -> Table:
    labels = np.zeros(image.shape, np.uint32)
    made = Table(session, image, labels, PlaneStack.of(image, labels))
    made.go_to(HERE)
    return made
