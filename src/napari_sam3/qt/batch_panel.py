"""Fold of batches: method, planes, output and progress, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from .axes import default_axis
from .controls import Items, add_row, form, make_combo, make_text, put_items, worded
from .fold import Fold
from .text import panel as panel_text
from .text import status as status_text
from .text.panel import BATCH_METHODS, FIRST_PLANE, LAST_PLANE
from .theming import ERROR_STYLE

__all__ = ["BatchAsked", "BatchPanel", "Method"]

Method = Literal["placed", "repeated", "propagate", "automatic", "similar"]
#: Methods without prompts, whose results can be reviewed first.
FINDING = "automatic", "similar"
#: Minimum score and area of a method.
Limits = Callable[[Method], tuple[float, int | None] | None]
STEPS = 1000


@dataclass(frozen=True)
class BatchAsked:
    """A batch as the user describes it.

    Parameters
    ----------
    method : {"placed", "repeated", "propagate", "automatic", "similar"}
        How objects are shown to the model.
    axis : int, optional
        Axis of the image along which planes lie; None for the plane shown alone.
    first, last : int
        Along the axis; both are among them.
    output : str
        OME-Zarr to write as well; "" for none.
    overwrite : bool
        Replace the content of the output, even if it is of another batch.
    limits : tuple of (float, int), optional
        Least score of a mask and least area in px, where the user set them.
    review : bool
        Show what is found as candidates, and write nothing into the layer.
    """

    method: Method
    axis: int | None
    first: int
    last: int
    output: str
    overwrite: bool = False
    limits: tuple[float, int] | None = None
    review: bool = False


class BatchPanel(QWidget):
    """Fold to start a batch and, while one runs, its progress below the fold.

    Attributes
    ----------
    run, stop : Signal
        The user starts or stops a batch.
    fold : Fold
    method, axis : QComboBox
    first, last : QSpinBox
    output : QLineEdit
    overwrite, review : QCheckBox
    min_score : QDoubleSpinBox
    min_area : QSpinBox
    default_limits : callable
        Returns the initial minimum score and area of a method, or None if it has none; the area
        is None for a method without.
    run_button, stop_button, browse : QPushButton
    bar : QProgressBar
    progress, result : QLabel
        Progress, and the result of the last batch.
    """

    run = Signal()
    stop = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fold = Fold(panel_text.BATCH.title, panel_text.BATCH.tooltip)
        self.method = make_combo(
            panel_text.BATCH_METHOD.tooltip, [(text, name) for text, name, _ in BATCH_METHODS]
        )
        for at, (_, _, tooltip) in enumerate(BATCH_METHODS):
            self.method.setItemData(at, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.axis = make_combo(panel_text.BATCH_AXIS.tooltip)
        self.first, self.last = _spin(FIRST_PLANE), _spin(LAST_PLANE)
        self.output = QLineEdit()
        self.output.setPlaceholderText(panel_text.NO_OUTPUT)
        self.output.setToolTip(panel_text.BATCH_OUTPUT.tooltip)
        self.overwrite = worded(QCheckBox(), panel_text.OVERWRITE)
        self.review = worded(QCheckBox(), panel_text.BATCH_REVIEW)
        self.review.setChecked(True)
        self.min_score = QDoubleSpinBox()
        self.min_score.setRange(0, 1)
        self.min_score.setSingleStep(0.05)
        self.min_score.setToolTip(panel_text.MIN_SCORE.tooltip)
        self.min_area = _spin(panel_text.MIN_AREA.tooltip)
        self.min_area.setRange(1, 10**9)
        self.min_area.setSuffix(panel_text.IN_PIXELS)
        self.default_limits: Limits = lambda _method: None
        self._limits: dict[Method, tuple[float, int]] = {}
        self.browse = worded(QPushButton(), panel_text.BATCH_BROWSE)
        self.run_button = worded(QPushButton(), panel_text.BATCH_RUN)
        self.progress, self.result = make_text("batch_progress"), make_text("batch_result")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(5)
        self.bar.setAccessibleName(panel_text.BATCH_PROGRESS_NAME)
        self.stop_button = worded(QPushButton(), panel_text.BATCH_STOP)
        self._image: object = None
        self._lengths: dict[int, int] = {}
        self._lay_out()
        self._connect()
        self._show_output("")
        self._show_limits()
        self.show_running(False)
        self.show_result("")

    # ------------------------------------------------------------------ values

    @property
    def asked(self) -> BatchAsked:
        """The present choices."""
        return BatchAsked(
            cast(Method, self.method.currentData()),
            self.axis.currentData(),
            self.first.value(),
            self.last.value(),
            self.output.text().strip(),
            self.overwrite.isEnabled() and self.overwrite.isChecked(),
            self._limits.get(cast(Method, self.method.currentData())),
            self.method.currentData() in FINDING and self.review.isChecked(),
        )

    def offer_axes(self, image: object, axes: dict[int, tuple[str, int]]) -> None:
        """Offer the axes of an image; the choice is kept while image and axes stay the same.

        Parameters
        ----------
        image : object
            Tells images apart.
        axes : dict of int to (str, int)
            Name and number of planes of each axis that is not shown.
        """
        lengths = {axis: length for axis, (_, length) in axes.items()}
        if image == self._image and lengths == self._lengths:
            return
        self._image, self._lengths = image, lengths
        items: Items = [
            *((panel_text.axis_choice(*named), axis) for axis, named in axes.items()),
            panel_text.THIS_PLANE_ONLY,
        ]
        # The last of several axes: for a time series of stacks, the planes of a stack.
        put_items(self.axis, items, default_axis(axes))
        self._show_range()

    def show_ready(self, ready: bool) -> None:
        """Enable the start button if there is an image and no batch runs."""
        self.run_button.setEnabled(ready)

    def show_running(self, running: bool) -> None:
        """Show or hide the progress."""
        for part in (self.progress, self.bar, self.stop_button):
            part.setVisible(running)
        self.stop_button.setEnabled(running)
        if running:
            self.show_progress(status_text.BATCH_BEGINS, None)
            self.show_result("")

    def show_progress(self, text: str, fraction: float | None) -> None:
        """Show how far it is; without a share done, that it runs."""
        if text != self.progress.text():
            self.progress.setText(text)
        steps = 0 if fraction is None else STEPS
        if self.bar.maximum() != steps:
            self.bar.setRange(0, steps)
        if fraction is not None:
            self.bar.setValue(round(STEPS * fraction))

    def show_result(self, text: str, *, failed: bool = False) -> None:
        """Show a result; hidden if empty."""
        self.result.setText(text)
        self.result.setStyleSheet(ERROR_STYLE if failed else "")
        self.result.setVisible(bool(text))

    # ------------------------------------------------------------------ inside

    def _lay_out(self) -> None:
        layout = form()
        add_row(layout, panel_text.BATCH_METHOD.title, self.method)
        add_row(layout, panel_text.BATCH_AXIS.title, self.axis)
        self._range = _row(self.first, self.last)
        add_row(layout, panel_text.BATCH_PLANES, self._range)
        self.first.setAccessibleName(FIRST_PLANE)
        self.last.setAccessibleName(LAST_PLANE)
        files = _row(self.output, self.browse)
        add_row(layout, panel_text.BATCH_OUTPUT.title, files)
        label = layout.labelForField(files)
        assert label is not None
        label.setBuddy(self.output)  # type: ignore[attr-defined]
        self.output.setAccessibleName(panel_text.BATCH_OUTPUT.name)
        self.output.setMinimumWidth(60)
        layout.addRow("", self.overwrite)
        self.limits = _row(self.min_score, self.min_area)
        limits = self.limits.layout()
        assert isinstance(limits, QHBoxLayout)
        limits.setStretch(1, 2)  # which has a unit
        add_row(layout, panel_text.BATCH_LIMITS, self.limits)
        self.min_score.setAccessibleName(panel_text.MIN_SCORE.name)
        self.min_area.setAccessibleName(panel_text.MIN_AREA.name)
        layout.addRow("", self.review)
        self.form: QFormLayout = layout
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(layout)
        column.addWidget(self.run_button)
        self.fold.fill(inner)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        for part in (self.fold, self.progress, self.bar, self.stop_button, self.result):
            whole.addWidget(part)

    def _connect(self) -> None:
        self.run_button.clicked.connect(lambda _checked=False: self.run.emit())
        self.stop_button.clicked.connect(self._on_stop)
        self.axis.activated.connect(lambda _index: self._show_range())
        self.first.valueChanged.connect(lambda value: self._keep_order(self.last, value, 1))
        self.last.valueChanged.connect(lambda value: self._keep_order(self.first, value, -1))
        self.browse.clicked.connect(self._on_browse)
        self.output.textChanged.connect(self._show_output)
        self.method.currentIndexChanged.connect(lambda _index: self._show_limits())
        for spin in (self.min_score, self.min_area):
            spin.valueChanged.connect(lambda _value: self._keep_limits())

    def _show_output(self, text: str) -> None:
        self.overwrite.setEnabled(bool(text.strip()))
        # Asked for one output, it is not meant for the next.
        self.overwrite.setChecked(False)

    def _show_limits(self) -> None:
        """Show the limits of the method chosen, as they were when it was left."""
        method = cast(Method, self.method.currentData())
        limits = self._limits.get(method) or self.default_limits(method)
        self.form.setRowVisible(self.limits, limits is not None)
        self.form.setRowVisible(self.review, method in FINDING)
        if limits is None:
            return
        with signals_blocked(self.min_score), signals_blocked(self.min_area):
            self.min_score.setValue(limits[0])
            self.min_area.setValue(limits[1] or 1)
        self.min_area.setVisible(limits[1] is not None)

    def _keep_limits(self) -> None:
        method = cast(Method, self.method.currentData())
        self._limits[method] = self.min_score.value(), self.min_area.value()

    def _show_range(self) -> None:
        length = self._lengths.get(self.axis.currentData(), 1)
        for spin, value in ((self.first, 0), (self.last, length - 1)):
            with signals_blocked(spin):
                spin.setRange(0, length - 1)
                spin.setValue(value)
        self._range.setEnabled(length > 1)

    def _keep_order(self, other: QSpinBox, value: int, sign: int) -> None:
        if sign * (other.value() - value) < 0:
            other.setValue(value)

    def _on_stop(self, _checked: bool = False) -> None:
        self.stop_button.setEnabled(False)
        self.progress.setText(status_text.BATCH_STOPS)
        self.stop.emit()

    def _on_browse(self, _checked: bool = False) -> None:
        start = self.output.text() or "labels.zarr"
        chosen, _ = QFileDialog.getSaveFileName(
            self, panel_text.BATCH_DIALOG, start, panel_text.BATCH_FILTER
        )
        if chosen:
            self.output.setText(chosen)


def _spin(tooltip: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(0, 0)
    spin.setToolTip(tooltip)
    spin.setMinimumWidth(0)
    return spin


def _row(*parts: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part, 0 if isinstance(part, QPushButton) else 1)
    row.setFocusProxy(parts[0])
    return row
