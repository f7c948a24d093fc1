"""The look of the dock widget: controls, texts, tooltips. Knows no layers and no session."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QGridLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from .gestures import KEYS

__all__ = ["Panel", "put_items"]

HOW_TO = (
    "<b>Left click</b> on an object · <b>right click</b> on what is not part of it · "
    "<b>drag</b> a box around it. <b>Shift+click</b> accepts and starts the next one."
)
LABEL_PADDING = 14
ERROR_STYLE = "color: #e5484d; font-weight: bold;"
BUTTONS = {
    "accept": ("Accept", "Write the mask into the labels and start the next object"),
    "reject": ("Clear", "Drop the clicks, the box and the mask in hand"),
    "undo": ("Undo", "Take the last step back: a click, a box or an accepted object"),
    "redo": ("Redo", "Do again what was undone"),
}


class Panel(QScrollArea):
    """All controls of the dock widget, in a scroll area that is readable at 300 px."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.image = _combo("Image to segment; the plane that is shown is what the model sees")
        self.model = _combo("Model that makes the masks: the embedded one, or a weights file")
        self.labels = _combo("Labels layer that accepted objects are written to")
        self.status = _text("status")
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setMaximumHeight(5)
        self.object = _text("object")
        self.buttons = {name: _button(name) for name in BUTTONS}
        self.way_back = QPushButton()
        self.show_way_back(restore=True, listen=False)
        self.way_back.hide()
        inner = QWidget()
        self._lay_out(inner)
        self.setWidget(inner)

    def sizeHint(self) -> QSize:
        """Ask for the width that the texts were made for."""
        return QSize(300, 360)

    def minimumSizeHint(self) -> QSize:
        """Never force the window to grow."""
        return QSize(220, 120)

    def showEvent(self, event: Any) -> None:
        """Keep room for two lines, so that what lies below stays put when texts change."""
        for label in (self.status, self.object):
            # Only now is the font known that the viewer's style sheet asks for.
            label.ensurePolished()
            label.setMinimumHeight(2 * label.fontMetrics().lineSpacing() + LABEL_PADDING)
        super().showEvent(event)

    def show_status(self, text: str, *, error: bool = False) -> None:
        """Show what is going on, or what went wrong."""
        self.status.setText(text)
        self.status.setStyleSheet(ERROR_STYLE if error else "")

    def show_busy(self, busy: bool) -> None:
        """Show or hide the running bar, without moving what lies below."""
        self.busy.setVisible(busy)

    def show_way_back(self, *, restore: bool, listen: bool) -> None:
        """Offer to make deleted layers anew, or else to turn clicks into prompts again."""
        self.way_back.setVisible(restore or listen)
        if restore:
            self.way_back.setText("Restore layers")
            self.way_back.setToolTip("Make the deleted layers anew, with the clicks in hand")
        elif listen:
            self.way_back.setText("Go on clicking")
            self.way_back.setToolTip("Select the points layer, so that clicks are prompts again")

    def _lay_out(self, inner: QWidget) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, combo in (("Image", self.image), ("Model", self.model), ("Labels", self.labels)):
            form.addRow(name, combo)
        grid = QGridLayout()
        for number, button in enumerate(self.buttons.values()):
            grid.addWidget(button, number // 2, number % 2)
        how_to = _text("how_to")
        how_to.setText(HOW_TO)
        how_to.setTextFormat(Qt.TextFormat.RichText)
        keep = self.busy.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self.busy.setSizePolicy(keep)
        column = QVBoxLayout(inner)
        column.addLayout(form)
        column.addSpacing(6)
        column.addWidget(self.status)
        column.addWidget(self.busy)
        column.addWidget(self.way_back)
        column.addWidget(self.object)
        column.addLayout(grid)
        column.addSpacing(6)
        column.addWidget(how_to)
        column.addStretch(1)


def put_items(combo: QComboBox, items: list[tuple[str, Any]], current: Any) -> None:
    """Fill a combo box with (text, data) and choose by data, without telling anybody."""
    combo.blockSignals(True)
    try:
        combo.clear()
        for text, data in items:
            combo.addItem(text, data)
        # findData compares Python objects by identity; ids are compared by value here.
        chosen = next((i for i, (_, data) in enumerate(items) if data == current), -1)
        combo.setCurrentIndex(chosen)
    finally:
        combo.blockSignals(False)


def _combo(tooltip: str) -> QComboBox:
    combo = QComboBox()
    combo.setToolTip(tooltip)
    # Long layer names must not decide the width of the dock.
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(10)
    return combo


def _text(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _button(name: str) -> QPushButton:
    title, tooltip = BUTTONS[name]
    key = KEYS[name].replace("Control", "Ctrl").replace("-", "+")
    button = QPushButton(f"{title}  ({key})")
    button.setToolTip(f"{tooltip} ({key} with the points or boxes layer selected)")
    button.setEnabled(False)
    return button
