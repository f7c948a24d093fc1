"""Settings, kept by napari between sessions and shown in its Preferences.

The properties are declared in ``napari.yaml``, which napari makes its Preferences page from; this
module gives them types, checks them, and does without them where there is no settings file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any

from napari.utils.notifications import show_warning

from napari_sam3.core.classes import LabelClass, format_classes, parse_classes
from napari_sam3.layers.gestures import KEYS
from sam3.errors import Sam3Error

from .text.status import (
    key_of_napari,
    key_taken,
    not_a_key,
    setting_not_saved,
    setting_not_used,
)

__all__ = ["PLUGIN", "Settings", "SettingsError", "read_settings", "watch", "write_setting"]

logger = logging.getLogger(__name__)

PLUGIN = "napari-sam3"
SEPARATOR = "|"


class SettingsError(Sam3Error, ValueError):
    """A value that a setting cannot take."""


def _in(category: str, default: Any, *choices: Any, low: int = 0, high: int = 0) -> Any:
    limits = {"choices": choices, "low": low, "high": high}
    return field(default=default, metadata={"category": category, **limits})


@dataclass(frozen=True)
class Settings:
    """All settings; the defaults are those of ``napari.yaml``.

    Attributes
    ----------
    model : str
        "tiny", or the path of a weights file.
    device : {"auto", "cpu", "cuda", "mps"}
    policy : {"keep", "overwrite", "inside"}
        What happens where a new object meets accepted ones.
    contrast : {"image", "plane", "layer"}
        What the model sees as black and white.
    classes : tuple of LabelClass
    prefetch : bool
        Encode neighbouring planes ahead.
    cache_limit_mb, journal_limit_mb : int
        In units of 10^6 bytes.
    store : bool
        Keep encoded images on disk, too.
    store_folder : str
        Where; the folder for caches if empty.
    store_limit_mb : int
        In units of 10^6 bytes, for a store that is made.
    journal : bool
        Note accepted objects in a file.
    advanced_open : bool
        Whether the advanced controls are unfolded.
    weights_files : tuple of str
        Weights files offered as models.
    keys : mapping from str to str
        Keys of commands, as in `napari_sam3.layers.gestures.KEYS`.
    """

    model: str = _in("segment", "tiny")
    device: str = _in("segment", "auto", "auto", "cpu", "cuda", "mps")
    policy: str = _in("segment", "keep", "keep", "overwrite", "inside")
    contrast: str = _in("segment", "image", "image", "plane", "layer")
    classes: tuple[LabelClass, ...] = _in("segment", (LabelClass("object", "#26a269"),))
    prefetch: bool = _in("segment", True)
    cache_limit_mb: int = _in("memory", 1024, low=64, high=1048576)
    store: bool = _in("memory", False)
    store_folder: str = _in("memory", "")
    store_limit_mb: int = _in("memory", 20000, low=64, high=1048576)
    journal: bool = _in("memory", True)
    journal_limit_mb: int = _in("memory", 256, low=1, high=1048576)
    advanced_open: bool = _in("panel", False)
    weights_files: tuple[str, ...] = _in("panel", ())
    keys: Mapping[str, str] = field(default_factory=lambda: KEYS, metadata={"category": "keys"})


FIELDS = {one.name: one for one in fields(Settings)}


def read_settings() -> Settings:
    """Read all settings. Missing or damaged ones are named in a warning and have their defaults."""
    store = _store()
    if store is None:
        return Settings()
    values: dict[str, Any] = {}
    for name, one in FIELDS.items():
        if name == "keys":
            values[name] = _read_keys(getattr(store, "keys", None))
            continue
        try:
            values[name] = _decode(name, getattr(getattr(store, one.metadata["category"]), name))
        except (AttributeError, Sam3Error) as error:
            _complain(name, error)
            values[name] = one.default
    return Settings(**values)


def write_setting(name: str, value: Any) -> None:
    """Remember a setting; napari writes its file at once, if it has one.

    Parameters
    ----------
    name : str
        A field of `Settings` other than ``keys``.
    value
        As in `Settings`.

    Raises
    ------
    SettingsError
        If there is no such setting, or it cannot take the value.
    """
    if name not in FIELDS or name == "keys":
        raise SettingsError(
            f"not a setting: {name!r}. Expected one of {', '.join(FIELDS)}. Choose one."
        )
    plain = _encode(name, value)
    _decode(name, plain)  # says what is wrong with it
    store = _store()
    if store is not None:
        try:
            setattr(getattr(store, FIELDS[name].metadata["category"]), name, plain)
        except OSError as error:
            _complain(name, setting_not_saved(error))


def watch(changed: Callable[[], None]) -> Callable[[], None]:
    """Call a function after any setting changed, in the Preferences too; returns how to stop."""
    store = _store()
    if store is None:
        return lambda: None

    def tell(event: Any = None) -> None:
        changed()

    store.events.changed.connect(tell)
    return lambda: store.events.changed.disconnect(tell)


def _store() -> Any:
    """Return napari's settings of this plugin; None if napari does not know the plugin."""
    from napari.settings import get_plugin_settings

    try:
        return get_plugin_settings(PLUGIN)
    except KeyError:
        logger.debug("napari has no settings for %s: it was not discovered", PLUGIN)
        return None


