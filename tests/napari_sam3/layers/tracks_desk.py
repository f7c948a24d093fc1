"""A desk with a time series of two cells, for tests of tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel

from napari_sam3 import Binding, bind
from napari_sam3.session.session import LabelingSession

Labels = npt.NDArray[np.uint16]
SHAPE = (6, 40, 40)
UPPER, LOWER = (4, 4), (24, 4)


def cells() -> Labels:
    """Return a cell 1 on all frames, which is a daughter from 3 on, and the other daughter, 2."""
    labels = np.zeros(SHAPE, np.uint16)
    labels[:, 2:10, 2:10] = 1
    labels[3:, 22:30, 2:10] = 2
    return labels


class Desk:
    """A binding on a time series with labels, in a viewer without a window."""

    def __init__(self, labels: Any, axes: tuple[str, ...] = ("t", "y", "x")) -> None:
        self.viewer = ViewerModel()
        more = labels.ndim - 3
        placed = {
            "axis_labels": axes,
            "scale": (1, *[1] * more, 0.5, 0.5),
            "translate": (0, *[0] * more, 7, 9),
        }
        self.image = self.viewer.add_image(np.zeros(labels.shape, np.uint8), **placed)
        self.layer = self.viewer.add_labels(labels, **placed)
        self.errors: list[BaseException] = []
        self.binding = self.bind()
        self.show(0)

    def bind(self) -> Binding:
        return bind(
            self.viewer,
            self.image,
            self.layer,
            session=LabelingSession(),
            on_error=self.errors.append,
        )

    @property
    def labels(self) -> Labels:
        data: Labels = self.layer.data
        return data

    @property
    def tracks(self) -> Any:
        return self.binding.divisions.tracks.layer

    @property
    def shown(self) -> bool:
        return self.tracks is not None

    @property
    def graph(self) -> dict[int, list[int]]:
        return {child: list(many) for child, many in self.tracks.graph.items()}

    def show(self, frame: int) -> None:
        self.viewer.dims.set_current_step(0, frame)

    def press(self, frame: int, place: tuple[int, int], key: str = "Shift-D") -> None:
        """Press a key, of divisions, on the points layer, with the mouse at a place in px."""
        self.show(frame)
        row, column = place
        where = (frame, *[0] * (self.layer.ndim - 3), row, column)
        self.viewer.cursor.position = self.layer.data_to_world(where)
        self.viewer.layers.selection.active = self.binding.points
        self.binding.points.keymap[_coerced(key)](self.binding.points)

    def check(self) -> None:
        """Compare the layer with the labels."""
        rows = []
        for label in np.unique(self.labels[self.labels > 0]).tolist():
            for frame in range(SHAPE[0]):
                where = np.argwhere(self.labels[frame] == label)
                if len(where):
                    rows.append((label, frame, *where.mean(axis=0)))
        np.testing.assert_allclose(self.tracks.data, rows)
        assert self.tracks.visible


def _coerced(key: str) -> Any:
    from napari.utils.key_bindings import coerce_keybinding

    return coerce_keybinding(key)
