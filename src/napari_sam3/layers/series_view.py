"""The current image of a series in a viewer: show it with its labels, save and remove it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam3.labels.formats.object_table import ObjectTable
from napari_sam3.session.series_images import OpenedImage, identity_of

from .image_files import add_image, middle_plane
from .layer_set import add_labels
from .saved_sessions import Snapshot, reopen, take_snapshot
from .writers import layer_axes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_sam3.core.axes import ImageAxes
    from napari_sam3.core.classes import LabelClass
    from napari_sam3.images.contrast import ImageContrast
    from napari_sam3.session.series import ImageSeries

    from .binding import Binding

__all__ = ["ShownImage", "Work"]


@dataclass(frozen=True, eq=False)
class Work:
    """Snapshot of an image's labels, to be written on any thread.

    Parameters
    ----------
    opened : OpenedImage
        The image.
    snapshot : Snapshot
        Labels and session.
    axes : ImageAxes
        Axes of the labels.
    table : ObjectTable
        Table of the objects.
    """

    opened: OpenedImage
    snapshot: Snapshot
    axes: ImageAxes
    table: ObjectTable

    @property
    def objects(self) -> int:
        """Number of labels."""
        return int(np.count_nonzero(np.unique(self.snapshot.labels)))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to save: no label and no draft."""
        return not self.snapshot.drafts and not self.objects

    def write(self, series: ImageSeries, *, whole: bool) -> Path:
        """Write labels and session, and with `whole` the table; raises ExportError."""
        return series.write(
            self.opened.item,
            self.snapshot.labels,
            axes=self.axes,
            table=self.table if whole or self._in_labels(series) else None,
            session=self.snapshot.saved(),
        )

    def _in_labels(self, series: ImageSeries) -> bool:
        return series.labels_path(self.opened.item).name.endswith(".zarr")


class ShownImage:
    """Layers of an image of a series in a viewer.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer.
    opened : OpenedImage
        The image with its saved labels and session.
    contrast : ImageContrast, optional
        Contrast of the image, if known.

    Attributes
    ----------
    image, labels : Image, Labels
        Its layers.
    """

    def __init__(
        self, viewer: ViewerModel, opened: OpenedImage, contrast: ImageContrast | None = None
    ) -> None:
        self._viewer, self.opened = viewer, opened
        item = opened.item
        self.identity = identity_of(opened.image, item.key)
        self._stamp = _stamp(item.path)
        self.image: Image = add_image(
            viewer,
            opened.image,
            name=item.key,
            path=str(item.path),
            scene=item.scene,
            contrast=contrast,
        )
        labels = opened.labels
        # New ids may exceed the dtype of the file.
        if labels is not None and labels.dtype.kind in "ub" and labels.dtype.itemsize < 4:
            labels = labels.astype(np.uint32)
        self.labels: Labels = add_labels(viewer, self.image, labels)

    def is_bound(self, binding: Binding | None) -> bool:
        """Whether a binding uses these layers."""
        return (
            binding is not None
            and binding.image.unique_id == self.image.unique_id
            and binding.labels.unique_id == self.labels.unique_id
        )

    def show_saved(self, binding: Binding) -> None:
        """Restore the saved session and its plane; otherwise show the middle plane."""
        if self.opened.session is not None:
            reopen(binding, self.opened.session, exact=self.opened.exact, options=False)
        elif len(self.opened.image.shape) > 2 and not binding.in_3d:
            plane = binding.sync.plane.source.key(middle_plane(self.opened.image))
            binding.sync.plane.go_to(plane)

    def work(self, binding: Binding, classes: Sequence[LabelClass]) -> Work:
        """Return a snapshot to save."""
        snapshot = take_snapshot(binding, classes, self.identity)
        placed = {
            name: getattr(self.labels, name)
            for name in ("axis_labels", "units", "scale", "translate")
        }
        axes = layer_axes(placed, self.labels.ndim)
        return Work(self.opened, snapshot, axes, ObjectTable.from_features(self.labels.features))

    @property
    def changed_on_disk(self) -> bool:
        """Whether the file of the image changed since it was read."""
        return _stamp(self.opened.item.path) != self._stamp

    def remove(self, forget: Callable[..., Any]) -> None:
        """Remove the layers from the viewer, and their state with the function `forget`."""
        image, labels = self.image.unique_id, self.labels.unique_id

        def ours(key: Any, source: Any) -> bool:
            return bool(source == labels or getattr(key, "image", None) == image)

        for layer in (self.labels, self.image):
            if any(one.unique_id == layer.unique_id for one in self._viewer.layers):
                self._viewer.layers.remove(layer)
        forget(ours, labels)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
