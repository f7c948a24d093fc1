"""Save session and Open session, in the panel."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sam3.errors import Sam3Error

from .text import series as series_text

if TYPE_CHECKING:
    from .host import Host

__all__ = ["SessionMenu"]


class SessionMenu:
    """Writes the session on the image of a widget to a file, and opens such files.

    Parameters
    ----------
    widget : Host
        Has panel, viewer and binding.
    """

    def __init__(self, widget: Host) -> None:
        self._widget = widget
        panel = widget.panel.files
        panel.save_chosen.connect(lambda path: widget.guard(partial(self.save, path)))
        panel.open_chosen.connect(lambda path: widget.guard(partial(self.open, path)))

    def save(self, path: str) -> None:
        """Save the session, and replace the content of the file.

        Raises
        ------
        SessionFileError
            If the file cannot be written.
        sam3.errors.Sam3Error
            If no image is open.
        """
        from napari_sam3.layers.saved_sessions import save_session

        widget = self._widget
        if widget.binding is None:
            raise Sam3Error("there is no session to save. Expected an open image. Open one first.")
        save_session(widget.binding, path, widget.panel.classes.classes)
        widget.panel.show_status(series_text.session_saved(Path(path).name))

    def open(self, path: str) -> None:
        """Open a saved session, or replay a session file that a script wrote.

        Raises
        ------
        SessionFileError, LayerError
            If the file cannot be read, or its image is missing.
        """
        widget = self._widget
        if _holds_operations(path):
            if widget.binding is None:
                raise Sam3Error(
                    f"no image is open to replay the steps on: {Path(path).name!r}. Expected the "
                    "image of the steps. Open it, then the session."
                )
            widget.binding.replay(path)
            return
        from napari_sam3.layers.saved_sessions import open_saved, reopen

        saved, image, labels = open_saved(widget.viewer, path)
        if widget.set_image(image, labels) and widget.binding is not None:
            widget.options.add_classes(saved.classes)
            reopen(widget.binding, saved)
            widget.viewer.reset_view()
            widget.refresh()


def _holds_operations(path: str) -> bool:
    """Whether a file holds operations; damage is reported when it is read."""
    from napari_sam3.records.session_file import read_session

    try:
        read_session(path)
    except Sam3Error:
        return False
    return True
