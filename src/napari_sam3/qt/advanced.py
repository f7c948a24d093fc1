"""The fold of advanced controls. Knows no session: values come and go as plain ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from napari.layers import Points, Shapes
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from .controls import (
    Items,
    LayerChoice,
    add_row,
    choose,
    form,
    make_combo,
    make_text,
    put_items,
    worded,
)
from .fold import Fold
from .text import panel as panel_text
from .text import status as status_text
from .text.panel import CHANNELS, CHOICES, MODES, NO_CHANNEL

__all__ = ["Advanced"]

THUMBNAIL = 128
ComboName = Literal["policy", "level", "contrast", "device"]


class Advanced(Fold):
    """Rarely used controls.

    Parameters
    ----------
    viewer : ViewerModel, optional
        Has the layers that are offered.
    parent : QWidget, optional
        Qt parent.

    Attributes
    ----------
    policy_chosen, level_chosen, device_chosen : Signal
        (value) of a combo box.
    contrast_chosen : Signal
        (name, or a Rendering that a store was made with)
    channels_chosen : Signal
        (tuple of data) one for grey, three for red, green and blue.
    points_chosen, boxes_chosen : Signal
        (layer or OWN_LAYER)
    combos : dict
        The combo boxes of "policy", "level", "contrast" and "device".
    points, boxes : LayerChoice
    modes : dict of QRadioButton
        "one" and "many".
    journal, class_colors, field_outline, store : QCheckBox
    store_folder : QPushButton
    """

    policy_chosen = Signal(str)
    level_chosen = Signal(object)
    contrast_chosen = Signal(object)
    device_chosen = Signal(str)
    channels_chosen = Signal(object)
    points_chosen = Signal(object)
    boxes_chosen = Signal(object)

    def __init__(self, viewer: Any = None, parent: QWidget | None = None) -> None:
        super().__init__(panel_text.ADVANCED.title, panel_text.ADVANCED.tooltip, parent)
        own = panel_text.PROMPTS_CHOICES
        self.points = LayerChoice(Points, panel_text.POINTS.tooltip, viewer, own)
        self.boxes = LayerChoice(Shapes, panel_text.BOXES.tooltip, viewer, own)
        self.combos: dict[str, QComboBox] = {
            name: make_combo(tooltip, items) for name, (_, tooltip, items) in CHOICES.items()
        }
        self.channels = {color: make_combo(one.tooltip) for color, one in CHANNELS.items()}
        self.reason, self.memory = make_text("device_reason"), make_text("memory")
        self.thumbnail = QLabel()
        self.thumbnail.setToolTip(panel_text.SEEN.tooltip)
        self.thumbnail.setAccessibleName(panel_text.SEEN.tooltip)
        self.class_colors = worded(QCheckBox(), panel_text.CLASS_COLORS)
        self.field_outline = worded(QCheckBox(), panel_text.FIELD_OUTLINE)
        self.store = worded(QCheckBox(), panel_text.STORE)
        self.store_folder = worded(QPushButton(), panel_text.STORE_FOLDER)
        self.stored = make_text("stored")
        self.journal = worded(QCheckBox(), panel_text.JOURNAL)
        self.modes = {name: worded(QRadioButton(), one) for name, one in MODES.items()}
        self._rows: dict[str, list[QWidget]] = {}
        self._lay_out()
        self._connect()

    # ------------------------------------------------------------------ values in

    def offer(self, name: str, offered: bool) -> None:
        """Show or hide the row of a control: such as "level", "memory" or "thumbnail"."""
        for part in self._rows[name]:
            part.setVisible(offered)

    def show_value(self, name: ComboName | Literal["journal"], value: Any) -> None:
        """Show a value of "policy", "level", "contrast", "device" or "journal"."""
        if name == "journal":
            with signals_blocked(self.journal):
                self.journal.setChecked(bool(value))
        else:
            choose(self.combos[name], value)

    def show_channels(self, items: Items, current: tuple[Any, ...] = ()) -> None:
        """Offer channels as (text, data); none at all hides the row.

        Parameters
        ----------
        items : sequence of (text, data)
            Images or positions on a channel axis.
        current : tuple of data
            One, seen as grey, or those seen as red, green and blue; None for a colour left out.
        """
        self.offer("channels", bool(items))
        for number, combo in enumerate(self.channels.values()):
            chosen = current[number] if number < len(current) else None
            put_items(combo, [(NO_CHANNEL, None), *items], chosen)

    def show_store(self, used: bool, text: str, folder: str = "") -> None:
        """Show whether encoded images are kept on disk, how many, and in which folder."""
        with signals_blocked(self.store):
            self.store.setChecked(used)
        self.stored.setText(text)
        self.stored.setToolTip(folder)
        self.offer("stored", bool(text))

    def offer_stored(self, items: Items) -> None:
        """Offer contrasts that a store was made with, below the others."""
        combo = self.combos["contrast"]
        current = combo.currentData()
        put_items(combo, [*CHOICES["contrast"][2], *items], current)

    def show_reason(self, text: str) -> None:
        """Say where the model runs, and why there."""
        self.reason.setText(text)

    def show_memory(self, held: int, limit: int, count: int) -> None:
        """Say how many encoded images are held, in how many bytes of the limit."""
        self.memory.setText(status_text.encoded_images(count, held, limit))

    def show_thumbnail(self, pixels: npt.NDArray[np.uint8] | None) -> None:
        """Show the plane as the model sees it (h x w x 3), shrunk if it is large."""
        if pixels is None:
            self.thumbnail.clear()
            return
        step = max(1, -(-max(pixels.shape[:2]) // (2 * THUMBNAIL)))
        small = np.ascontiguousarray(pixels[::step, ::step])
        height, width = small.shape[:2]
        image = QImage(small.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.thumbnail.setPixmap(
            QPixmap.fromImage(image).scaled(
                THUMBNAIL,
                THUMBNAIL,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )

    # ------------------------------------------------------------------ inside

    def _lay_out(self) -> None:
        layout = form()
        titles = {name: title for name, (title, _, _) in CHOICES.items()}
        rows: tuple[tuple[str, str, QWidget], ...] = (
            ("points", panel_text.POINTS.title, self.points.native),
            ("boxes", panel_text.BOXES.title, self.boxes.native),
            *((name, titles[name], self.combos[name]) for name in ("policy", "level")),
            ("contrast", titles["contrast"], self.combos["contrast"]),
            *((color, CHANNELS[color].title, combo) for color, combo in self.channels.items()),
            ("device", titles["device"], self.combos["device"]),
            ("reason", "", self.reason),
            ("memory", panel_text.MEMORY, self.memory),
            ("thumbnail", panel_text.SEEN.title, self.thumbnail),
        )
        for name, title, control in rows:
            add_row(layout, title, control)
            label = layout.labelForField(control)
            self._rows[name] = [control] if label is None else [label, control]
        self._rows["journal"] = [self.journal]
        self._rows["class_colors"] = [self.class_colors]
        self._rows["stored"] = [self.stored]
        self._rows["channels"] = [part for color in CHANNELS for part in self._rows.pop(color)]
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        for radio in self.modes.values():
            column.addWidget(radio)
        column.addLayout(layout)
        for box in (self.class_colors, self.field_outline, self.journal):
            column.addWidget(box)
        for part in (self.store, self.stored, self.store_folder):
            column.addWidget(part)
        self.fill(inner)

    def _connect(self) -> None:
        combos: tuple[tuple[ComboName, Any], ...] = (
            ("policy", self.policy_chosen),
            ("level", self.level_chosen),
            ("contrast", self.contrast_chosen),
            ("device", self.device_chosen),
        )
        for name, signal in combos:
            combo = self.combos[name]
            combo.activated.connect(partial(_pass_on, combo.itemData, signal))
        for choice, signal in ((self.points, self.points_chosen), (self.boxes, self.boxes_chosen)):
            choice.native.activated.connect(partial(_pass_on, choice.data, signal))
        for combo in self.channels.values():
            combo.activated.connect(self._on_channels)

    def _on_channels(self, _index: int) -> None:
        data = tuple(combo.currentData() for combo in self.channels.values())
        given = [one for one in data if one is not None]
        if given:
            self.channels_chosen.emit(data if len(given) > 1 else tuple(given))


def _pass_on(data: Callable[[int], Any], signal: Any, index: int) -> None:
    """Emit the value of the chosen entry of a list."""
    signal.emit(data(index))
