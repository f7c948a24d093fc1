"""Status line, and messages that napari shows in the corner of its window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QAbstractButton, QApplication, QWidget

from napari_sam3.core.errors import MissedError, NothingThereError
from sam3.errors import PromptError

from .text.states import describe_error, describe_mask, describe_state, sentence
from .text.status import changed_everywhere

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding
    from napari_sam3.layers.pointed_label import WholeChange
    from napari_sam3.session.session import LabelingSession

    from .panel import Panel

__all__ = ["News", "Notices"]

MOST = 3
PRESSES = QEvent.Type.KeyPress, QEvent.Type.MouseButtonPress


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


class News(QObject):
    """The status line and the drafts: one state at a time, errors until the user does something.

    Parameters
    ----------
    panel : Panel
        Has the status line and the buttons.
    session : LabelingSession
        Its state is said, and its steps are what a user does.

    Attributes
    ----------
    notices : Notices
        Messages for errors that are more than a miss.
    """

    def __init__(self, panel: Panel, session: LabelingSession) -> None:
        super().__init__(panel)
        self._panel, self._session, self.notices = panel, session, Notices()
        for button in panel.findChildren(QAbstractButton):
            button.pressed.connect(self.act)
        session.prompts_changed.connect(self.act)
        session.labels_changed.connect(self.act)
        session.plane_changed.connect(self.act)

    def watch(self, canvas: QWidget | None) -> None:
        """Watch the user's actions in the canvas."""
        if canvas is not None:
            canvas.installEventFilter(self)

    def eventFilter(self, _canvas: Any, event: Any) -> bool:
        """Note presses of keys and mouse buttons."""
        if self._panel.holds_error and event.type() in PRESSES:
            self.act()
        return False

    def act(self, *_: object) -> None:
        """Allow errors to be replaced, since the user acted after they were shown."""
        self._panel.holds_error = False

    def show(self, binding: Binding | None) -> None:
        """Show the state and the next step, unless an error is to be read."""
        text, error = describe_state(binding, self._session)
        if error or not self._panel.holds_error:
            self._panel.show_status(text, error=error)

    def show_change(self, change: WholeChange) -> None:
        """Show a change of a label on all planes until the user acts, unless an error is shown."""
        if not self._panel.holds_error:
            self._panel.holds_error = True
            self._panel.show_status(changed_everywhere(change))

    def show_drafts(self, binding: Binding | None) -> None:
        """Show the current mask, and the possible commands on drafts."""
        panel, session = self._panel, self._session
        missing = binding.layers.missing if binding else ()
        listening = binding.listening if binding else None
        panel.show_way_back(restore=bool(missing), listening=listening)
        panel.object.setText(describe_mask(session, binding))
        drafts = session.draft_set.drafts if binding is not None else ()
        panel.buttons["accept"].setEnabled(any(draft.has_target for draft in drafts))
        panel.buttons["reject"].setEnabled(bool(drafts))
        for name in ("undo", "redo"):
            possible = binding is not None and session.has_step(
                binding.sync.owns, undone=name == "redo"
            )
            panel.buttons[name].setEnabled(possible)

    def tell(self, error: BaseException) -> None:
        """Show an error on the panel and, unless it is only a miss, in a notification."""
        held, self._panel.holds_error = self._panel.holds_error, True
        if isinstance(error, NothingThereError | MissedError):
            # A miss is said where it is looked for, without a message over the window.
            self._panel.show_status(sentence(error))
            return
        text = describe_error(error)
        if held and text == self._panel.status.text():
            return  # several pieces of work met the same cause
        self._panel.show_status(text, error=True)
        self.notices.show(text, warning=isinstance(error, PromptError))


def _on_view() -> list[Any]:
    """Return all notifications on view, also those of other plugins."""
    widgets: list[Any] = QApplication.allWidgets()
    return [one for one in widgets if type(one).__name__ == "NapariQtNotification"]
