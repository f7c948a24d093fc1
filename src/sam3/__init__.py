"""SAM 3 for interactive segmentation and tracking: clicks and boxes in, masks out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam3.features import ImageFeatures
    from sam3.notebook.image_model import build_sam3_image_model
    from sam3.notebook.video_model import build_sam3_video_model
    from sam3.predictor import Prediction, Predictor, load_predictor
    from sam3.tracking.tracker import FramePrompt, TrackedFrame, Tracker, load_tracker
    from sam3.weights import load as checkpoint

__all__ = [
    "FramePrompt",
    "ImageFeatures",
    "Prediction",
    "Predictor",
    "TrackedFrame",
    "Tracker",
    "__version__",
    "build_sam3_image_model",
    "build_sam3_video_model",
    "checkpoint",
    "load_predictor",
    "load_tracker",
]
__version__ = "0.1.0"

_LAZY = {
    "FramePrompt": "sam3.tracking.tracker",
    "ImageFeatures": "sam3.features",
    "Prediction": "sam3.predictor",
    "Predictor": "sam3.predictor",
    "TrackedFrame": "sam3.tracking.tracker",
    "Tracker": "sam3.tracking.tracker",
    "build_sam3_image_model": "sam3.notebook.image_model",
    "build_sam3_video_model": "sam3.notebook.video_model",
    "load_predictor": "sam3.predictor",
    "load_tracker": "sam3.tracking.tracker",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import sam3`` does not import torch."""
    from importlib import import_module

    if name == "checkpoint":  # the module, by the name that scripts know
        return import_module("sam3.weights.load")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
