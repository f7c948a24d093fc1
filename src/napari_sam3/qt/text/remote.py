"""Texts of the dialog for remote models. No Qt."""

from __future__ import annotations

from .panel import Wording

# No __all__: every text is for others.

TITLE = "Remote model"
ABOUT = (
    "Runs the model on another computer, such as one with a GPU. Start "
    "<code>napari-sam3 serve</code> there, and copy the key that it writes to this computer."
)
ADDRESS = Wording(
    "&Address", "Address that napari-sam3 serve prints, with the name of its computer"
)
EXAMPLE = "tls://gpu.lab:8786"
KEY = Wording(
    "&Key", "File that napari-sam3 serve wrote; keep it readable by you alone", "Key file"
)
BROWSE = Wording("&Browse …", "Choose the file of the key")
KEY_DIALOG = "Key of the server"
KEY_FILTER = "Keys (*.key);;All files (*)"
CONNECT = Wording("&Connect", "Use the model of that computer")


def remote_model(url: str) -> str:
    """Name a remote model in the menu."""
    return f"Remote: {url.removeprefix('tls://')}"
