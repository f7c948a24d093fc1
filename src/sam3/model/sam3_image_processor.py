"""Import path used by the public SAM 3 notebook; the code is in :mod:`sam3.notebook`."""

from sam3.notebook.image_processor import Sam3Processor
from sam3.notebook.image_state import ImageState

__all__ = ["ImageState", "Sam3Processor"]
