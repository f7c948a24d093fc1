"""Errors that a user of :mod:`sam3` can cause.

Every message names the value, what was expected and the remedy. All derive from
:class:`Sam3Error`; some also inherit the built-in that fits, so that ``except ValueError`` works.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CheckpointNotFoundError",
    "ConfigError",
    "DeviceError",
    "DeviceMemoryError",
    "DownloadError",
    "FeaturesError",
    "ImageError",
    "PromptError",
    "Sam3Error",
    "TrainingError",
    "UnsupportedError",
]


class Sam3Error(Exception):
    """Base class of all errors that this project raises on purpose."""


class ConfigError(Sam3Error, ValueError):
    """A configuration, preset or option that does not exist or is inconsistent."""


class ImageError(Sam3Error, ValueError):
    """An image that cannot be encoded: wrong shape, data type or content."""


class PromptError(Sam3Error, ValueError):
    """Points, boxes or mask prompts of the wrong shape, with a wrong label or out of bounds."""


class CheckpointError(Sam3Error, ValueError):
    """A weights file that is damaged, unsafe, or made for another model."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """A weights file that does not exist."""


class DownloadError(Sam3Error, OSError):
    """The released weights could not be downloaded."""


class FeaturesError(Sam3Error, ValueError):
    """Image features that cannot be read or belong to another model."""


class UnsupportedError(Sam3Error, NotImplementedError):
    """A part of SAM 3 that this package does not implement."""


class TrainingError(Sam3Error, ArithmeticError):
    """A training run that diverged: its gradients are not finite."""


class DeviceError(Sam3Error, RuntimeError):
    """A device that does not exist or failed."""


class DeviceMemoryError(DeviceError):
    """The device ran out of memory."""
