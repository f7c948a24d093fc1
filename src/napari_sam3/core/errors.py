"""Errors of the plugin that a user can cause and fix."""

from __future__ import annotations

from sam3.errors import PromptError, Sam3Error

__all__ = ["LabelError", "LayerError", "MisplacedError", "MissedError", "NothingThereError"]


class LabelError(Sam3Error, ValueError):
    """A label cannot be written: nothing to write, no room for it, or no free id."""


class NothingThereError(LabelError):
    """A command without a target: no label under the mouse, or no mask to accept."""


class MissedError(PromptError):
    """A click or a box missed the image, or the box is too small to hold an object."""


class LayerError(Sam3Error, ValueError):
    """A napari layer that is needed is missing, gone, or of the wrong kind."""


class MisplacedError(LayerError):
    """A Labels layer whose pixels do not lie on those of the image."""
