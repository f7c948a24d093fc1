"""Texts of the part of the panel for series of images and saved sessions. No Qt."""

from __future__ import annotations

from collections.abc import Mapping

from .panel import Wording

# No __all__: every text is for others.

CLOSE = Wording("Close images", "Save the labels and close the series of images")
NEXT = Wording("Next image", "Accept the mask, save the labels and open the next image")
PREVIOUS = Wording("Previous", "Save the labels and open the previous image", "Previous image")
LIST = Wording("Images", "List the images of the series", "Images")
ONLY_OPEN = Wording("Only unfinished", "Hide and skip images that are done or skipped")
STATE = Wording("State", "Set the state of the selected images")
STATES: Mapping[str, str] = {
    "todo": "To do",
    "work": "In progress",
    "done": "Done",
    "skipped": "Skipped",
}
SAVE_SESSION = Wording(
    "Save session …", "Save labels, clicks, classes and undo, to resume another day"
)
FOLDER_DIALOG = "Folder of images"
LABELS_DIALOG = "Folder for the labels"
FILES_DIALOG = "Images"
TABLE_DIALOG = "Table of images"
TABLE_FILTER = "Tables (*.csv *.tsv *.txt);;All files (*)"
FILE_DIALOG = "File with several images"
IMAGES_FILTER = "Images ({suffixes});;All files (*)"
SESSION_DIALOG = "Session"
SESSION_FILTER = "Sessions (*.sam3.json.gz *.json.gz *.json);;All files (*)"
SESSION_ENDING = ".sam3.json.gz"
OPENING = "Reading the list of images …"
READING = "Reading the image …"
LAST_IMAGE = "This is the last image. The labels are saved."
FIRST_IMAGE = "This is the first image."
ALL_DONE = "All images are done or skipped."


def position(number: int, count: int, done: int, skipped: int) -> str:
    """Say which image of the series is open, from 1, and how many are done."""
    text = f"Image {number} of {count} · {done} done"
    return f"{text}, {skipped} skipped" if skipped else text


def skipped(name: str, reason: str) -> str:
    """Say that an image could not be read and was skipped."""
    return f"Skipped {name}: {reason}"


def entry(name: str, state: str, objects: int) -> str:
    """Describe an image in the list."""
    count = f" · {objects} object{'' if objects == 1 else 's'}" if objects else ""
    return f"{name}\n{STATES[state]}{count}"


def moved(old: str, new: str) -> str:
    """Say that labels were written next to a file of another program."""
    return (
        f"{old} was changed by another program, or does not fit the image. It is unchanged; your "
        f"labels are in {new}."
    )


def image_changed(name: str) -> str:
    """Say that the file of an image changed while it was open."""
    return (
        f"{name} was changed by another program while it was open. The labels belong to the old "
        "image. Open it again to see the new one."
    )


def session_saved(name: str) -> str:
    """Say where a session is."""
    return f"Session saved: {name}."
