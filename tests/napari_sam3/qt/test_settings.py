"""Settings through napari's own store: its file, its Preferences dialog, and without either."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import settings as napari_settings
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

from napari_sam3 import bind
from napari_sam3.core.classes import LabelClass, format_classes, parse_classes
from napari_sam3.layers.gestures import ALSO, KEYS, OF_WIDGET
from napari_sam3.qt.settings import (
    PLUGIN,
    Settings,
    SettingsError,
    read_settings,
    watch,
    write_setting,
)
from napari_sam3.qt.text.panel import BUTTONS
from sam3.predictor import Predictor

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def store(plugin_settings: None, npe2pm: Any) -> Any:
    """Return napari's store of a fresh configuration, in a folder of this test."""
    npe2pm.register(PluginManifest.from_distribution(PLUGIN))
    return napari_settings.get_plugin_settings(PLUGIN)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Collect what napari would show."""
    shown: list[str] = []

    def note(notification: Any) -> None:
        shown.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    yield shown
    notification_manager.notification_ready.disconnect(note)


def start_again() -> Any:
    """Have napari read its files anew, as after a restart."""
    napari_settings._clear_plugin_settings_cache()
    return napari_settings.get_plugin_settings(PLUGIN)


def test_the_manifest_declares_the_defaults_of_the_typed_record(warnings: list[str]) -> None:
    assert read_settings() == Settings()
    assert not warnings
    manifest = PluginManifest.from_distribution(PLUGIN)
    declared = {
        name: prop
        for group in manifest.contributions.configurations.values()
        for name, prop in group.properties.items()
    }
    typed = {one.name for one in dataclasses.fields(Settings)} - {"keys"}
    assert set(declared) == typed | set(KEYS)
    assert {name: declared[name].default for name in KEYS} == KEYS
    assert all(prop.title and prop.description for prop in declared.values())


def test_each_key_and_button_has_a_command(predictor: Predictor) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 40), np.uint8))
    with bind(viewer, predictor=predictor) as binding:
        assert {*binding.commands, *OF_WIDGET} == {*KEYS, *ALSO} >= set(BUTTONS)
        with pytest.raises(KeyError, match="acept"):
            binding.set_keys({"acept": "N"})


def test_a_changed_value_survives_a_restart(store: Any) -> None:
    classes = (LabelClass("nucleus", "#26a269"), LabelClass("cell wall", "#e66100"))
    write_setting("device", "cpu")
    write_setting("classes", classes)
    write_setting("weights_files", ("/data/a b.pt", "C:\\weights\\sam3.pt"))
    assert Path(store.config_path).is_file()
    assert start_again() is not store
    settings = read_settings()
    assert (settings.device, settings.classes) == ("cpu", classes)
    assert settings.weights_files == ("/data/a b.pt", "C:\\weights\\sam3.pt")


def test_a_damaged_file_costs_only_the_damaged_values(
    store: Any, warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    store.config_path.write_text(
        "segment: {policy: nonsense, device: cpu, classes: 'a; a'}\n"
        "memory: {cache_limit_mb: 1}\n"
        "keys: {accept: Florp-7, undo: Q, redo: ''}\n"
    )
    start_again()
    settings = read_settings()
    assert (settings.policy, settings.device, settings.cache_limit_mb) == ("keep", "cpu", 1024)
    assert settings.classes == Settings().classes
    assert settings.keys == {**KEYS, "redo": ""}
    assert "policy" in caplog.text
    assert "cache_limit_mb" in caplog.text
    assert [text.split("'")[1] for text in warnings] == ["classes", "keys.accept", "keys.undo"]
    assert (
        "two classes have the name 'a'. Expected unique names. Rename one of them. See"
        in warnings[0]
    )
    assert "not a key: 'Florp-7'. Expected" in warnings[1]


@pytest.mark.parametrize(
    ("saved", "expected", "complaints"),
    [
        ("accept: Q", {}, 1),  # the default of another command
        ("accept: Alt-Control-X, reject: Control-Alt-x", {"reject": "Control-Alt-x"}, 1),
        ("accept: Q, reject: N", {"accept": "Q", "reject": "N"}, 0),  # exchanged
        ("accept: Florp-7, reject: N", {}, 2),  # taken by the default that comes back
        ("undo: Ctrl-Z, accept: Control-Alt-X", {"undo": "Ctrl-Z", "accept": "Control-Alt-X"}, 0),
    ],
)
def test_keys_that_collide_get_their_defaults_and_are_told_once(
    store: Any, warnings: list[str], saved: str, expected: dict[str, str], complaints: int
) -> None:
    store.config_path.write_text(f"keys: {{{saved}}}\n")
    start_again()
    assert read_settings().keys == {**KEYS, **expected}
    assert len(warnings) == complaints
    assert all("Expected" in text for text in warnings)
    start_again()
    assert read_settings().keys == {**KEYS, **expected}
    assert len(warnings) == complaints, "once"


@pytest.mark.parametrize(
    ("saved", "complaints"),
    [
        ("accept_candidates: Shift-A", 1),  # of an earlier version: napari selects with it
        ("accept: shift-a, reject: '5', merge: Ctrl-Y, undo: Control-Z", 3),
    ],
)
def test_keys_of_napari_get_their_defaults(
    store: Any, warnings: list[str], make_napari_viewer: Any, saved: str, complaints: int
) -> None:
    make_napari_viewer()  # whose window binds napari's keys
    store.config_path.write_text(f"keys: {{{saved}}}\n")
    start_again()
    for _ in range(2):
        assert read_settings().keys == KEYS
        assert len(warnings) == complaints
        assert all("a key of napari" in text for text in warnings)
        start_again()


def test_a_file_that_is_no_yaml_is_replaced_by_the_defaults(store: Any) -> None:
    store.config_path.write_text("segment: [")
    start_again()
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("device", "tpu", "'tpu'. Expected one of auto, cpu, cuda, mps."),
        ("journal", 1, "1. Expected bool."),
        ("cache_limit_mb", 3, "3. Expected 64 to 1048576."),
        ("colour", "red", "not a setting: 'colour'"),
    ],
)
def test_values_that_cannot_be_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        write_setting(name, value)
    assert read_settings() == Settings()


def test_watchers_are_told_until_they_stop(store: Any) -> None:
    told: list[str] = []
    stop = watch(lambda: told.append(read_settings().policy))
    store.segment.policy = "overwrite"
    stop()
    store.segment.policy = "inside"
    assert told == ["overwrite"]


def test_the_preferences_show_a_page_and_change_the_settings(make_napari_viewer: Any) -> None:
    from qtpy.QtWidgets import QCheckBox, QComboBox

    window = make_napari_viewer().window
    window._open_preferences_dialog()
    dialog = window._pref_dialog
    pages = [dialog._list.item(row).text() for row in range(dialog._list.count())]
    page = dialog._stack.widget(pages.index("SAM 3"))
    policies = [
        box
        for box in page.findChildren(QComboBox)
        if [box.itemText(i) for i in range(box.count())] == ["keep", "overwrite", "inside"]
    ]
    assert len(policies) == 1
    policies[0].setCurrentIndex(1)
    assert read_settings().policy == "overwrite"
    assert len(page.findChildren(QCheckBox)) == 4
    start_again()
    assert read_settings().policy == "overwrite"


@pytest.mark.parametrize("known", [True, False])
def test_without_a_settings_file_or_a_manifest_there_are_defaults(known: bool) -> None:
    """NAPARI_CONFIG="" switches napari's files off."""
    hide = "" if known else "import npe2; npe2.PluginManager.instance().discover = lambda: None\n"
    code = (
        f"{hide}from napari_sam3.qt.settings import read_settings, write_setting\n"
        "write_setting('device', 'cpu'); print(read_settings().device)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NAPARI_CONFIG": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.strip() == ("cpu" if known else "auto"), answer.stderr


def test_classes_are_read_as_they_are_written() -> None:
    classes = parse_classes(" nucleus #26A269 ;cell wall;; dead #ff0000")
    assert [one.name for one in classes] == ["nucleus", "cell wall", "dead"]
    assert classes[0].color == "#26a269"
    assert classes[1].color != classes[0].color
    assert parse_classes(format_classes(classes)) == classes
