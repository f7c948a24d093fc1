"""The choice of a model in the panel: weights files, and the download of the released ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_sam3.inference.models import EMBEDDED
from napari_sam3.inference.remote.address import RemoteAddress, is_remote
from napari_sam3.inference.remote.errors import RemoteError

from .controls import put_items
from .settings import Settings, write_setting
from .text import panel as panel_text
from .text.panel import EMBEDDED_MODEL, RELEASED_MODEL, REMOTE_MODEL, WEIGHTS_FILE
from .text.status import INSTEAD_OF_DOWNLOAD, downloading

if TYPE_CHECKING:
    from .download import DownloadJob
    from .panel import Panel

__all__ = ["BROWSE", "DOWNLOAD", "REMOTE", "ModelMenu", "model_choices", "remember"]

BROWSE, REMOTE, DOWNLOAD = "browse", "remote", "download"
KEPT = 8


class ModelMenu(QObject):
    """Entries of the model's combo box, and their commands.

    Parameters
    ----------
    panel : Panel
        Has the combo box, status and "Stop" button.
    parent : QWidget
        Parent of dialogs.
    settings : Settings
        Has the last model and the known files.

    Attributes
    ----------
    current : str
        The model in use; initially the last one, if it still exists.
    chosen : Signal
        (str) The user chose a model: a name, a path or the address of a server.
    failed : Signal
        (exception) A download went wrong.
    ended : Signal
        A download ended, well or not.
    job : DownloadJob or None
        The download that runs.
    options : dict
        For `sam3.weights.download.download_released_weights`, such as another server.
    """

    chosen = Signal(str)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, panel: Panel, parent: QWidget, settings: Settings) -> None:
        super().__init__(parent)
        self._panel, self._parent = panel, parent
        self._files = settings.weights_files
        self.current = settings.model if _is_known(settings.model) else EMBEDDED
        self.job: DownloadJob | None = None
        self.options: dict[str, Any] = {"instead": INSTEAD_OF_DOWNLOAD}
        panel.model.activated.connect(self._on_activated)
        panel.stop.clicked.connect(self._on_stop)
        self.show_model(self.current)

    def show_model(self, name: str | os.PathLike[str]) -> str:
        """Show a model as the one in use, and remember a file or server; returns its name."""
        self.current = os.fspath(name)
        if self.current != EMBEDDED and _is_known(self.current):
            if not is_remote(self.current):
                self.current = os.path.abspath(self.current)
            files = remember(self._files, self.current)
            if files != self._files:
                self._files = files
                write_setting("weights_files", files)
        put_items(self._panel.model, model_choices(self._files, self.current), self.current)
        for index in range(self._panel.model.count()):
            path = self._panel.model.itemData(index)
            self._panel.model.setItemData(index, path, Qt.ItemDataRole.ToolTipRole)
        return self.current

    def offer(self, path: str | os.PathLike[str]) -> None:
        """Add a weights file or an adapter to the menu, without choosing it."""
        self._files = remember(self._files, os.path.abspath(path))
        write_setting("weights_files", self._files)
        self.show_model(self.current)

    def close(self) -> None:
        """End a download."""
        if self.job is not None:
            self.job.stop()
            self.job = None

    def ask_consent(self) -> bool:
        """Explain the download, and ask for consent."""
        box = QMessageBox(self._parent)
        box.setWindowTitle(panel_text.CONSENT_DIALOG)
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(panel_text.CONSENT)
        yes = box.addButton(panel_text.CONSENT_GIVEN, QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        box.exec()
        return box.clickedButton() is yes

    def download(self) -> None:
        """Fetch the released weights, showing how far it is; then choose them."""
        if self.job is not None:
            return
        from .download import DownloadJob

        self.job = DownloadJob(self, **self.options)
        self.job.progressed.connect(self._on_progress)
        self.job.succeeded.connect(self._on_success)
        self.job.failed.connect(self._on_failure)
        self._panel.stop.show()
        self._on_progress(None, None)
        self.job.start()

    def _on_activated(self, index: int) -> None:
        chosen = self._panel.model.itemData(index)
        # Commands are not models: the model in use stays shown.
        self.show_model(self.current)
        if chosen == BROWSE:
            chosen, _ = QFileDialog.getOpenFileName(
                self._parent, panel_text.WEIGHTS_DIALOG, "", panel_text.WEIGHTS_FILTER
            )
        elif chosen == REMOTE:
            from .remote_dialog import RemoteDialog

            dialog = RemoteDialog(self._last_server(), self._parent)
            chosen = dialog.name if dialog.exec() else ""
            dialog.deleteLater()
        elif chosen == DOWNLOAD:
            if self.job is None and self.ask_consent():
                self.download()
            return
        if chosen:
            self.chosen.emit(chosen)

    def _last_server(self) -> str:
        return next((one for one in (self.current, *self._files) if is_remote(one)), "")

    def _on_progress(self, fraction: float | None, seconds_left: float | None) -> None:
        if self.job is not None:
            self._panel.show_progress(downloading(fraction), fraction, seconds_left)

    def _on_success(self, path: Path) -> None:
        self._end()
        self.chosen.emit(os.fspath(path))

    def _on_failure(self, error: BaseException) -> None:
        self._end()
        self.failed.emit(error)

    def _on_stop(self, _checked: bool = False) -> None:
        self.close()
        self._end()

    def _end(self) -> None:
        self.job = None
        self._panel.stop.hide()
        self._panel.show_busy(False)
        self.ended.emit()


def model_choices(files: Sequence[str], current: str) -> list[tuple[str, str]]:
    """Return the entries of the model menu as (text, name or path or command).

    Parameters
    ----------
    files : sequence of str
        Weights files and servers known from before; files that are gone are left out.
    current : str
        The model in use, which is offered in any case.
    """
    paths = [path for path in files if path == current or _is_known(path)]
    if current not in (EMBEDDED, *paths):
        paths.append(current)
    servers = [(_server_name(path), path) for path in paths if is_remote(path)]
    paths = [path for path in paths if not is_remote(path)]
    names = [Path(path).name for path in paths]
    named = [
        (name if names.count(name) == 1 else f"{name} ({Path(path).parent})", path)
        for name, path in zip(names, paths, strict=True)
    ]
    return [
        (EMBEDDED_MODEL, EMBEDDED),
        *named,
        *servers,
        (WEIGHTS_FILE, BROWSE),
        (REMOTE_MODEL, REMOTE),
        (RELEASED_MODEL, DOWNLOAD),
    ]


def _server_name(address: str) -> str:
    from .text.remote import remote_model

    return remote_model(RemoteAddress.parse(address).url)


def _is_known(name: str) -> bool:
    """Tell whether a model may be offered: a server may be there, files are looked for."""
    if not is_remote(name):
        return Path(name).is_file()
    try:
        RemoteAddress.parse(name)
    except RemoteError:
        return False
    return True


def remember(files: Sequence[str], path: str) -> tuple[str, ...]:
    """Return weights files with one more, the one used last in front; old ones are dropped."""
    return (path, *(one for one in files if one != path))[:KEPT]
