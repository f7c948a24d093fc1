"""The panel in a real viewer: what it offers, what it tells, and how it is reached."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.settings import get_plugin_settings
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QPushButton,
    QRadioButton,
    QSpinBox,
)

from napari_sam3.core.classes import ClassError, LabelClass
from napari_sam3.qt.advanced import Advanced
from napari_sam3.qt.class_bar import ClassBar
from napari_sam3.qt.controls import LayerChoice
from napari_sam3.qt.options import Options
from napari_sam3.qt.panel import Panel
from napari_sam3.qt.settings import PLUGIN, read_settings, write_setting
from napari_sam3.qt.text.panel import OWN_LAYER
from napari_sam3.qt.text.status import deleted_layers, time_left
from napari_sam3.session.options import SessionOptions
from napari_sam3.session.session import LabelingSession

Pixels = npt.NDArray[np.uint8]
LEFT = Qt.MouseButton.LeftButton


def texts(combo: QComboBox) -> list[str]:
    return [combo.itemText(i) for i in range(combo.count())]


def pick(combo: QComboBox, text: str) -> None:
    """Choose as a hand does: Qt tells of that by `activated`."""
    combo.setCurrentIndex(combo.findText(text))
    combo.activated.emit(combo.currentIndex())


@pytest.mark.parametrize("proxied", [False, True])
def test_layers_are_offered_before_the_widget_is_docked(qapp: Any, proxied: bool) -> None:
    model = ViewerModel()
    first = model.add_image(np.zeros((8, 8)), name="first")
    model.add_labels(np.zeros((8, 8), int), name="labels")
    model.add_image(np.zeros((8, 8)), name="second")
    viewer = PublicOnlyProxy(model) if proxied else model
    choice = LayerChoice(Image, "an image", viewer, [("None of them", "none")])
    choice.show(first)
    assert texts(choice.native) == ["second", "first", "None of them"]
    assert choice.native.currentText() == "first"
    first.name = "renamed"
    model.layers.move(0, 3)
    choice.show("none", lambda layer: layer.name != "second")
    assert texts(choice.native) == ["renamed", "None of them"]
    assert choice.data(choice.native.currentIndex()) == "none"


def test_without_a_viewer_of_its_own_a_choice_asks_the_window_it_is_in(
    make_napari_viewer: Any,
) -> None:
    viewer = make_napari_viewer()
    viewer.add_labels(np.zeros((8, 8), int), name="labels")
    choice = LayerChoice(Labels, "labels")
    viewer.window.add_dock_widget(choice.widget, name="choice")
    assert texts(choice.native) == ["labels"]


def test_every_control_is_named_explained_and_reached_by_the_tab_key(qtbot: Any) -> None:
    panel = Panel()
    qtbot.addWidget(panel)
    panel.show_mode("one")
    panel.show_candidates(3)
    panel.advanced.show_channels([("a", 0), ("b", 1)], (1,))
    panel.advanced.unfold(True)
    panel.batch.fold.unfold(True)
    panel.show()
    inner = panel.widget()
    assert inner is not None
    kinds = (QCheckBox, QComboBox, QDoubleSpinBox, QPushButton, QRadioButton, QSpinBox)
    controls: list[Any] = [one for kind in kinds for one in inner.findChildren(kind)]
    controls.append(panel.batch.output)
    panel.batch.form.setRowVisible(panel.batch.limits, True)
    assert len(controls) > 20
    chain, here = set(), inner.nextInFocusChain()
    while here is not None and here not in chain:
        chain.add(here)
        here = here.nextInFocusChain()
    for control in controls:
        name = control.accessibleName() or getattr(control, "text", str)()
        assert name, control
        assert control.toolTip(), name
        if not isinstance(control, QComboBox) or not control.isEditable():
            assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, name
        assert control in chain, name
    titles = [label for label in inner.findChildren(QLabel) if "&" in label.text()]
    assert all(label.buddy() is not None for label in titles)
    keys = [label.text().partition("&")[2][:1].lower() for label in titles]
    buttons = (*panel.modes.values(), panel.stop, panel.next_mask, panel.advanced.journal)
    buttons += (panel.batch.run_button, panel.batch.stop_button)
    keys += [button.text().partition("&")[2][:1].lower() for button in buttons]
    keys += [key for key in keys if key in "fvlpwh"]  # of napari's menus
    assert len(set(filter(None, keys))) == len(list(filter(None, keys))), f"one for two: {keys}"


def test_the_panel_is_readable_at_300_px_with_everything_shown(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer()
    panel = Panel()
    viewer.window.add_dock_widget(panel, name="panel")
    panel.show_mode("many")
    panel.show_candidates(3)
    for name in ("contrast", "journal", "reason", "thumbnail"):
        panel.advanced.offer(name, True)
    panel.advanced.show_channels([("a channel with a very long name", 0)], (0,))
    panel.advanced.show_store(True, "1600 fields, 33600 MB, read only", "/a/very/long/path" * 9)
    panel.advanced.unfold(True)
    panel.batch.offer_axes("image", {0: ("an axis with a very long name", 20000)})
    panel.batch.fold.unfold(True)
    panel.batch.form.setRowVisible(panel.batch.limits, True)
    panel.batch.show_running(True)
    panel.batch.show_progress("1200 of 20000 units, 12.3 a second, 25 min left, 3 failed", 0.1)
    panel.batch.show_result("120 objects on 20000 planes.")
    inner = panel.widget()
    assert inner is not None
    bar = panel.verticalScrollBar()
    assert bar is not None
    inner.ensurePolished()
    assert inner.minimumSizeHint().width() + bar.sizeHint().width() <= 300


def test_folded_controls_cannot_be_reached_and_the_fold_is_remembered(
    make_napari_viewer: Any, npe2pm: Any, qtbot: Any
) -> None:
    from npe2 import PluginManifest

    from napari_sam3.qt.widget import SegmentWidget

    npe2pm.register(PluginManifest.from_distribution(PLUGIN))
    viewer = make_napari_viewer(show=True)
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget)
    advanced = widget.panel.advanced
    assert not advanced.combos["policy"].isVisible()
    QTest.mouseClick(advanced.toggleButton(), LEFT)  # type: ignore[call-overload]
    policy = advanced.combos["policy"]

    def seen() -> bool:
        widget.panel.ensureWidgetVisible(policy)
        return bool(policy.visibleRegion().boundingRect().height() > 5)

    qtbot.waitUntil(seen)
    assert read_settings().advanced_open
    pick(advanced.combos["policy"], "Overwrite")
    assert widget.session.policy == "overwrite"
    store = get_plugin_settings(PLUGIN)
    store.memory.cache_limit_mb = 100  # as in the Preferences
    assert widget.session.cache.limit_bytes == 100_000_000
    store.segment.policy = "keep"
    assert (widget.session.policy, policy.currentData()) == ("keep", "keep")
    store.segment.policy = "overwrite"
    widget.shut_down()
    again = SegmentWidget(viewer)
    viewer.window.add_dock_widget(again)
    assert again.panel.advanced.isExpanded()
    assert again.session.policy == "overwrite"
    again.shut_down()
    assert widget.wait(60)
    assert again.wait(60)


def test_the_fold_tells_what_the_user_chose_and_nothing_else(qtbot: Any) -> None:
    fold = Advanced()
    qtbot.addWidget(fold)
    told: list[tuple[str, Any]] = []
    for name, signal in (
        ("policy", fold.policy_chosen),
        ("level", fold.level_chosen),
        ("device", fold.device_chosen),
        ("contrast", fold.contrast_chosen),
        ("journal", fold.journal.toggled),
        ("channels", fold.channels_chosen),
    ):
        signal.connect(lambda value, name=name: told.append((name, value)))
    fold.show_value("policy", "overwrite")
    fold.show_value("journal", True)
    fold.show_channels([("a", 0), ("b", 1)], (1,))
    assert not told
    pick(fold.combos["level"], "2x finer")
    pick(fold.combos["device"], "CPU")
    fold.journal.click()
    pick(fold.channels["blue"], "a")
    pick(fold.channels["red"], "none")
    assert told == [
        *[("level", -1), ("device", "cpu"), ("journal", False)],
        *[("channels", (1, None, 0)), ("channels", (0,))],
    ]


def test_options_are_shown_whoever_sets_them_and_set_by_their_controls(qtbot: Any) -> None:
    panel, session = Panel(), LabelingSession()
    qtbot.addWidget(panel)
    classes = (LabelClass("cell", "#ff0000"), LabelClass("nucleus", "#00ff00"))
    write_setting("classes", classes)
    shown = Options(panel, session, lambda: None, lambda run: run(), read_settings())
    advanced, chosen = panel.advanced, session.options
    session.mode, session.policy, session.level = "many", "inside", 1
    session.category = "nucleus"
    assert panel.modes["many"].isChecked()
    assert [advanced.combos[name].currentData() for name in ("policy", "level")] == ["inside", 1]
    assert panel.classes.current == "nucleus"
    panel.modes["one"].click()
    advanced.combos["policy"].setCurrentIndex(advanced.combos["policy"].findData("overwrite"))
    advanced.combos["policy"].activated.emit(advanced.combos["policy"].currentIndex())
    pick(advanced.combos["level"], "2x finer")
    panel.classes.buttons["cell"].click()
    assert chosen == SessionOptions("one", "overwrite", -1, "cell", chosen.look_ahead)
    assert read_settings().policy == "overwrite"
    shown.close()
    session.mode = "many"
    assert panel.modes["one"].isChecked(), "once closed, it follows the session no longer"


def test_classes_are_added_by_typing_and_keep_their_colours(qtbot: Any) -> None:
    bar = ClassBar()
    qtbot.addWidget(bar)
    bar.show()
    bar.show_classes((LabelClass("cell", "#ff0000"),))
    told: list[tuple[str, Any]] = []
    bar.edited.connect(lambda value: told.append(("classes", value)))
    bar.chosen.connect(lambda value: told.append(("category", value)))
    QTest.mouseClick(bar.add_button, LEFT)  # type: ignore[call-overload]
    QTest.keyClicks(bar.name, "nucleus")  # type: ignore[call-arg, arg-type]
    QTest.keyClick(bar.name, Qt.Key.Key_Return)  # type: ignore[call-overload]
    assert bar.current == "nucleus"
    assert not bar.name.isVisible()
    assert [one.text() for one in bar.buttons.values()] == ["cell  Alt+1", "nucleus  Alt+2"]
    (names,) = (tuple(one.name for one in value) for name, value in told if name == "classes")
    assert names == ("cell", "nucleus")
    assert told[-1] == ("category", "nucleus")
    bar.set_color("#0000ff")
    assert bar.classes[1] == LabelClass("nucleus", "#0000ff")
    with pytest.raises(ClassError, match="not a name for a class: 'a;b'"):
        bar.add("a;b")
    bar.remove("nucleus")
    assert told[-1] == ("category", "cell")
    bar.remove("cell")
    assert list(bar.buttons) == ["cell"], "the last one stays"


def test_the_thumbnail_is_small_and_of_the_planes_shape(qtbot: Any) -> None:
    fold = Advanced()
    qtbot.addWidget(fold)
    fold.show_thumbnail(np.full((2000, 1000, 3), (250, 10, 10), np.uint8))
    pixmap = fold.thumbnail.pixmap()
    assert (pixmap.width(), pixmap.height()) == (64, 128)
    assert pixmap.toImage().pixelColor(30, 60).red() > 240


def test_progress_shows_the_time_left(qtbot: Any) -> None:
    panel = Panel()
    qtbot.addWidget(panel)
    panel.show_progress("Encoding", 0.25, 12.4)
    assert panel.status.text() == "Encoding (12 s left)"
    assert panel.busy.value() / panel.busy.maximum() == 0.25
    panel.show_progress("Encoding")
    assert panel.busy.maximum() == 0
    assert time_left(400) == "(7 min left)"
    assert time_left(9000) == "(2.5 h left)"
    assert time_left(0.4) == ""


def test_deleted_layers_are_told_in_words_that_fit_their_number() -> None:
    rest = 'Press "Restore layers" to restore {} with all objects and clicks.'
    assert deleted_layers(["a"]) == f"'a' was deleted. {rest.format('it')}"
    assert deleted_layers(["a", "b"]) == f"'a', 'b' were deleted. {rest.format('them')}"


def test_keys_stand_on_the_buttons_and_in_the_instructions(qtbot: Any) -> None:
    panel = Panel()
    qtbot.addWidget(panel)
    panel.show_keys({"accept": "Control-J", "undo": "", "delete": "K", "next_candidate": "W"})
    assert panel.buttons["accept"].text() == "Accept  (Ctrl+J)"
    assert panel.buttons["undo"].text() == "Undo"
    assert panel.next_mask.text() == "Next mask  (W)"
    assert "<b>K</b> deletes it" in panel.how_to.text()
    assert "merges" not in panel.how_to.text()


def test_the_masks_offered_are_gone_through_by_the_button(open_desk: Any, blobs: Pixels) -> None:
    desk = open_desk(blobs)
    panel = desk.widget.panel
    assert not panel.next_mask.isVisible()
    desk.hand.click((20, 20))
    desk.settle()
    first, count = desk.session.prediction.index, len(desk.session.prediction.candidates)
    assert count == 3
    assert panel.object.text().startswith(f"Mask {first + 1} of 3, score 0.")
    QTest.mouseClick(panel.next_mask, LEFT)  # type: ignore[call-overload]
    assert desk.session.prediction.index == (first + 1) % 3
    assert panel.object.text().startswith(f"Mask {(first + 1) % 3 + 1} of 3")


def test_the_users_own_points_become_clicks_and_misfits_are_not_offered(
    open_desk: Any, blobs: Pixels
) -> None:
    desk = open_desk(blobs)
    own = desk.viewer.add_points([[20, 20]], name="own clicks")
    desk.viewer.add_points(np.zeros((1, 3)), name="three axes")
    choice = desk.widget.panel.advanced.points
    assert texts(choice.native) == ["own clicks", "Own layer"]
    pick(choice.native, "own clicks")
    desk.settle()
    assert desk.widget.binding.points.unique_id == own.unique_id
    assert [round(v) for v in desk.session.prompts.points[0]] == [20, 20]
    assert choice.native.currentText() == "own clicks"
    pick(choice.native, "Own layer")
    assert choice.data(choice.native.currentIndex()) == OWN_LAYER
    assert own in desk.viewer.layers
    desk.settle()


def test_the_fold_shows_device_memory_and_what_the_model_sees(
    open_desk: Any, blobs: Pixels
) -> None:
    desk = open_desk(blobs)
    desk.session.look_ahead = 0  # nothing comes in between two looks
    advanced = desk.widget.panel.advanced
    assert "CPU" in advanced.reason.text()
    advanced.unfold(True)
    desk.hand.click((20, 20))
    desk.settle()
    desk.widget.refresh()
    assert advanced.memory.text().startswith(f"{len(desk.session.cache)} encoded image")
    assert advanced.thumbnail.pixmap().width() > 100
    assert advanced.reason.isVisible()
    desk.widget.session.cache.limit_bytes = 5_000_000
    desk.widget.refresh()
    assert advanced.memory.text().endswith("of 5 MB")


def test_the_device_is_described_by_the_thread_that_loads_the_model(
    open_desk: Any, blobs: Pixels
) -> None:
    desk = open_desk(blobs, model=None)
    advanced = desk.widget.panel.advanced
    advanced.unfold(True)
    pick(advanced.combos["device"], "CPU")
    desk.hand.wait_until(lambda: bool(advanced.reason.text()), "the device to be described")
    assert advanced.reason.text().startswith("CPU: ")
    desk.settle()


def test_the_widget_is_made_with_little_work_without_an_image() -> None:
    code = (
        "import napari_sam3.qt.widget as w; from qtpy.QtWidgets import QApplication;"
        "from napari.components import ViewerModel; from tests.napari_sam3.effort import calls;"
        "app = QApplication([]); v = ViewerModel(); w.SegmentWidget(v).shut_down();"
        "print(calls(lambda: w.SegmentWidget(v)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert int(answer.stdout) < 20_000
