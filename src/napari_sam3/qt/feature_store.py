"""The widget's embedding store: opened on request, with the rendering of its fields offered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog

from .settings import Settings, read_settings, watch, write_setting
from .text.panel import STORE_DIALOG, stored_contrast
from .text.status import stored_fields

if TYPE_CHECKING:
    from napari_sam3.core.rendering import Rendering
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.store.store import EmbeddingStore, StoreInfo

    from .controls import Items
    from .panel import Panel
    from .workers import ThreadRunner

__all__ = ["Storing", "rendering_items"]

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000
MOST_RENDERINGS = 5


class Storing:
    """Puts a store behind the memory of a session, while the user wants one.

    Folders are opened and looked through on the worker's thread.

    Parameters
    ----------
    panel : Panel
        Has the switch, the choice of a folder, and a line with the size of the store.
    cache : EmbeddingCache
        Cache that uses the store.
    runner : ThreadRunner
        Works.
    failed : callable
        Called with errors.
    """

    def __init__(
        self,
        panel: Panel,
        cache: EmbeddingCache,
        runner: ThreadRunner,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._advanced, self._cache, self._runner, self._failed = (
            panel.advanced, cache, runner, failed,
        )  # fmt: skip
        self._wanted: tuple[Path, int] | None = None
        self._info: StoreInfo | None = None
        self._advanced.store.toggled.connect(self._on_store)
        self._advanced.store_folder.clicked.connect(self._on_folder)
        # The size of the store is only determined while the line is visible.
        self._advanced.toggled.connect(self._on_toggled)
        self._stop_watching = watch(self._follow)
        self._follow()

    def close(self) -> None:
        """Release the store; its features stay on disk."""
        self._stop_watching()
        self._wanted = None
        self._leave()

    def show(self) -> None:
        """Show the number and size of the stored fields."""
        store = self._cache.store
        text = folder = ""
        if store is not None and self._info is not None:
            info = self._info
            text = stored_fields(info.fields, info.nbytes, read_only=store.read_only)
            # A path has no blanks to be broken at, and would widen the panel.
            folder = str(store.path)
        self._advanced.show_store(self._wanted is not None, text, folder)

    def refresh(self) -> None:
        """Look through the store again."""
        store = self._cache.store
        if store is not None:
            self._runner.call(store.info, lambda info: self._on_info(store, info))

    # ------------------------------------------------------------------ inside

    def _on_toggled(self, unfolded: bool) -> None:
        if unfolded:
            self.refresh()

    def _on_store(self, used: bool) -> None:
        write_setting("store", used)
        self._follow()

    def _on_folder(self, _checked: bool = False) -> None:
        folder = QFileDialog.getExistingDirectory(
            self._advanced, STORE_DIALOG, str(_folder(read_settings()))
        )
        if folder:
            write_setting("store_folder", folder)
            write_setting("store", True)
            self._follow()

    def _follow(self) -> None:
        """Do as the settings say."""
        settings = read_settings()
        limit = settings.store_limit_mb * MEGABYTE
        wanted = (_folder(settings), limit) if settings.store else None
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._leave()
        if wanted is not None:
            self._runner.call(lambda: _open(*wanted), lambda found: self._on_opened(wanted, found))
        self.show()

    def _leave(self) -> None:
        self._cache.store = self._info = None

    def _on_opened(self, wanted: tuple[Path, int], found: Any) -> None:
        if isinstance(found, BaseException):
            if wanted == self._wanted:
                self._wanted = None
                self.show()
                self._failed(found)
            return
        store, info = found
        if wanted != self._wanted:
            return
        self._cache.store = store
        self._on_info(store, info)

    def _on_info(self, store: EmbeddingStore, info: Any) -> None:
        if store is not self._cache.store or isinstance(info, BaseException):
            return
        self._info = info
        self._advanced.offer_stored(rendering_items(info.renderings))
        self.show()


def rendering_items(renderings: dict[Rendering, int]) -> Items:
    """Return (text, rendering) of the commonest renderings of a store."""
    known = [one for one in renderings if one.limits]
    ranked = sorted(known, key=lambda one: -renderings[one])[:MOST_RENDERINGS]
    return [(stored_contrast(one.limits, one.channels), one) for one in ranked]


def _folder(settings: Settings) -> Path:
    from napari_sam3.inference.store.store import default_store_folder

    return Path(settings.store_folder) if settings.store_folder else default_store_folder()


def _open(folder: Path, limit_bytes: int) -> tuple[EmbeddingStore, StoreInfo]:
    from napari_sam3.inference.store import is_store
    from napari_sam3.inference.store.store import EmbeddingStore, default_store_folder

    # A store that was filled on purpose keeps the limit that it was made with.
    chosen = folder != default_store_folder() and is_store(folder)
    store = EmbeddingStore(folder, limit_bytes=None if chosen else limit_bytes)
    return store, store.info()
