"""Click on an object in napari, get its mask by SAM 3 as a label at once.

The names below are imported when first used, so that ``import napari_sam3`` is quick and
needs neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.planes import PlaneIndex, plane_from_array
    from .core.prompts import PromptSet
    from .labels.targets import ArrayTarget, LabelTarget
    from .layers.bind import Binding, bind
    from .qt.widget import SegmentWidget
    from .session.session import AcceptedObject, LabelingSession

__all__ = [
    "AcceptedObject",
    "ArrayTarget",
    "Binding",
    "LabelTarget",
    "LabelingSession",
    "PlaneIndex",
    "PromptSet",
    "SegmentWidget",
    "bind",
    "plane_from_array",
]

_HOMES = {
    "AcceptedObject": "session",
    "ArrayTarget": "targets",
    "Binding": "layers",
    "LabelTarget": "targets",
    "LabelingSession": "session",
    "PlaneIndex": "planes",
    "PromptSet": "prompts",
    "SegmentWidget": "widget",
    "bind": "layers",
    "plane_from_array": "planes",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in, when it is first asked for."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
