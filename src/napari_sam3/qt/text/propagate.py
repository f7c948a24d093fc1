"""Texts of the part of the panel that propagates objects. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

PROPAGATE = Wording(
    "Propagate",
    "Follow the current mask, or the objects accepted on this plane, through the other planes",
)
NO_STACK = "Propagation needs a stack or time series."
OPTIONS = Wording("Propagation", "Choose direction, axis and gaps")
STOP = Wording("Stop", "Stop; objects found so far stay, and undo removes them")
DIRECTION = Wording("", "Choose where objects are followed to", "Direction")
DIRECTIONS = (("Both ways", "both"), ("Forward", "forward"), ("Backward", "backward"))
AXIS = Wording("", "Choose the axis along which objects are followed", "Axis")
GAP = Wording(
    "",
    "Bridge planes without the object, such as blinks in a time series",
    "Gaps",
)
NO_GAP = "No gaps"
PROGRESS_NAME = "Progress of propagation"
BEGINS = "Propagating …"
MASK_BY_MASK = "Each mask is predicted from the mask on the previous plane, without a memory."


def bridged(count: int) -> str:
    """Return the suffix of the number of bridged planes."""
    return " plane bridged" if count == 1 else " planes bridged"


def axis_choice(name: str, planes: int) -> str:
    """Name an axis and the number of planes along it, in little room."""
    return f"{name} ({planes})"


def at_plane(index: int) -> str:
    """Say which plane was done last."""
    return f"Plane {index} is done."


def found(objects: int, planes: int, *, stopped: bool = False) -> str:
    """Describe the result on other planes; `stopped` if the user ended it."""
    if not objects:
        return "Stopped. No object found." if stopped else "No object found on the next planes."
    what = "1 object" if objects == 1 else f"{objects} objects"
    where = "1 more plane" if planes == 1 else f"{planes} more planes"
    begin = "Stopped after " if stopped else ""
    return f"{begin}{what} on {where}. Undo removes them in one step."
