"""The widget's part in crash safety: journals kept, and offered after a crash."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .notices import Notices
from .settings import read_settings
from .text.panel import FORGET_LOST, RESTORE_LOST
from .text.status import crash_found, labels_restored

if TYPE_CHECKING:
    from napari_sam3.layers.binding import Binding
    from napari_sam3.records.recovery import CrashedJournal
    from napari_sam3.session.restoring import RestoreResult

    from .panel import Panel
    from .workers import ThreadRunner

__all__ = ["Safety"]

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000


class Safety:
    """Journal of accepted objects, and the offer to restore it after a crash.

    Images are identified, and their journals found, on the worker thread.

    Parameters
    ----------
    panel : Panel
        Shows the questions.
    runner : ThreadRunner
        Worker thread.

    Attributes
    ----------
    folder : str, optional
        Folder of the journals; the user's cache folder if None.
    restores_unasked : callable
        Called with a binding; returns whether its journal is restored without a question.
    """

    folder: str | None = None

    def __init__(self, panel: Panel, runner: ThreadRunner) -> None:
        self._panel, self._runner, self._notices = panel, runner, Notices()
        self._binding: Binding | None = None
        self.restores_unasked: Callable[[Binding], bool] = lambda binding: False

    def watch(self, binding: Binding) -> None:
        """Begin a journal for a binding, unless the user does not want any."""
        from napari_sam3.layers.journaling import identify_layer
        from napari_sam3.records.recovery import find_journals

        self._binding = binding
        if not read_settings().journal:
            return
        binding.labels_restored.connect(self._show_result)
        image, folder = binding.image, self.folder

        def find() -> Any:
            identity = identify_layer(image)
            binding.journal.note_start()
            return identity, find_journals(folder, identity)

        self._runner.call(find, lambda found: self._begin(binding, found))

    def leave(self) -> None:
        """Have nothing more to do with the binding, which is about to be closed."""
        self._binding = None
        self._panel.offer.withdraw()
        self._panel.question.withdraw()

    def _begin(self, binding: Binding, found: Any) -> None:
        if binding is not self._binding:
            return
        if isinstance(found, Exception):
            logger.warning("no journal is kept of this image: %s", found)
            return
        identity, journals = found
        limit = read_settings().journal_limit_mb * MEGABYTE
        binding.keep_journal(identity, folder=self.folder, limit_bytes=limit)
        crashed = next((one for one in journals if not one.closed), None)
        if crashed is not None and self.restores_unasked(binding):
            self._restore(binding, crashed)
        elif crashed is not None:
            self._panel.offer.ask(
                crash_found(crashed.time.astimezone(), crashed.objects),
                (RESTORE_LOST, lambda: self._restore(binding, crashed)),
                (FORGET_LOST, lambda: self._forget(crashed)),
            )

    def _restore(self, binding: Binding, crashed: CrashedJournal) -> None:
        if binding is self._binding:
            binding.restore_labels(crashed.path)

    def _show_result(self, result: RestoreResult) -> None:
        text = labels_restored(
            result.objects, result.partly, result.left_out, renumbered=result.renumbered
        )
        incomplete = bool(result.partly or result.left_out)
        self._panel.show_status(text, error=incomplete)
        if incomplete:  # which the status line says only until there is other news
            self._notices.show(text, warning=True)

    def _forget(self, crashed: CrashedJournal) -> None:
        from napari_sam3.records.recovery import discard_journal

        discard_journal(crashed.path)
