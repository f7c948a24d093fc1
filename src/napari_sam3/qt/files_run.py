"""Saving and opening labels from the first view of the panel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from .text import files as text

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from napari_sam3.layers.binding import Binding

    from .panel import Panel
    from .save_dialog import SaveDialog
    from .workers import ThreadRunner

__all__ = ["FilesRun"]


class FilesRun:
    """Saves the labels in use, and opens others on the image in use.

    Parameters
    ----------
    panel : Panel
        Has the buttons and the status line.
    binding : callable
        Returns the session's connection to an image, or None.
    runner : ThreadRunner
        Thread that reads and writes.
    failed : callable
        Called with errors.
    viewer : napari.viewer.Viewer
        Has the layers.
    use : callable
        Called with an image and labels to be worked on.

    Attributes
    ----------
    dialog : SaveDialog or None
        The dialog that is open.
    """

    def __init__(
        self,
        panel: Panel,
        binding: Callable[[], Binding | None],
        runner: ThreadRunner,
        failed: Callable[[BaseException], None],
        viewer: Any,
        use: Callable[[Image, Labels], Any],
    ) -> None:
        self._panel, self._viewer, self._binding = panel, viewer, binding
        self._runner, self._failed, self._use = runner, failed, use
        self.dialog: SaveDialog | None = None
        panel.files.save.clicked.connect(lambda _checked=False: self.ask())
        panel.files.labels_wanted.connect(self._on_open)
        QTimer.singleShot(0, _prefer_own_writers)

    def ask(self) -> None:
        """Open the dialog, with the labels in use first, even if others are selected."""
        layers = self._layers()
        if not layers:
            self._panel.show_status(text.NO_LABELS)
            return
        from .save_dialog import SaveDialog

        folder, stem = self._place()
        dialog = self.dialog = SaveDialog(layers, folder, stem, self._panel.window())
        dialog.accepted.connect(self._on_accepted)
        dialog.finished.connect(self._on_finished)
        dialog.open()

    def open_file(self, path: str | Path) -> None:
        """Open labels on the image in use, and work on in them."""
        binding = self._binding()
        image = None if binding is None else binding.image
        from napari_sam3.layers.opened_labels import layer_data

        self._runner.call(
            partial(layer_data, path, image),
            partial(self._on_opened, image, Path(path).name),
        )

    def close(self) -> None:
        """Close the dialog."""
        if self.dialog is not None:
            self.dialog.reject()

    def _on_accepted(self) -> None:
        dialog = self.dialog
        if dialog is None:
            return
        layer, path, name = dialog.chosen
        from napari_sam3.layers.writers import save_labels

        image_name = self._image_name(name)
        self._panel.show_status(text.saving(path.name))
        frozen = _frozen(layer)
        work = partial(save_labels, frozen, path, name, overwrite=True, **image_name)
        self._runner.call(work, self._on_saved)

    def _on_finished(self, _result: int) -> None:
        dialog, self.dialog = self.dialog, None
        if dialog is not None:
            dialog.deleteLater()

    def _on_saved(self, found: Any) -> None:
        if not self._went_wrong(found):
            self._panel.show_status(text.saved(str(found)))

    def _on_open(self) -> None:
        folder, _ = self._place()
        chosen, _ = QFileDialog.getOpenFileName(
            self._panel.window(), text.OPEN_TITLE, str(folder), text.LABEL_FILES
        )
        if chosen:
            self.open_file(chosen)

    def _on_opened(self, image: Image | None, name: str, found: Any) -> None:
        if self._went_wrong(found):
            return
        data, about, _ = found
        layer = self._viewer.add_labels(data, **about)
        there = {one.unique_id for one in self._viewer.layers}
        if image is not None and image.unique_id in there:
            self._use(image, layer)
        count = len(np.unique(data)) - bool((data == 0).any())
        self._panel.show_status(text.opened(count, name))

    def _went_wrong(self, found: Any) -> bool:
        if isinstance(found, BaseException):
            self._failed(found)
            return True
        return False

    def _layers(self) -> list[Labels]:
        """Return the layers that can be saved, those in use first, without the plugin's own."""
        from napari.layers import Labels

        binding = self._binding()
        used = None if binding is None else binding.labels
        hidden = {one.unique_id for one in self._own()}
        layers = [
            one for one in reversed(self._viewer.layers)
            if isinstance(one, Labels) and one.unique_id not in hidden
        ]  # fmt: skip
        return sorted(layers, key=lambda one: used is None or one.unique_id != used.unique_id)

    def _own(self) -> list[Any]:
        binding = self._binding()
        return [] if binding is None else [binding.layers.preview]

    def _place(self) -> tuple[Path, str]:
        """Return the folder of the image, and its name, for new files."""
        binding = self._binding()
        source = None if binding is None else binding.image.source.path
        name = Path(source).name if source else (binding.image.name if binding else "labels")
        folder = Path(source).parent if source else Path.cwd()
        stem = name.split(".")[0].strip() or "labels"
        return folder, stem

    def _image_name(self, name: str) -> dict[str, str]:
        from napari_sam3.labels.formats.choice import ALL_FORMATS

        binding = self._binding()
        if binding is None or "image_name" not in ALL_FORMATS[name].options:
            return {}
        return {"image_name": Path(binding.image.source.path or binding.image.name).name}


def _frozen(layer: Labels) -> Labels:
    """Return a snapshot of the layer, so that later edits are not written in part."""
    from napari.layers import Labels

    data, about, _ = layer.as_layer_data_tuple()
    about["features"] = about["features"].copy()
    if isinstance(data, np.ndarray):
        data = data.copy()
    return Labels(data, **about)


def _prefer_own_writers() -> None:
    from napari_sam3.layers.writers import prefer_own_writers

    prefer_own_writers()
