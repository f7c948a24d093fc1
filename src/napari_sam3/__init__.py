"""Click on an object in napari, get its mask by SAM 3 as a label at once.

The names below are imported when first used, so that ``import napari_sam3`` is quick and
needs neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.axes import ImageAxes
    from .core.objects import AcceptedObject
    from .core.planes import PlaneIndex, plane_from_array
    from .core.prompts import PromptSet
    from .images.identity import identify
    from .images.lazy import open_image
    from .images.plane_image import RenderedPlane
    from .inference.automatic.find import find_objects
    from .inference.automatic.settings import AutomaticSettings
    from .inference.automatic.suppression import merge_found, paint_order
    from .inference.cache import EmbeddingCache
    from .inference.models import load_predictor
    from .inference.store.store import EmbeddingStore
    from .labels.formats.choice import export_labels
    from .labels.formats.loaded import LoadedLabels
    from .labels.formats.object_table import ObjectTable
    from .labels.formats.reading import read_labels
    from .labels.formats.tiff import write_labels
    from .labels.formats.tracks.choice import read_tracks
    from .labels.ome_zarr import create_labels, open_labels
    from .labels.start import describe_labels
    from .labels.table import ObjectRow, format_table, write_table
    from .labels.targets import ArrayTarget, LabelTarget
    from .layers.bind import bind
    from .layers.binding import Binding
    from .qt.widget import SegmentWidget
    from .records.session_file import read_session, write_session
    from .session.replay import replay_into
    from .session.series import ImageSeries
    from .session.session import LabelingSession

__all__ = [
    "AcceptedObject",
    "ArrayTarget",
    "AutomaticSettings",
    "Binding",
    "EmbeddingCache",
    "EmbeddingStore",
    "ImageAxes",
    "ImageSeries",
    "LabelTarget",
    "LabelingSession",
    "LoadedLabels",
    "ObjectRow",
    "ObjectTable",
    "PlaneIndex",
    "PromptSet",
    "RenderedPlane",
    "SegmentWidget",
    "bind",
    "create_labels",
    "describe_labels",
    "export_labels",
    "find_objects",
    "format_table",
    "identify",
    "load_predictor",
    "merge_found",
    "open_image",
    "open_labels",
    "paint_order",
    "plane_from_array",
    "read_labels",
    "read_session",
    "read_tracks",
    "replay_into",
    "write_labels",
    "write_session",
    "write_table",
]

_HOMES = {
    "AcceptedObject": "core.objects",
    "ArrayTarget": "labels.targets",
    "AutomaticSettings": "inference.automatic.settings",
    "Binding": "layers.binding",
    "EmbeddingCache": "inference.cache",
    "EmbeddingStore": "inference.store.store",
    "ImageAxes": "core.axes",
    "LabelTarget": "labels.targets",
    "LabelingSession": "session.session",
    "LoadedLabels": "labels.formats.loaded",
    "ObjectRow": "labels.table",
    "ObjectTable": "labels.formats.object_table",
    "PlaneIndex": "core.planes",
    "PromptSet": "core.prompts",
    "RenderedPlane": "images.plane_image",
    "SegmentWidget": "qt.widget",
    "bind": "layers.bind",
    "create_labels": "labels.ome_zarr",
    "describe_labels": "labels.start",
    "export_labels": "labels.formats.choice",
    "find_objects": "inference.automatic.find",
    "format_table": "labels.table",
    "ImageSeries": "session.series",
    "identify": "images.identity",
    "load_predictor": "inference.models",
    "merge_found": "inference.automatic.suppression",
    "open_image": "images.lazy",
    "open_labels": "labels.ome_zarr",
    "paint_order": "inference.automatic.suppression",
    "plane_from_array": "core.planes",
    "read_labels": "labels.formats.reading",
    "read_session": "records.session_file",
    "read_tracks": "labels.formats.tracks.choice",
    "replay_into": "session.replay",
    "write_labels": "labels.formats.tiff",
    "write_session": "records.session_file",
    "write_table": "labels.table",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module it lives in, when it is first asked for."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
