"""Colours of texts that stay readable in every theme of napari: contrast of at least 4.5:1."""

from __future__ import annotations

from typing import Any

from qtpy.QtGui import QColor

__all__ = ["ERROR_STYLE", "class_style", "contrast", "panel_style", "text_color_on"]

#: The least contrast of WCAG 2.2 for texts.
LEAST = 4.5
#: White on this red is readable in every theme.
ERROR_STYLE = (
    "color: #ffffff; background: #b3261e; font-weight: bold; border-radius: 3px; padding: 3px;"
)


def text_color_on(color: str) -> str:
    """Return black or white, the one that is easier to read on a colour."""
    return max(("#000000", "#ffffff"), key=lambda text: contrast(text, color))


def class_style(color: str) -> str:
    """Return the style sheet of the button of a class: in its colour while checked."""
    text = text_color_on(color)
    border = f"border-width: 2px; border-style: solid; border-color: {text};"
    return f"QPushButton:checked {{ background: {color}; color: {text}; {border} }}"


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, "#rrggbb", by WCAG: 1 to 21."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def panel_style(theme: str) -> str:
    """Return the style sheet of the panel for a theme of napari, by name."""
    from napari.utils.theme import get_theme

    colors: Any = get_theme(theme)
    text, below = colors.text.as_hex(format="long"), colors.background.as_hex(format="long")
    faded = _faded(text, below)
    return (
        f"QPushButton:disabled, QRadioButton:disabled, QCheckBox:disabled {{ color: {faded}; }}"
        "QPushButton:disabled { background: transparent; border-width: 1px;"
        f" border-style: solid; border-color: {faded}; }}"
        f"QLineEdit {{ placeholder-text-color: {text}; }}"
    )


def _faded(text: str, below: str) -> str:
    """Return the faintest mix of two colours that can still be read on the second."""
    for share in range(50, 100, 5):
        mixed = _mix(text, below, share / 100)
        if contrast(mixed, below) >= LEAST + 0.5:
            return mixed
    return text


def _mix(first: str, second: str, share: float) -> str:
    one, other = QColor(first), QColor(second)
    parts = zip(one.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QColor(*(round(share * a + (1 - share) * b) for a, b in parts)).name()


def _luminance(color: str) -> float:
    parts = [QColor(color).redF(), QColor(color).greenF(), QColor(color).blueF()]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
