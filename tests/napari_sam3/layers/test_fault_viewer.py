"""Layer edits in any order in a real viewer: no error but ours, and labelling goes on."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from napari.utils.notifications import ErrorNotification, notification_manager
from qtpy.QtWidgets import QApplication

from sam3.errors import Sam3Error
from tests.napari_sam3.fault_samples import EXAMPLES

ROWS, COLUMNS = st.integers(0, 49), st.integers(0, 59)
WHICH = st.integers(0, 9)


def picture(kind: str) -> npt.NDArray[Any]:
    random = np.random.default_rng(0)
    shape = {"plane": (50, 60), "stack": (3, 50, 60), "other": (40, 70), "time": (2, 2, 50, 60)}
    return random.integers(0, 200, shape[kind], np.uint8)


class ViewerMachine(RuleBasedStateMachine):
    """Does to a viewer with the widget what a person may do, in any order."""

    def __init__(self, desk: Any) -> None:
        super().__init__()
        self.desk, self.viewer = desk, desk.viewer
        self.told = len(notification_manager.records)
        self.changed: list[Any] = []  # images whose labels may no longer fit

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Let errors of ours pass, raised or shown."""
        try:
            yield
            QApplication.processEvents()
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, Sam3Error):
                cause = cause.__cause__
            if cause is None:
                raise

    def layer(self, which: int) -> Any:
        layers = self.viewer.layers
        return layers[which % len(layers)] if len(layers) else None

    @property
    def binding(self) -> Any:
        return self.desk.widget.binding

    @initialize()
    def begin(self) -> None:
        self.viewer.layers.clear()
        self.viewer.dims.ndisplay = 2
        self.add_image("plane")

    # ------------------------------------------------------------------ layers

    @rule(kind=st.sampled_from(("plane", "stack", "other", "time")))
    def add_image(self, kind: str) -> None:
        if len(self.viewer.layers) < 9:
            with self.attempt():
                self.desk.add_image(picture(kind))

    @rule(which=WHICH)
    def remove_a_layer(self, which: int) -> None:
        layer = self.layer(which)
        if layer is not None:
            with self.attempt():
                self.viewer.layers.remove(layer)

    @rule(which=WHICH, name=st.sampled_from(("same", "image labels", "", "Zellen 細胞", "n" * 300)))
    def rename_a_layer(self, which: int, name: str) -> None:
        layer = self.layer(which)
        if layer is not None:
            with self.attempt():
                layer.name = name

    @rule(which=WHICH, to=WHICH)
    def move_a_layer(self, which: int, to: int) -> None:
        count = len(self.viewer.layers)
        if count:
            with self.attempt():
                self.viewer.layers.move(which % count, to % count)

    @rule(which=WHICH, shown=st.booleans())
    def show_a_layer(self, which: int, shown: bool) -> None:
        layer = self.layer(which)
        if layer is not None:
            with self.attempt():
                layer.visible = shown

    @rule(which=WHICH)
    def select_a_layer(self, which: int) -> None:
        layer = self.layer(which)
        if layer is not None:
            with self.attempt():
                self.viewer.layers.selection.active = layer

    @rule(which=WHICH, scale=st.sampled_from((1.0, 0.5, 3.0)), shift=st.sampled_from((0.0, 7.5)))
    def place_a_layer(self, which: int, scale: float, shift: float) -> None:
        layer = self.layer(which)
        if layer is not None:
            with self.attempt():
                layer.scale = [scale] * layer.ndim
                layer.translate = [shift] * layer.ndim

    @rule(which=WHICH)
    def choose_an_image(self, which: int) -> None:
        images = [one for one in self.viewer.layers if type(one).__name__ == "Image"]
        if images:
            with self.attempt():
                self.desk.widget.set_image(images[which % len(images)])

    @rule(which=WHICH, kind=st.sampled_from(("plane", "stack", "other", "time")))
    def give_an_image_other_data(self, which: int, kind: str) -> None:
        images = [one for one in self.viewer.layers if type(one).__name__ == "Image"]
        if images:
            image = images[which % len(images)]
            if image.data.shape != picture(kind).shape:
                self.changed.append(image)
            with self.attempt():
                image.data = picture(kind)

    @rule()
    def add_labels(self) -> None:
        if self.binding is not None and len(self.viewer.layers) < 9:
            with self.attempt():
                self.viewer.add_labels(np.zeros_like(self.binding.labels.data))

    # -------------------------------------------------------------------- view

    @rule(axis=st.integers(0, 3), at=st.integers(0, 3))
    def move_a_slider(self, axis: int, at: int) -> None:
        if axis < self.viewer.dims.ndim:
            with self.attempt():
                self.viewer.dims.set_current_step(axis, at)

    @rule(ndisplay=st.sampled_from((2, 2, 3)))
    def change_the_display(self, ndisplay: int) -> None:
        with self.attempt():
            self.viewer.dims.ndisplay = ndisplay

    @rule()
    def roll_the_axes(self) -> None:
        with self.attempt():
            self.viewer.dims.roll()

    # ----------------------------------------------------------------- prompts

    @rule(row=ROWS, column=COLUMNS, right=st.booleans(), shift=st.booleans())
    def click(self, row: int, column: int, right: bool, shift: bool) -> None:
        if self.viewer.dims.ndisplay == 2:
            with self.attempt():
                self.desk.hand.click((row, column), right=right, shift=shift)

    @rule(row=ROWS, column=COLUMNS, outside=st.sampled_from((0, 0, 500)))
    def add_a_point(self, row: int, column: int, outside: int) -> None:
        if self.binding is not None:
            points = self.binding.points
            place = [0] * (points.ndim - 2) + [row + outside, column]
            with self.attempt():
                points.add(place)

    @rule(which=WHICH, to=ROWS)
    def move_or_remove_a_point(self, which: int, to: int) -> None:
        if self.binding is not None and len(self.binding.points.data):
            points = self.binding.points
            with self.attempt():
                if which % 2:
                    points.selected_data = {which % len(points.data)}
                    points.remove_selected()
                else:
                    data = points.data.copy()
                    data[which % len(data), -1] = to
                    points.data = data

    @rule(row=ROWS, column=COLUMNS, side=st.integers(0, 30))
    def add_a_box(self, row: int, column: int, side: int) -> None:
        if self.binding is not None and self.viewer.dims.ndisplay == 2:
            boxes = self.binding.boxes
            corners = np.zeros((4, boxes.ndim))
            corners[:, -2:] = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * side + (row, column)
            with self.attempt():
                boxes.add_rectangles([corners])

    @rule()
    def remove_all_boxes(self) -> None:
        if self.binding is not None and len(self.binding.boxes.data):
            with self.attempt():
                self.binding.boxes.selected_data = set(range(len(self.binding.boxes.data)))
                self.binding.boxes.remove_selected()

    # ------------------------------------------------------------------ labels

    @rule(row=ROWS, column=COLUMNS, label=st.integers(0, 3))
    def paint_by_hand(self, row: int, column: int, label: int) -> None:
        if self.binding is not None and self.viewer.dims.ndisplay == 2:
            labels = self.binding.labels
            with self.attempt():
                labels.paint((0,) * (labels.ndim - 2) + (row, column), label)

    @rule(what=st.sampled_from(("accept", "reject", "undo", "redo", "next_candidate", "restore")))
    def command(self, what: str) -> None:
        if self.binding is not None:
            with self.attempt():
                getattr(self.binding, what)()

    @rule(what=st.sampled_from(("undo", "redo")))
    def napari_s_own_undo(self, what: str) -> None:
        if self.binding is not None:
            with self.attempt():
                getattr(self.binding.labels, what)()

    @rule(what=st.sampled_from(("refine", "delete", "split", "merge")), row=ROWS, column=COLUMNS)
    def label_under_the_mouse(self, what: str, row: int, column: int) -> None:
        if self.binding is not None:
            place = [0.0] * (self.viewer.dims.ndim - 2) + [row, column]
            with self.attempt():
                getattr(self.binding, what)(place)

    @rule(mode=st.sampled_from(("one", "many")), policy=st.sampled_from(("keep", "overwrite")))
    def change_how(self, mode: Any, policy: Any) -> None:
        self.desk.session.mode, self.desk.session.policy = mode, policy

    # -------------------------------------------------------------- what holds

    @invariant()
    def only_our_errors_were_shown(self) -> None:
        new = notification_manager.records[self.told :]
        self.told += len(new)
        for one in new:
            if isinstance(one, ErrorNotification):
                assert isinstance(one.exception, Sam3Error), repr(one.exception)

    @invariant()
    def labels_fit_the_image(self) -> None:
        binding = self.binding
        if binding is None or binding.image in self.changed:
            return
        if binding.labels in self.viewer.layers:
            assert binding.labels.data.shape == binding.image.data.shape

    def teardown(self) -> None:
        try:
            self.clear_and_label()
        except Exception:
            # Hypothesis runs it again, in a viewer that is no longer clean, and tells of that.
            traceback.print_exc()
            raise

    def clear_and_label(self) -> None:
        self.desk.settle()
        self.viewer.dims.ndisplay = 2
        self.viewer.layers.clear()
        self.viewer.dims.order = tuple(range(self.viewer.dims.ndim))
        self.desk.session.mode, self.desk.session.policy = "one", "overwrite"
        layer = self.desk.add_image(picture("plane"))
        widget = self.desk.widget
        self.desk.hand.wait_until(
            lambda: widget.binding is not None and widget.binding.image == layer, "the layers", 30
        )
        before = len(self.desk.session.objects)
        self.desk.hand.click((25, 30))
        self.desk.settle()
        self.desk.hand.type("N")
        self.desk.settle()
        assert len(self.desk.session.objects) == before + 1, self.desk.status
        self.only_our_errors_were_shown()


@pytest.mark.timeout(7200)
def test_any_edits_of_layers_in_any_order(open_desk: Callable[..., Any]) -> None:
    desk = open_desk(picture("plane"))
    desk.session.look_ahead = 0
    run_state_machine_as_test(
        lambda: ViewerMachine(desk),  # type: ignore[arg-type]  # anything that makes one
        settings=settings(
            max_examples=max(3, EXAMPLES // 100),
            # Shrinking a fault takes minutes: the steps of the machine tell enough.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("look", [False, True])
def test_an_image_that_takes_the_place_of_another_one_at_once(
    open_desk: Callable[..., Any], look: bool
) -> None:
    desk = open_desk(picture("plane"))
    desk.viewer.layers.clear()
    if look:
        QApplication.processEvents()
    layer = desk.viewer.add_image(picture("other"))

    def taken() -> bool:
        binding = desk.widget.binding
        return binding is not None and bool(binding.image == layer)

    desk.hand.wait_until(taken, "the new image", 10)
