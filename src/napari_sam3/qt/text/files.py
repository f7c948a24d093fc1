"""Texts of the buttons and dialogs that save and open labels. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

SAVE = Wording("Save labels …", "Save the labels for napari, ImageJ, QuPath and other programs")
OPEN = Wording("Open …", "Open labels, a session, or a folder of images")
#: Entries of its menu: a title and a name.
OPEN_CHOICES = (
    ("Labels …", "labels"),
    ("Session …", "session"),
    ("Folder of images …", "folder"),
    ("Folder of images, labels elsewhere …", "elsewhere"),
    ("Several images …", "files"),
    ("Table of images …", "table"),
    ("File with several images …", "file"),
)
SAVE_TITLE, OPEN_TITLE = "Save labels", "Open labels"
LAYER = Wording("&Layer", "Choose the layer to save")
FILE = Wording("&File", "Choose the file or folder to write", "File")
BROWSE = Wording("Browse …", "Choose where to save")
REPLACE = Wording("&Replace the existing file", "Overwrite the file")
FORMATS_NAME = "Formats"
LEGEND = (
    "yes: kept for all programs · (yes): kept in the file for napari-sam3, which reads it back · "
    "no: lost"
)
FORMAT_COLUMN, FOR_COLUMN = "Format", "For"
ALL_FILES = "All files (*)"
LABEL_FILES = "Labels (*.tif *.tiff *.png *.npy *.zip *.roi *.geojson *.json *.txt);;All files (*)"
NO_LABELS = "No labels layer to save."


def saving(name: str) -> str:
    """Describe the file that is being written."""
    return f"Saving {name} …"


def saved(path: str) -> str:
    """Describe the written file."""
    return f"Saved {path}."


def opened(count: int, name: str) -> str:
    """Describe the opened file."""
    return f"Opened {count} object{'' if count == 1 else 's'} from {name}."
