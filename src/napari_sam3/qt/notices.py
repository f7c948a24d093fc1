"""Messages that napari shows in the corner of its window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QApplication

from napari_sam3.core.errors import MissedError, NothingThereError
from sam3.errors import PromptError

from .text.states import describe_error, sentence

if TYPE_CHECKING:
    from .panel import Panel

__all__ = ["Notices", "tell_error"]

MOST = 3


class Notices:
    """Show messages, the newest few of them, and none twice.

    napari takes a message away after some seconds, but never in a window that is not the active
    one: there they pile up, and each makes every drawing of the window slower.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []

    def show(self, text: str, *, warning: bool) -> None:
        """Show a message as a warning or an error, in place of the same one and of old ones."""
        kept = [one for one in self._texts if one != text][-(MOST - 1) :]
        focus = QApplication.focusWidget()
        for notice in _on_view():
            shown = notice.message.text()
            if shown in self._texts and shown not in kept:
                notice.close()  # which gives the focus to the canvas
        if focus is not None:
            focus.setFocus()
        self._texts = [*kept, text]
        (show_warning if warning else show_error)(text)


def tell_error(panel: Panel, notices: Notices, error: BaseException) -> None:
    """Say what went wrong on the panel, and in a message unless it is only a miss."""
    if isinstance(error, NothingThereError | MissedError):
        # A miss is said where it is looked for, without a message over the window.
        panel.show_status(sentence(error))
        return
    text = describe_error(error)
    panel.show_status(text, error=True)
    notices.show(text, warning=isinstance(error, PromptError))


def _on_view() -> list[Any]:
    """Return the messages that are on view, of whomever."""
    widgets: list[Any] = QApplication.allWidgets()
    return [one for one in widgets if type(one).__name__ == "NapariQtNotification"]