def _encode(name: str, value: Any) -> Any:
    """Convert a value for the settings file."""
    if name == "classes":
        return format_classes(value)
    if name == "weights_files":
        return f" {SEPARATOR} ".join(value)
    return value


def _decode(name: str, plain: Any) -> Any:
    """Convert a value of the settings file, or raise SettingsError."""
    default, rules = FIELDS[name].default, FIELDS[name].metadata
    if name == "classes":
        return parse_classes(plain)
    if name == "weights_files":
        return tuple(part.strip() for part in plain.split(SEPARATOR) if part.strip())
    if type(plain) is not type(default):
        kind = type(default).__name__
        raise SettingsError(f"not a valid value: {plain!r}. Expected {kind}. Choose one.")
    if rules["choices"] and plain not in rules["choices"]:
        choices = ", ".join(rules["choices"])
        raise SettingsError(f"not a valid value: {plain!r}. Expected one of {choices}. Choose one.")
    if rules["high"] and not rules["low"] <= plain <= rules["high"]:
        expected = f"{rules['low']} to {rules['high']}"
        raise SettingsError(f"not a valid value: {plain!r}. Expected {expected}. Choose one.")
    return plain


def _read_keys(group: Any) -> Mapping[str, str]:
    """Read the keys; those that cannot be used get their defaults, in the settings too.

    So Preferences shows the keys in use, and each is complained of once.
    """
    found = {name: str(getattr(group, name, key)).strip() for name, key in KEYS.items()}
    refused = True
    while refused:  # a default that comes back may be taken by another command
        refused = False
        for name, text in found.items():
            if text != KEYS[name] and (reason := _problem_of(name, found)):
                found[name], refused = KEYS[name], True
                _complain(f"keys.{name}", reason)
                with suppress(AttributeError, OSError, ValueError):
                    setattr(group, name, KEYS[name])
    return found


def _problem_of(name: str, keys: Mapping[str, str]) -> str:
    """Say why a command cannot have its key; "" if it can."""
    text = keys[name]
    if not text:
        return ""
    key = _parsed(text)
    if not key:
        return not_a_key(text)
    twin = next((one for one, other in keys.items() if one != name and _parsed(other) == key), "")
    if twin:
        return key_taken(text, twin)
    if key in _keys_of_napari():
        return key_of_napari(text)
    return ""


def _parsed(text: str) -> str:
    """Return a key as napari writes it; "" if it is none."""
    from napari.utils.key_bindings import coerce_keybinding

    try:
        key = str(coerce_keybinding(text)) if text else ""
    except (KeyError, ValueError, IndexError):
        return ""
    return key if key.split("+")[-1] else ""


def _keys_of_napari() -> set[str]:
    """Return the keys of napari's viewer and of the kinds of layers that have ours."""
    from napari.components import ViewerModel
    from napari.layers import Labels, Points, Shapes

    kinds = ViewerModel, Points, Shapes, Labels
    used = {str(key) for kind in kinds for key in kind.class_keymap}
    return used - {_parsed(key) for key in (KEYS["undo"], KEYS["redo"])}


def _complain(name: str, reason: object) -> None:
    text = setting_not_used(name, PLUGIN, reason)
    logger.warning(text)
    show_warning(text)
