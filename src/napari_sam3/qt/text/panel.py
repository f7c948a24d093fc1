"""Texts of the panel and its dialogs: titles, tooltips, names and choices. No Qt.

Plain texts, and functions that put values into them, so that a translator finds whole sentences;
what the panel says while it works is in `status_text`. "&" marks the letter that reaches a control
together with Alt; those of napari's menus (F V L P W H) are left to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# No __all__: every text is for others.


class Wording(NamedTuple):
    """The texts of one control.

    Parameters
    ----------
    title : str
        Stands on the control or next to it; "" if nothing does.
    tooltip : str
        What it is for.
    name : str
        What a screen reader says where the title would not do.
    """

    title: str
    tooltip: str
    name: str = ""


# Values of choices that are no layers and no levels.
NEW_LABELS = "new"
OWN_LAYER = "own"
#: Beyond every level that an image can have; the model then gets all of it.
WHOLE_IMAGE = 99

# ------------------------------------------------------------- image, model, labels

IMAGE = Wording("&Image", "Choose the image to segment")
MODEL = Wording("&Model", "Choose the model: the embedded one, a weights file, or a server")
LABELS = Wording("La&bels", "Choose the layer that accepted objects are written to")
LABELS_CHOICES = (("New layer", NEW_LABELS),)
MODES = {
    "one": Wording("One ob&ject", "Segment one object at a time"),
    "many": Wording("Man&y objects", "Start an object with each left click on a new place"),
}

# ----------------------------------------------------------- the choice of a model

EMBEDDED_MODEL = "Embedded (tiny)"
WEIGHTS_FILE = "Weights file …"
REMOTE_MODEL = "Remote …"
RELEASED_MODEL = "Released SAM 3 (download 3.5 GB) …"
WEIGHTS_DIALOG = "Weights of SAM 3"
WEIGHTS_FILTER = "Weights (*.pt *.pth *.safetensors);;All files (*)"
CONSENT_DIALOG = "Released SAM 3"
CONSENT_GIVEN = "&Download"
CONSENT = (
    "<p>Download the released SAM 3 weights?</p>"
    "<p><b>What:</b> sam3.pt, 3.5 GB, kept in the cache of Hugging Face (HF_HOME).<br>"
    '<b>From:</b> <a href="https://huggingface.co/facebook/sam3">'
    "huggingface.co/facebook/sam3</a>.<br>"
    "<b>Licence:</b> Meta's SAM License, shown on that page; using the weights means accepting "
    "it.<br>"
    "<b>Needed:</b> an account there to which access was granted, logged in on this computer by "
    "<i>hf auth login</i>.</p>"
)
STOP_DOWNLOAD = Wording("&Stop", "Stop the download; a later one begins again")

# ------------------------------------------------------------- status and current mask

STATUS_NAME = "Status"
PROGRESS_NAME = "Progress"
STOP_WORK = Wording("Stop", "Stop the prediction; clicks and boxes stay")
RESTORE_LAYERS = Wording(
    "Restore layers", "Restore the deleted layers, with their objects and clicks"
)
CLICK = Wording("Click", "Segment the object under each click")
RESUME = Wording("Resume clicking", "Select the points layer, so that clicks segment again")
NEXT_MASK = Wording("Next mas&k", "Show the next candidate mask")
HELP_BUTTON = Wording("?", "Show the gestures and keys")
HELP = Wording("Mouse and keys", "Show the gestures and keys")
BUTTONS = {
    "accept": Wording("Accept", "Write the mask into the labels"),
    "reject": Wording("Clear", "Remove the clicks, the box and the mask that are not accepted"),
    "undo": Wording("Undo", "Undo the last step: a click, a box or an accepted object"),
    "redo": Wording("Redo", "Redo the step that was undone"),
}
# Answers to a question; it replaces these titles.
YES = Wording("&Yes", "Accept the offer")
NO = Wording("N&o", "Decline the offer")
RESTORE_LOST, FORGET_LOST = "Restore", "Discard"
ALIGN_LABELS, LEAVE_LABELS = "Align", "Cancel"

# ------------------------------------------------------------------------- classes

ADD_CLASS = Wording("+", "Add a class", "Add a class")
NEW_CLASS = Wording("New class", "Type a name and press Enter", "Name of the new class")
CHANGE_COLOR, REMOVE_CLASS = "Change colour …", "Remove class"

# ------------------------------------------------------------------ the instructions

# Commands on the label under the mouse, mentioned where they have keys.
ON_OBJECTS = {
    "refine": "reopens it",
    "delete": "deletes it here",
    "delete_everywhere": "deletes it on all planes",
    "merge": "merges it with the next label here",
    "merge_everywhere": "merges it with the next label on all planes",
    "split": "splits it here",
    "split_from_here": "gives it a new id from this plane on",
    "divide": "links it to its daughter",
}
#: Other commands, mentioned where they have keys.
OF_VIEW = {
    "background": "turns the last click into background, or back",
    "brush": "switches to napari's brush and back",
    "outline": "shows labels as outlines or filled",
    "previous_image": "opens the previous image",
    "help": "shows or hides this text",
}
GESTURES = (
    "<b>Left click</b>: object. <b>Right click</b>: not part of it. <b>Drag</b>: box. "
    "<b>Shift+click</b>: accept, then start the next object. <b>Ctrl+click</b> on a label: "
    "reopen it.",
    "<b>Enter</b> accepts, <b>Esc</b> clears or cancels, <b>Delete</b> deletes the label under the "
    "mouse. A <b>class key</b> changes the class of the label under the mouse.",
)


def describe_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Name keys as they stand on keyboards: "Control-Z" becomes "Ctrl+Z"; leave out empty ones."""
    return {
        name: key.replace("Control", "Ctrl").replace("-", "+") for name, key in keys.items() if key
    }


