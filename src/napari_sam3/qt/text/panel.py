"""What stands on the panel and in its dialogs: titles, tooltips, names and choices. No Qt.

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
        Stands on the control or beside it; "" if nothing does.
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
#: Beyond every level that an image can have; the model then looks at all of it.
WHOLE_IMAGE = 99

# ------------------------------------------------------------- image, model, labels

IMAGE = Wording("&Image", "Image to segment; the plane that is shown is what the model sees")
MODEL = Wording("&Model", "Model that makes the masks: the embedded one, or a weights file")
LABELS = Wording("La&bels", "Labels layer that accepted objects are written to")
LABELS_CHOICES = (("New layer", NEW_LABELS),)
MODES = {
    "one": Wording("One ob&ject", "Clicks show one object; accept it, then show the next"),
    "many": Wording("Man&y objects", "Every left click shows an object of its own"),
}

# ----------------------------------------------------------- the choice of a model

EMBEDDED_MODEL = "Embedded (tiny)"
WEIGHTS_FILE = "Weights file …"
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
STOP_DOWNLOAD = Wording("&Stop", "End the download; what is there already is kept")

# -------------------------------------------------- status, mask and the object in hand

STATUS_NAME = "Status"
PROGRESS_NAME = "Progress"
STOP_WORK = Wording("Stop", "Stop working on the mask; clicks and boxes stay")
RESTORE_LAYERS = Wording(
    "Restore layers", "Bring back the deleted layers, with their objects and clicks"
)
GO_ON = Wording("Go on clicking", "Select the points layer, so that clicks are prompts again")
NEXT_MASK = Wording("Next mas&k", "Take the next of the masks that the model offers")
BUTTONS = {
    "accept": Wording("Accept", "Write the mask into the labels and start the next object"),
    "reject": Wording("Clear", "Drop the clicks, the box and the mask in hand"),
    "undo": Wording("Undo", "Take the last step back: a click, a box or an accepted object"),
    "redo": Wording("Redo", "Do again what was undone"),
}
# Answers to what is offered; others are put in the place of these two when it is asked.
YES = Wording("&Yes", "Do what is offered")
NO = Wording("N&o", "Leave it, and do not ask again")
RESTORE_LOST, FORGET_LOST = "Restore", "Forget them"
ALIGN_LABELS, LEAVE_LABELS = "Align", "Cancel"

# ------------------------------------------------------------------ the instructions

# Commands on the label under the mouse, mentioned where they have keys.
ON_OBJECTS = {
    "refine": "reopens it",
    "delete": "deletes it",
    "merge": "merges it with the next one you press it on",
    "split": "splits it",
    "divide": "links it to its daughter",
}
GESTURES = (
    "<b>Left click</b> on an object · <b>right click</b> on what is not part of it · "
    "<b>drag</b> a box around it. <b>Shift+click</b> accepts and starts the next one."
)


def describe_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Name keys as they stand on keyboards: "Control-Z" becomes "Ctrl+Z"; leave out empty ones."""
    return {
        name: key.replace("Control", "Ctrl").replace("-", "+") for name, key in keys.items() if key
    }


def title_with_key(title: str, key: str | None) -> str:
    """Name the key beside a title, in the place of the letter that reaches it with Alt."""
    return f"{title.replace('&', '')}  ({key})" if key else title


def tooltip_with_key(tooltip: str, key: str | None) -> str:
    """Say in a tooltip where the key works."""
    return f"{tooltip} ({key} with the points or boxes layer selected)" if key else tooltip


def how_to(shown: Mapping[str, str]) -> str:
    """Return the instructions (rich text), given the keys as `describe_keys` names them."""
    hints = [f"<b>{shown[name]}</b> {does}" for name, does in ON_OBJECTS.items() if name in shown]
    texts = [GESTURES]
    if hints:
        texts.append(f"With the mouse on an accepted label: {', '.join(hints)}.")
    if "background" in shown:
        texts.append(f"<b>{shown['background']}</b> turns the last click into background, or back.")
    return "<br>".join(texts)


# ------------------------------------------------------------------ the fold of batches

