"""What stands on the part of the panel for series of images and saved sessions. No Qt."""

from __future__ import annotations

from collections.abc import Mapping

from .panel import Wording

# No __all__: every text is for others.

OPEN = Wording("Open images …", "Open a folder, files or a table of images, to label one by one")
OPEN_CHOICES = (
    ("Folder …", "folder"),
    ("Folder, labels in another folder …", "elsewhere"),
    ("Images …", "files"),
    ("Table of images …", "table"),
    ("File with several images …", "file"),
)
CLOSE = Wording("Close images", "Save the labels and close the series of images")
NEXT = Wording("Next", "Accept the mask, save the labels and open the next image")
PREVIOUS = Wording("Previous", "Save the labels and open the image before")
LIST = Wording("Images", "All images of the series, and what became of them", "Images")
ONLY_OPEN = Wording("Only those not done", "Hide images that are done or skipped, and pass them")
STATE = Wording("State", "Change what became of the images selected in the list")
STATES: Mapping[str, str] = {
    "todo": "To do",
    "work": "In work",
    "done": "Done",
    "skipped": "Skipped",
}
SAVE_SESSION = Wording(
    "Save session …", "Save labels, objects, clicks, classes and undo, to go on another day"
)
OPEN_SESSION = Wording("Open session …", "Open a saved session, with its image if it is not open")
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
SAVING = "Saving the labels …"
LAST_IMAGE = "That was the last image."
FIRST_IMAGE = "That is the first image."
ALL_DONE = "All images are done or skipped."


def position(number: int, count: int, done: int, skipped: int) -> str:
    """Say which image of the series is open, from 1, and how many are done."""
    text = f"Image {number} of {count} · {done} done"
    return f"{text}, {skipped} skipped" if skipped else text


def skipped(name: str, reason: str) -> str:
    """Say that an image could not be read and was passed over."""
    return f"{name} was skipped: {reason}"


def entry(name: str, state: str, objects: int) -> str:
    """Describe an image in the list."""
    count = f" · {objects} object{'' if objects == 1 else 's'}" if objects else ""
    return f"{name}\n{STATES[state]}{count}"


def moved(old: str, new: str) -> str:
    """Say that labels were written beside a file that another program wrote."""
    return (
        f"{old} was changed by another program, or does not fit the image. It is left alone; your "
        f"labels are in {new}."
    )


def image_changed(name: str) -> str:
    """Say that the file of an image changed while it was open."""
    return (
        f"{name} was changed by another program while it was open. Its labels belong to the image "
        "as it was; open it again to see it as it is now."
    )


def session_saved(name: str) -> str:
    """Say where a session is."""
    return f"Session saved: {name}."
