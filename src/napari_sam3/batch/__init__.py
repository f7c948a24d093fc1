"""Segmentation of whole stacks, series and slides with results on disk."""

from napari_sam3.core.objects import Instance
from napari_sam3.inference.tracking.ending import EndRules
from napari_sam3.inference.tracking.limits import EndLimits

from .modes import Automatic, Carried, Mode, Placed, Propagate, Repeated, Similar
from .progress import BatchControl
from .prompt_files import read_prompts, write_prompts
from .prompts import BatchPrompts, prompts_from_layers
from .results import BatchError, PlaneResult, Progress
from .segmenting import segment
from .similar import concept_of_labels
from .tables import read_objects

#: Aliases for scripts written for earlier versions.
BatchObject, CarryRules = Instance, EndLimits

__all__ = [
    "Automatic",
    "BatchControl",
    "BatchError",
    "BatchObject",
    "BatchPrompts",
    "Carried",
    "CarryRules",
    "EndLimits",
    "EndRules",
    "Instance",
    "Mode",
    "Placed",
    "PlaneResult",
    "Progress",
    "Propagate",
    "Repeated",
    "Similar",
    "concept_of_labels",
    "prompts_from_layers",
    "read_objects",
    "read_prompts",
    "segment",
    "write_prompts",
]
