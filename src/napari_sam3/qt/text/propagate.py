"""What stands on the part of the panel that propagates objects. No Qt."""

from __future__ import annotations

from .panel import Wording
from .status import failed_planes

# No __all__: every text is for others.

PROPAGATE = Wording(
    "Propagate",
    "Find the mask in hand, or else the objects accepted on this plane, on the other planes",
)
STOP = Wording("Stop", "End it; what was found until now stays, and undo takes it back")
DIRECTION = Wording("", "Where objects are followed to", "Direction")
DIRECTIONS = (("Both ways", "both"), ("Forward", "forward"), ("Backward", "backward"))
AXIS = Wording("", "Axis along which objects are followed", "Axis")
GAP = Wording(
    "",
    "Bridge as many planes in a row without the object, as for a blink in a time series",
    "Planes to bridge",
)
NO_GAP = "No gaps"
PROGRESS_NAME = "Progress of propagating"
BEGINS = "Beginning …"
NO_MEMORY = "This model has no memory: each plane is found from the mask on the plane before."


def bridged(count: int) -> str:
    """Return what stands behind a number of planes that are bridged."""
    return " plane bridged" if count == 1 else " planes bridged"


def axis_choice(name: str, planes: int) -> str:
    """Name an axis and the number of planes along it, in little room."""
    return f"{name} ({planes})"


def at_plane(index: int) -> str:
    """Say which plane was done last."""
    return f"Plane {index} is done."


def found(objects: int, planes: int, *, stopped: bool = False) -> str:
    """Say what was found on other planes, and with `stopped` that the user ended it."""
    if not objects:
        return "Stopped: nothing was found." if stopped else "Nothing was found on the next planes."
    what = "1 object" if objects == 1 else f"{objects} objects"
    where = "1 more plane" if planes == 1 else f"{planes} more planes"
    begin = "Stopped: " if stopped else ""
    return f"{begin}{what} on {where}; undo takes them back as one step."


def passed_over(planes: tuple[int, ...], reason: object) -> str:
    """Name planes that could not be read, and why."""
    return failed_planes([(plane,) for plane in planes], reason)