def title_with_key(title: str, key: str | None) -> str:
    """Name the key after a title, in the place of the letter that reaches it with Alt."""
    return f"{title.replace('&', '')}  ({key})" if key else title


def tooltip_with_key(tooltip: str, key: str | None) -> str:
    """Say in a tooltip where the key works."""
    return f"{tooltip} ({key} with the points or boxes layer selected)" if key else tooltip


def how_to(shown: Mapping[str, str]) -> str:
    """Return the instructions (rich text), given the keys as `describe_keys` names them."""
    hints = [f"<b>{shown[name]}</b> {does}" for name, does in ON_OBJECTS.items() if name in shown]
    more = [f"<b>{shown[name]}</b> {does}." for name, does in OF_VIEW.items() if name in shown]
    texts = list(GESTURES)
    if hints:
        texts.append(f"On the label under the mouse: {', '.join(hints)}.")
    return "<br>".join([*texts, " ".join(more)])


# ------------------------------------------------------------------ the fold of batches

BATCH = Wording("Batch", "Segment many planes, or a whole large one")
BATCH_METHOD = Wording("Fin&d", "Choose how objects are found on each plane")
#: Ways to find objects on many planes: a title, a name, and a tooltip.
BATCH_METHODS = (
    ("Prompts on each plane", "placed", "Segment from the clicks and boxes of each plane"),
    (
        "These prompts on every plane",
        "repeated",
        "Segment each plane from the clicks and boxes of this one",
    ),
    (
        "Propagate objects",
        "propagate",
        "Follow each object from its prompts to where it ends",
    ),
    ("Find all objects", "automatic", "Find all objects, without prompts"),
    (
        "Find similar objects",
        "similar",
        "Find objects that resemble those accepted on this plane",
    ),
)
BATCH_AXIS = Wording("Alon&g", "Choose the axis of the planes, or this plane only")
THIS_PLANE_ONLY = ("This plane only", None)
BATCH_PLANES = "Planes"
FIRST_PLANE, LAST_PLANE = "First plane", "Last plane"
BATCH_OUTPUT = Wording(
    "OME-&Zarr",
    "Choose an OME-Zarr for the labels as well; the same batch resumes from it",
    "OME-Zarr",
)
NO_OUTPUT = "none"
BATCH_BROWSE = Wording("File …", "Choose the OME-Zarr to write")
BATCH_DIALOG = "OME-Zarr of labels"
BATCH_FILTER = "OME-Zarr (*.zarr)"
OVERWRITE = Wording("Overwrite output", "Replace the contents of the OME-Zarr")
BATCH_LIMITS = "Minimum"
MIN_SCORE = Wording("", "Drop masks with a lower score, 0 to 1", "Minimum score")
MIN_AREA = Wording("", "Drop smaller objects, in px", "Minimum area")
IN_PIXELS = " px"
BATCH_REVIEW = Wording(
    "Review first", "Show the objects as candidates to filter and accept; off: write labels"
)
BATCH_RUN = Wording("R&un", "Segment these planes, as one step for undo")
BATCH_STOP = Wording(
    "Stop batch", "Stop the batch; finished planes are kept, and undo removes them"
)
BATCH_PROGRESS_NAME = "Progress of the batch"


