"""Texts of the panel at work: status, progress, results and questions. No Qt.

Whole sentences for translators; callers decide which one to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from napari_sam3.core.text import duration

from .panel import RESTORE_LAYERS, WEIGHTS_FILE

if TYPE_CHECKING:
    from napari_sam3.layers.pointed_label import WholeChange

# No __all__: every text is for others.

# --------------------------------------------------------------- what the session does

NO_IMAGE = "Open an image: File > Open, or File > Open Sample > SAM 3."
STAGES = {
    "loading model": "Loading the model …",
    "encoding": "Encoding the image … You can click already.",
    "predicting": "Predicting the mask …",
}
#: Of a stage in which a click waits.
WAITING = {
    "loading model": "Loading the model … The mask of your click follows.",
    "encoding": "Encoding the image … The mask of your click follows.",
}
BUSY = "Working …"
NO_PLANE = "Move the sliders to a plane of the image."
IN_3D = 'Masks are made in 2-D: press "Resume clicking".'
ELSEWHERE = 'Another layer or tool is selected: press "Resume clicking" to segment.'
PAINTING = "Paint with napari's brush, then press Esc to resume clicking."
READY = "Click an object, or drag a box around it."
NO_MASK = "No mask: click again, or clear (Esc)."
MASK_SHOWN = "Accept the mask (Enter), or click to refine it."


def merging(label: int, *, everywhere: bool = False) -> str:
    """Describe the next step of a merge on the plane, or on all planes."""
    if everywhere:
        return (
            f"Merging into {label} on all planes: point at the other label, on any plane, and "
            "press Ctrl+Shift+J (Esc cancels)."
        )
    return f"Merging into {label}: point at the other label and press J (Esc cancels)."


def changed_everywhere(change: WholeChange) -> str:
    """Describe a change of a label on all planes."""
    labels, where = change.labels, f"on {_planes(change.planes)}"
    if change.command == "merge":
        merged = f"{labels[1]} merged into {labels[0]} {where}."
        if not change.shared:
            return merged
        both = f"Both were on {_planes(change.shared)}"
        return f"{merged} {both}: if they are two objects, undo it (Ctrl+Z)."
    if change.command == "split":
        return f"From here on {labels[1]} is {labels[0]}, {where}."
    return f"{labels[0]} deleted {where}."


def dividing(label: int, daughters: Sequence[int] = ()) -> str:
    """Describe the next step of a division, whose parent may have daughters already."""
    if daughters:
        named = " and ".join(map(str, sorted(daughters)))
        return (
            f"{label} divides into {named}: point at another daughter and press Shift+D (Esc ends)."
        )
    return (
        f"Dividing {label}: point at a daughter on a later frame and press Shift+D (Esc cancels)."
    )


def deleted_image(name: str, *, kept: bool = False) -> str:
    """Say that the image was deleted, and with `kept` that its labels are still there."""
    if kept:
        return f"The image {name!r} was deleted. Choose another one; its labels are kept."
    return f"The image {name!r} was deleted. Choose another one."


def deleted_layers(names: Sequence[str]) -> str:
    """Say which layers were deleted, and the way out."""
    were, them = ("was", "it") if len(names) == 1 else ("were", "them")
    return (
        f"{', '.join(map(repr, names))} {were} deleted. "
        f'Press "{RESTORE_LAYERS.title}" to restore {them} with all objects and clicks.'
    )


def unexpected(error: BaseException) -> str:
    """Describe an unexpected error."""
    return f"Unexpected {type(error).__name__}: {error}"


def setting_not_used(name: str, plugin: str, reason: object) -> str:
    """Say that the value of a setting is invalid, and where to change it."""
    said = str(reason).rstrip(".")
    return f"Setting {name!r} of {plugin} ignored: {said}. See Preferences > SAM 3."


def not_a_key(text: str) -> str:
    """Give the reason why a text is not used as a key."""
    return f'not a key: {text!r}. Expected one such as "N" or "Control-Z". Choose one.'


def key_taken(text: str, command: str) -> str:
    """Give the reason why a key is not used that another command has."""
    return f"the key of {command!r} is taken: {text!r}. Expected a key of its own. Choose one."


def key_of_napari(text: str) -> str:
    """Give the reason why a key is not used that napari uses."""
    return (
        f"a key of napari: {text!r}. Expected one that napari does not use on points, boxes and "
        "labels. Choose another one."
    )


def setting_not_saved(error: BaseException) -> str:
    """Give the reason why a setting is not used that could not be written."""
    return f"it could not be saved: {error}"


# ------------------------------------------------------------------- masks and objects


def accepted_objects(count: int) -> str:
    """Count the objects accepted."""
    return f"{_objects(count)} accepted"


def current_mask(number: int, count: int, score: float, area: int, accepted: int) -> str:
    """Describe the current mask, the first candidate being 1, and count the objects accepted."""
    name = f"Mask {number} of {count}" if count > 1 else "Mask"
    grouped = f"{area:,}".replace(",", " ")
    return f"{name}, score {score:.2f}\n{grouped} px · {accepted} accepted"


def drafts(count: int, accepted: int) -> str:
    """Count the masks that are not accepted, two or more, and the objects accepted."""
    return f"{count} masks to accept\n{accepted_objects(accepted)}"


# ------------------------------------------------------------------ the download

#: The end of what is said when it fails.
INSTEAD_OF_DOWNLOAD = f'Or choose "{WEIGHTS_FILE}", or the embedded model.'


def downloading(fraction: float | None) -> str:
    """Say how far the download is, from 0 to 1, if that is known."""
    if fraction is None:
        return "Downloading the weights …"
    return f"Downloading the weights: {fraction:.0%}"


# ------------------------------------------------------------------------- batches

BATCH_BEGINS = "Starting …"
BATCH_STOPS = "Stopping …"
MOST_NAMED = 6


def batch_result(objects: int, planes: int, *, stopped: bool = False) -> str:
    """Describe the result of a batch; `stopped` if the user ended it."""
    found = f"{_objects(objects)} on {_planes(planes)}"
    if not stopped:
        return f"{found}."
    return f"Stopped after {found}. Undo removes them." if objects else f"Stopped after {found}."


def batch_candidates(candidates: int, planes: int, *, stopped: bool = False) -> str:
    """Describe the result of a batch that is reviewed first; `stopped` if the user ended it."""
    which = "1 candidate" if candidates == 1 else f"{candidates} candidates"
    found = f"{which} on {_planes(planes)}"
    return f"Stopped after {found}." if stopped else f"{found}."


def plane_progress(plane: int, planes: int, share: float, failed: int = 0) -> str:
    """Say which plane is being segmented, from 1, and which share of it is done, 0 to 1."""
    text = f"Plane {plane} of {planes}, {100 * share:.0f} %"
    return f"{text}, {failed} failed" if failed else text


def candidates(shown: int, kept: int) -> str:
    """Describe the commands on candidates, of which the filter may show none."""
    if not shown:
        return f"No candidate of {kept} has the minimum score: lower it."
    which = "candidate" if shown == 1 else "candidates"
    return f"{shown} {which}: accept all, or click one to drop it."


def pointed_candidate(score: float) -> str:
    """Give the score of the candidate under the mouse."""
    return f"Candidate, score {score:.2f}: click to drop it."


def failed_planes(indices: Sequence[Sequence[int]], reason: object) -> str:
    """Name the planes that failed by their places on the sliders, and the reason of the first."""
    names = [", ".join(map(str, index)) or "this one" for index in indices]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{_planes(len(names))} failed: {'; '.join(names[:MOST_NAMED])}{more} ({reason})"


def _objects(count: int) -> str:
    return "1 object" if count == 1 else f"{count} objects"


def _labels(labels: Sequence[int]) -> str:
    named = ", ".join(map(str, labels[:MOST_NAMED]))
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return f"label {named}" if len(labels) == 1 else f"labels {named}{more}"


def _planes(count: int) -> str:
    return "1 plane" if count == 1 else f"{count} planes"


# ------------------------------------------------------------------ memory and disks


def encoded_images(count: int, held: int, limit: int) -> str:
    """Count the encoded images in memory, and say how many bytes of the limit they take."""
    images = "1 encoded image" if count == 1 else f"{count} encoded images"
    return f"{images}, {held / 1e6:.0f} of {limit / 1e6:.0f} MB"


def stored_fields(count: int, nbytes: int, *, read_only: bool = False) -> str:
    """Count the encoded images on disk and their bytes."""
    text = f"{count} fields, {nbytes / 1e6:.0f} MB"
    return f"{text}, read only" if read_only else text


def crash_found(when: datetime, objects: int) -> str:
    """Say that a crash left changes behind, some of them accepted objects; `when` is local time."""
    date = when.strftime("%d %B, %H:%M")
    what = _objects(objects) if objects else "changes of labels"
    return f"napari ended unexpectedly on {date}: {what} of this image not saved."


def labels_restored(
    objects: int, partly: Sequence[int], left_out: Sequence[int], *, renumbered: bool
) -> str:
    """Describe the labels that a journal restored whole, in part, or not at all."""
    text = f"{_objects(objects)} restored"
    if renumbered:
        text += ", under free ids where theirs were in use"
    parts = []
    if left_out:
        parts.append(f"Not restored: {_labels(left_out)}")
    if partly:
        parts.append(f"Only in part: {_labels(partly)}")
    if not parts:
        return f"{text}."
    return (
        f"{text}. {'. '.join(parts)}: the present labels were kept. To restore everything, choose "
        "a new labels layer."
    )


# ------------------------------------------------------------------------- times


def time_left(seconds: float | None) -> str:
    """Say how long something will still take; "" if that is not known or under a second."""
    if seconds is None or seconds < 1:
        return ""
    return f"({duration(seconds)} left)"
