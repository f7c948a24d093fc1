"""The fold of advanced controls. Knows no session: values come and go as plain ones."""

from __future__ import annotations

from functools import partial
from typing import Any

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
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_sam3.core.classes import LabelClass

from .class_choice import ClassChoice
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
from .text.panel import CHANNELS, CHOICES, NO_CHANNEL

__all__ = ["Advanced"]

THUMBNAIL = 128


class Advanced(Fold):
    """Controls that are seldom needed.

    Attributes
    ----------
    changed : Signal
        (name, value) The user changed "policy", "level", "contrast", "device", "channels" (a
        tuple of data, one for grey and three for red, green, blue), "category" (a name),
        "classes" (tuple of LabelClass), "points" or "boxes" (a layer or OWN_LAYER), "journal",
        "class_colors", "field_outline" or "store" (bool), or asked for a "store_folder".
    combos : dict
        The combo boxes of "policy", "level", "contrast" and "device".
    points, boxes : LayerChoice
    classes : ClassChoice
    journal, class_colors, field_outline, store : QCheckBox
    store_folder : QPushButton
    """

    changed = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(panel_text.ADVANCED.title, panel_text.ADVANCED.tooltip, parent)
        own = panel_text.PROMPTS_CHOICES
        self.points = LayerChoice(Points, panel_text.POINTS.tooltip, own)
        self.boxes = LayerChoice(Shapes, panel_text.BOXES.tooltip, own)
        self.combos: dict[str, QComboBox] = {
            name: make_combo(tooltip, items) for name, (_, tooltip, items) in CHOICES.items()
        }
        self.channels = {color: make_combo(one.tooltip) for color, one in CHANNELS.items()}
        self.classes = ClassChoice()
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
        self._rows: dict[str, list[QWidget]] = {}
        self._lay_out()
        self._connect()

    # ------------------------------------------------------------------ values in

    def offer(self, name: str, offered: bool) -> None:
        """Show or hide the row of a control: a name of `changed`, or "memory", "thumbnail"."""
        for part in self._rows[name]:
            part.setVisible(offered)

    def offer_items(self, name: str, values: tuple[Any, ...]) -> None:
        """Leave out the items of a combo box that are not among values."""
        items = [item for item in CHOICES[name][2] if item[1] in values]
        put_items(self.combos[name], items, self.combos[name].currentData())

    def show_value(self, name: str, value: Any) -> None:
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

    def show_classes(self, classes: tuple[LabelClass, ...], current: str | None = None) -> None:
        """Offer classes."""
        self.classes.show_classes(classes, current)

    def show_store(self, used: bool, text: str, folder: str = "") -> None:
        """Show whether encoded images are kept on disk, what is there, and in which folder."""
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
            ("category", panel_text.CLASS.title, self.classes),
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
        column.addLayout(layout)
        for box in (self.class_colors, self.field_outline, self.journal):
            column.addWidget(box)
        for part in (self.store, self.stored, self.store_folder):
            column.addWidget(part)
        self.fill(inner)

    def _connect(self) -> None:
        for name, combo in self.combos.items():
            combo.activated.connect(partial(self._on_combo, name))
        for combo in self.channels.values():
            combo.activated.connect(self._on_channels)
        self.points.native.activated.connect(partial(self._on_layer, "points"))
        self.boxes.native.activated.connect(partial(self._on_layer, "boxes"))
        self.classes.chosen.connect(partial(self.changed.emit, "category"))
        self.classes.edited.connect(partial(self.changed.emit, "classes"))
        self.journal.toggled.connect(partial(self.changed.emit, "journal"))
        for name in ("class_colors", "field_outline", "store"):
            getattr(self, name).toggled.connect(partial(self.changed.emit, name))
        self.store_folder.clicked.connect(partial(self.changed.emit, "store_folder"))

    def _on_combo(self, name: str, index: int) -> None:
        self.changed.emit(name, self.combos[name].itemData(index))

    def _on_layer(self, name: str, index: int) -> None:
        self.changed.emit(name, getattr(self, name).data(index))

    def _on_channels(self, _index: int) -> None:
        data = tuple(combo.currentData() for combo in self.channels.values())
        given = [one for one in data if one is not None]
        if given:
            self.changed.emit("channels", data if len(given) > 1 else tuple(given))