def axis_name(axis: int) -> str:
    """Name an axis that has no name."""
    return f"Axis {axis}"


def axis_choice(name: str, planes: int) -> str:
    """Name an axis and the planes, two or more, that lie along it."""
    return f"{name} ({planes} planes)"


# ------------------------------------------------------------ the fold of advanced controls

ADVANCED = Wording("Advanced", "Set prompt layers, overlaps, resolution, contrast, device and more")
POINTS = Wording("Poi&nts", "Choose the layer whose points are clicks")
BOXES = Wording("Bo&xes", "Choose the layer whose rectangles are boxes")
PROMPTS_CHOICES = (("Own layer", OWN_LAYER),)
#: Combo boxes: a title, a tooltip, and the choices as (text, value).
CHOICES: dict[str, tuple[str, str, Sequence[tuple[str, Any]]]] = {
    "policy": (
        "&Overlaps",
        "Choose what happens where a new object meets accepted ones",
        (
            ("Keep accepted pixels", "keep"),
            ("Overwrite", "overwrite"),
            ("Only inside the drawn box", "inside"),
        ),
    ),
    "level": (
        "&Resolution",
        "Choose the resolution of the model input: finer for small objects",
        (
            ("Automatic", None),
            ("4x finer", -2),
            ("2x finer", -1),
            ("1:1", 0),
            ("1:2", 1),
            ("1:4", 2),
            ("Whole image", WHOLE_IMAGE),
        ),
    ),
    "contrast": (
        "Con&trast",
        "Choose the values that the model sees as black and white",
        (
            ("Whole image", "image"),
            ("Per plane", "plane"),
            ("Contrast limits of the layer", "layer"),
        ),
    ),
    "device": (
        "D&evice",
        "Choose where the model runs",
        (("Automatic", "auto"), ("CPU", "cpu"), ("CUDA", "cuda"), ("MPS", "mps")),
    ),
}
CHANNELS = {
    "red": Wording("Red", "Choose the channel shown to the model as red"),
    "green": Wording("Green", "Choose the channel shown to the model as green"),
    "blue": Wording("Blue", "Choose the channel shown to the model as blue"),
}
NO_CHANNEL = "none"
MEMORY = "Memory"
SEEN = Wording("Model input", "Show the plane as the model sees it", "Model input")
CLASS_COLORS = Wording("Colour labels by class", "Show each label in the colour of its class")
FIELD_OUTLINE = Wording(
    "Outline the model input",
    "Draw the part of the image that the model used for the mask",
)
JOURNAL = Wording(
    "Restore after a &crash", "Record accepted objects in a file, to restore them after a crash"
)
STORE = Wording(
    "Keep encoded images on disk",
    "Keep encoded images in a folder, so that clicks are fast the next time",
)
STORE_FOLDER = Wording("Folder of encoded images …", "Choose the folder of encoded images")
STORE_DIALOG = "Folder of encoded images"


def color_of(name: str) -> str:
    """Return the title of the dialog for the colour of a class."""
    return f"Colour of {name}"


def class_key(number: int) -> str:
    """Return the key of a class, by its number from 1."""
    return f"Alt+{number}"


def class_tooltip(name: str, key: str) -> str:
    """Return the tooltip of the button of a class."""
    keyed = f"; {key} over a label changes its class" if key else ""
    return f"Label the next object as {name}{keyed}. Right-click to change or remove the class"


def stored_contrast(limits: Sequence[tuple[float, float]], channels: Sequence[str]) -> str:
    """Name a contrast by its limits (low, high) and its channels."""
    text = f"As stored: {', '.join(f'{low:g} to {high:g}' for low, high in limits)}"
    return f"{text} ({', '.join(name or NO_CHANNEL for name in channels)})" if channels else text
