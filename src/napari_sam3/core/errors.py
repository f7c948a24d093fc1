"""Errors of the plugin that a user can cause and fix."""

from __future__ import annotations

from sam3.errors import PromptError, Sam3Error

__all__ = ["LabelError", "LayerError", "MisplacedError", "MissedError", "NothingThereError"]


class LabelError(Sam3Error, ValueError):
    """A label that cannot be written: an empty mask, no room for it, or no free id."""


class NothingThereError(LabelError):
    """A command without a target, such as a label under the mouse or a mask to accept."""


class MissedError(PromptError):
    """A click or a box outside the image, or a box too small for an object."""


class LayerError(Sam3Error, ValueError):
    """A required napari layer that is missing, removed, or of the wrong kind."""


class MisplacedError(LayerError):
    """A Labels layer whose pixels are not aligned with those of the image."""