BATCH = Wording("Batch", "The same question for many planes, or everything on a large one")
BATCH_METHOD = Wording("Fin&d", "What is asked on each plane")
#: Ways to ask for objects on many planes: a text, a name, and what it does.
BATCH_METHODS = (
    ("Prompts on each plane", "placed", "The clicks and boxes that stand on each plane"),
    ("These prompts on every plane", "repeated", "The clicks and boxes of the plane shown"),
    (
        "Propagate objects",
        "propagate",
        "Each object from the planes with its prompts to where it ends",
    ),
    ("Everything there is", "automatic", "All objects, without any prompt"),
)
BATCH_AXIS = Wording("Alon&g", "Axis along which planes are gone through, or this plane alone")
THIS_PLANE_ONLY = ("This plane only", None)
BATCH_PLANES = "Planes"
FIRST_PLANE, LAST_PLANE = "First plane", "Last plane"
BATCH_OUTPUT = Wording(
    "OME-&Zarr",
    "An OME-Zarr of labels to write besides the Labels layer: the same batch, asked again, "
    "goes on from what is there",
    "OME-Zarr",
)
NO_OUTPUT = "none"
BATCH_BROWSE = Wording("File …", "Choose the OME-Zarr of labels to write besides the Labels layer")
BATCH_DIALOG = "OME-Zarr of labels"
BATCH_FILTER = "OME-Zarr (*.zarr)"
BEGIN_ANEW = Wording("Begin anew", "Replace what stands in the OME-Zarr, whatever was asked for it")
BATCH_LIMITS = "At least"
MIN_SCORE = Wording(
    "", "Masks that the model itself scores lower do not count, 0 to 1", "Least score"
)
MIN_AREA = Wording("", "Smaller objects do not count, in px", "Least area")
IN_PIXELS = " px"
BATCH_RUN = Wording(
    "R&un",
    "Ask for all these planes; what is found goes into the Labels layer, as one step that can be "
    "undone",
)
BATCH_STOP = Wording("Stop batch", "End the batch; what is done is kept, and undo takes it back")
BATCH_PROGRESS_NAME = "Progress of the batch"


def axis_name(axis: int) -> str:
    """Name an axis that has no name."""
    return f"Axis {axis}"


def axis_choice(name: str, planes: int) -> str:
    """Name an axis and the planes, two or more, that lie along it."""
    return f"{name} ({planes} planes)"


# ------------------------------------------------------------ the fold of advanced controls

ADVANCED = Wording(
    "Advanced", "Layers for prompts, overlaps, resolution, contrast, device and more"
)
CLASS = Wording(
    "Cl&ass", "Class of the next object. Type a name and press Enter to add a class", "Class"
)
CLASS_COLOR = Wording("", "Colour of this class", "Colour of the class")
POINTS = Wording("Poi&nts", "Points layer whose points are clicks")
BOXES = Wording("Bo&xes", "Shapes layer whose rectangles are boxes")
PROMPTS_CHOICES = (("Own layer", OWN_LAYER),)
#: Combo boxes: a title, a tooltip, and the choices as (text, value).
CHOICES: dict[str, tuple[str, str, Sequence[tuple[str, Any]]]] = {
    "policy": (
        "&Overlaps",
        "What happens where a new object meets accepted ones",
        (
            ("Keep accepted pixels", "keep"),
            ("Overwrite them", "overwrite"),
            ("Only inside the drawn box", "inside"),
        ),
    ),
    "level": (
        "&Resolution",
        "How much of the image the model looks at in one go: finer for small objects",
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
        "What the model sees as black and white",
        (
            ("One for the image", "image"),
            ("Each plane its own", "plane"),
            ("Limits of the layer", "layer"),
        ),
    ),
    "device": (
        "D&evice",
        "Where the model runs; another device loads the model again",
        (("Automatic", "auto"), ("CPU", "cpu"), ("CUDA", "cuda"), ("MPS", "mps")),
    ),
}
CHANNELS = {
    "red": Wording("Red", "Channel seen as red; one channel alone is seen as grey"),
    "green": Wording("Green", "Channel seen as green; one channel alone is seen as grey"),
    "blue": Wording("Blue", "Channel seen as blue; one channel alone is seen as grey"),
}
NO_CHANNEL = "none"
MEMORY = "Memory"
SEEN = Wording("Seen", "The plane as the model sees it")
CLASS_COLORS = Wording("Colour labels by class", "Show each label in the colour of its class")
FIELD_OUTLINE = Wording(
    "Outline what the model looks at",
    "Draw the part of the image that the model looked at for the mask in hand",
)
JOURNAL = Wording(
    "Restore after a &crash", "Note every accepted object in a file, to restore it after a crash"
)
STORE = Wording(
    "Keep encoded images on disk",
    "Keep what the model has looked at in a folder, so that clicks there are answered at once the "
    "next time; encoding ahead (napari-sam3 precompute) fills such a folder too",
)
STORE_FOLDER = Wording(
    "Folder of encoded images …", "Choose the folder of encoded images, and use it"
)
STORE_DIALOG = "Folder of encoded images"


def color_of(name: str) -> str:
    """Return the title of the dialog for the colour of a class."""
    return f"Colour of {name}"


def stored_contrast(limits: Sequence[tuple[float, float]], channels: Sequence[str]) -> str:
    """Name a contrast by its (low, high) seen as black and white, and by its channels."""
    text = f"As stored: {', '.join(f'{low:g} to {high:g}' for low, high in limits)}"
    return f"{text} ({', '.join(name or NO_CHANNEL for name in channels)})" if channels else text
