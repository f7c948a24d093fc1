"""Texts of the part of the panel that learns from labels. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

FOLD = Wording(
    "Learn from labels", "Adapt the model to your images, by the objects accepted until now"
)
START = Wording(
    "Learn from labels …",
    "Choose a file, and learn in the background from the objects accepted in these labels",
)
STOP = Wording("Stop", "End learning and keep the best state; press again to discard it")
MINUTES = Wording("Minutes", "Limit the time; learning ends earlier when clicks get no better")
PROGRESS_NAME = "Progress of learning"
SAVE_TITLE = "Adapter to learn"
ADAPTERS = "Adapters (*.safetensors)"
SUFFIX = ".safetensors"
PREPARING = "Reading the images …"
LOADING = "Loading the model …"
NOT_A_FILE = "the model in use has no weights file"
EXPECTED_FILE = "Expected the embedded model or a weights file. Choose one in the model menu."
NO_IMAGE = "no image is in use. Expected one with accepted objects. Choose an image."
STOPPING = "Stopping …"
DISCARDED = "Stopped. Nothing was written."
NO_GAIN = "Clicks did not get better; nothing was written. Label more objects, or take more time."


def file_name(stem: str) -> str:
    """Return the name of a new adapter, from that of an image."""
    return f"{stem}_adapter{SUFFIX}"


def clicks(before: float, after: float) -> str:
    """Compare clicks on held-out objects."""
    return f"IoU of clicks on held-out objects: {before:.2f} → {after:.2f}"


def learning(steps: int, before: float, best: float) -> str:
    """Say how far learning is."""
    return f"{clicks(before, best)} after {steps} {'step' if steps == 1 else 'steps'}."


def learnt(name: str, before: float, after: float, held_out: int) -> str:
    """Describe the result."""
    return (
        f"{clicks(before, after)} ({held_out} of them). Choose {name} in the model menu to use it."
    )


def ended(reason: str) -> str:
    """Say that the process ended by itself, and why, if it said so."""
    said = f": {reason}" if reason else ""
    return f"learning ended unexpectedly{said}. Nothing was written. Start it again."
