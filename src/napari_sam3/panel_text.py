"""What stands on the panel: titles, tooltips and the instructions. Plain texts, no Qt."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BATCH_METHODS", "BUTTONS", "MODES", "NEW_LABELS"]
__all__ += ["describe_keys", "how_to", "time_left"]

NEW_LABELS = "new"
BUTTONS = {
    "accept": ("Accept", "Write the mask into the labels and start the next object"),
    "reject": ("Clear", "Drop the clicks, the box and the mask in hand"),
    "undo": ("Undo", "Take the last step back: a click, a box or an accepted object"),
    "redo": ("Redo", "Do again what was undone"),
}
MODES = {
    "one": ("One ob&ject", "Clicks show one object; accept it, then show the next"),
    "many": ("Man&y objects", "Every left click shows an object of its own"),
}
#: Ways to ask for objects on many planes: a text, a name, and what it does.
BATCH_METHODS = (
    ("Prompts on each plane", "placed", "The clicks and boxes that stand on each plane"),
    ("These prompts on every plane", "repeated", "The clicks and boxes of the plane shown"),
    (
        "Follow objects from plane to plane",
        "carried",
        "Each object from the planes with its prompts outward, by its mask on the plane before",
    ),
    ("Everything there is", "automatic", "All objects, without any prompt"),
)
# Commands on the label under the mouse, mentioned where they have keys.
ON_OBJECTS = {
    "refine": "takes it up again",
    "delete": "deletes it",
    "merge": "merges it with the next one you press it on",
    "split": "splits it",
}
GESTURES = (
    "<b>Left click</b> on an object · <b>right click</b> on what is not part of it · "
    "<b>drag</b> a box around it. <b>Shift+click</b> accepts and starts the next one."
)
MINUTE = 90


def describe_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Name keys as they stand on keyboards: "Control-Z" becomes "Ctrl+Z"; leave out empty ones."""
    return {
        name: key.replace("Control", "Ctrl").replace("-", "+") for name, key in keys.items() if key
    }


def how_to(shown: Mapping[str, str]) -> str:
    """Return the instructions (rich text), given the keys as `describe_keys` names them."""
    hints = [f"<b>{shown[name]}</b> {does}" for name, does in ON_OBJECTS.items() if name in shown]
    texts = [GESTURES]
    if hints:
        texts.append(f"With the mouse on an accepted label: {', '.join(hints)}.")
    if "background" in shown:
        texts.append(f"<b>{shown['background']}</b> turns the last click into background, or back.")
    return "<br>".join(texts)


def time_left(seconds: float | None) -> str:
    """Say how long something will still take; "" if that is not known or under a second."""
    if seconds is None or seconds < 1:
        return ""
    if seconds < MINUTE:
        return f"({seconds:.0f} s left)"
    return f"({seconds / 60:.0f} min left)"
