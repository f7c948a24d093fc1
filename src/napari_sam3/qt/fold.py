"""A fold of the panel: controls that are there when they are wanted."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

__all__ = ["Fold"]

UNLIMITED = (1 << 24) - 1
# napari paints checked buttons, and this one stays checked while unfolded.
FOLD_STYLE = (
    "QPushButton, QPushButton:checked { text-align: left; border: none; padding: 4px 0px;"
    " background: transparent; font-weight: bold; }"
    "QPushButton:focus { text-decoration: underline; }"
)


class _NoIcon(QIcon):
    """An icon of nothing: an empty one is false in PySide, and superqt asks whether it is."""

    def __bool__(self) -> bool:
        """Return True: it is an icon."""
        return True


class Fold(QCollapsible):
    """Content that a button shows or hides, which the Tab key reaches.

    Parameters
    ----------
    title : str
        Title next to the arrow.
    tooltip : str
        What is inside.
    """

    def __init__(self, title: str, tooltip: str, parent: QWidget | None = None) -> None:
        super().__init__("", parent, _NoIcon(), _NoIcon())
        self._title = title
        button = self.toggleButton()
        button.setStyleSheet(FOLD_STYLE)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setToolTip(tooltip)
        self.toggled.connect(self._on_toggled)

    def rename(self, title: str) -> None:
        """Change the title."""
        self._title = title
        self._show_title(self.isExpanded())

    def fill(self, inner: QWidget) -> None:
        """Put the controls in, folded."""
        own, frame = self.content().layout(), self.layout()
        assert own is not None
        assert frame is not None
        # Not by addWidget: with it superqt limits the height again at every resize.
        own.addWidget(inner)
        own.setContentsMargins(0, 0, 0, 0)
        frame.setContentsMargins(0, 0, 0, 0)
        self._on_toggled(False)

    def unfold(self, unfolded: bool) -> None:
        """Show or hide the controls."""
        self.expand() if unfolded else self.collapse()

    def expand(self, animate: bool = False) -> None:
        """Unfold at once: superqt measures the height before the controls are visible."""
        super().expand(animate=False)

    def collapse(self, animate: bool = False) -> None:
        """Fold at once."""
        super().collapse(animate=False)

    def _on_toggled(self, unfolded: bool) -> None:
        self._show_title(unfolded)
        # Folded controls must not be reached by the Tab key; unfolded ones may grow with texts.
        self.content().setVisible(unfolded)
        if unfolded:
            self.content().setMaximumHeight(UNLIMITED)

    def _show_title(self, unfolded: bool) -> None:
        self.setText(("▾" if unfolded else "▸") + " " + self._title)
