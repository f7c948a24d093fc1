"""Labels layers of napari as targets to write objects to."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LabelError, LayerError, MisplacedError
from napari_sam3.core.planes import PlaneIndex, whole_lengths
from napari_sam3.labels.exact_arrays import check_exact
from napari_sam3.labels.largest_label import LargestLabel
from sam3.errors import ImageError

from .coordinates import displacement
from .label_arrays import StoredLabels, labels_of, levels_of, naming_storage_errors, redraw
from .label_levels import holds, write_levels

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

    from napari_sam3.core.masks import Region

__all__ = [
    "LabelStore",
    "LayerTarget",
    "check_labels",
    "image_shape",
    "moves",
    "place_on",
    "placement",
]

#: Maximum displacement in px between labels and image, to allow for rounded metadata.
LARGEST_SHIFT = 0.1
PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


def image_shape(image: Image) -> tuple[int, ...]:
    """Return the shape of an Image layer in px at its finest level, without RGB channels."""
    data = image.data[0] if image.multiscale else image.data
    shape = whole_lengths(data.shape, image.name)
    return shape[:-1] if image.rgb else shape


def placement(image: Image) -> dict[str, Any]:
    """Return the arguments that place a new layer exactly on an image."""
    return {name: getattr(image, name) for name in PLACEMENT}


def place_on(layer: Layer, image: Image) -> None:
    """Move a layer onto an image, if it has the same number of axes."""
    if layer.ndim != image.ndim:
        return
    for name, value in placement(image).items():
        if not np.array_equal(getattr(layer, name), value):
            setattr(layer, name, value)


def moves(layer: Layer) -> tuple[Any, ...]:
    """Return the events of a layer for changes of its placement."""
    return tuple(getattr(layer.events, name) for name in PLACEMENT if name != "axis_labels")


def check_labels(labels: Labels, image: Image) -> None:
    """Raise LayerError for a Labels layer that objects of an image cannot be written to.

    Raises
    ------
    LayerError
        With the remedy; `MisplacedError` if `place_on` would solve it.
    """
    make_new = 'Choose "new layer" instead.'
    levels = labels.data if labels.multiscale else (labels.data,)
    shape, wanted = tuple(levels[0].shape), image_shape(image)
    if shape != wanted:
        raise LayerError(
            f"{labels.name!r} does not fit the image {image.name!r}: shape {shape}. Expected "
            f"{wanted}. {make_new}"
        )
    for data in levels:
        _check_writable(data, labels.name, make_new)
    shift = displacement(labels, image)
    if shift > LARGEST_SHIFT:
        raise MisplacedError(
            f"{labels.name!r} is displaced from the image {image.name!r}: by up to {shift:.4g} "
            "px. Expected the same scale, translation and units. Choose it in the panel to align "
            'it, call bind(..., align=True), or choose "new layer" instead.'
        )


def _check_writable(data: Any, name: str, make_new: str) -> None:
    graph = getattr(data, "__dask_graph__", None)
    if graph is not None and graph() is not None:  # xarray has no graph around numpy
        raise LayerError(
            f"the data of {name!r} cannot be written to: dask array. Expected a numpy or zarr "
            "array. Set layer.data to data.compute() or to a zarr array."
        )
    flags = getattr(data, "flags", None)
    read_only = getattr(data, "read_only", False)  # of zarr
    if read_only or (flags is not None and not getattr(flags, "writeable", True)):
        raise LayerError(
            f"the data of {name!r} cannot be written to: read-only. Expected a writable array. "
            f"{make_new}"
        )
    try:
        np.iinfo(data.dtype)
        if isinstance(data, np.ndarray) or not math.prod(data.shape):
            return
        if type(data).__module__.startswith("zarr"):
            check_exact(data, repr(name))
            return  # checked above; reading a chunk may be slow
        first = (slice(0, 1),) * len(data.shape)
        data[first] = np.asarray(data[first])
    except ImageError as error:
        raise LayerError(f"{error} {make_new}") from error
    except Exception as error:  # error types of many libraries
        kind = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
        raise LayerError(
            f"the data of {name!r} cannot be written to: {kind} of {data.dtype} ({error}). "
            f"Expected a numpy or zarr array of integers. {make_new}"
        ) from error


class LabelStore:
    """A whole Labels layer, its largest id and its planes.

    Parameters
    ----------
    layer : Labels
        Layer validated by `check_labels`.
    alive : callable
        Returns whether the layer is still in the viewer.
    name_plane : callable
        Called with a plane; returns its key.
    on_stroke : callable, optional
        Called with each stroke painted by the user.
    hidden : callable, optional
        Called with a plane; returns whether the viewer shows another one, so that it need not be
        drawn.
    """

    def __init__(
        self,
        layer: Labels,
        alive: Callable[[], bool],
        name_plane: Callable[[PlaneIndex], Hashable],
        on_stroke: Callable[[list[Any]], None] | None = None,
        hidden: Callable[[PlaneIndex], bool] = lambda _plane: False,
    ) -> None:
        self.layer = layer
        self.alive = alive
        self.name_plane, self.hidden = name_plane, hidden
        self._on_stroke = on_stroke
        self._largest = LargestLabel()
        layer.events.paint.connect(self._note_paint)

    def close(self) -> None:
        """Stop listening to the layer."""
        self.layer.events.paint.disconnect(self._note_paint)

    @property
    def data(self) -> Any:
        """The labels, at the finest level; errors of their storage are LabelErrors."""
        return labels_of(self.layer)

    def maximum(self) -> int:
        """Return the largest id in the layer."""
        data = self.data
        stored = data.stored if isinstance(data, StoredLabels) else data
        with naming_storage_errors(stored, self.layer.name, "the largest label"):
            return self._largest.of(stored)

    def plane(self, plane: PlaneIndex) -> LayerTarget:
        """Return one plane as a target."""
        return LayerTarget(self, plane)

    def _note_paint(self, event: Any) -> None:
        if self._on_stroke is not None:
            self._on_stroke(list(event.value))

    def need_writable(self) -> None:
        """Raise LabelError if the layer was deleted or locked."""
        self.need_layer()
        # napari makes pyramids not editable, which does not mean that they are locked.
        if not (self.layer.editable or self.layer.multiscale):
            raise LabelError(
                f"the labels layer {self.layer.name!r} is locked: editable is False. Expected "
                "True. Set labels.editable to True, or choose another layer."
            )

    def need_layer(self) -> None:
        """Raise LabelError if the layer is no longer in the viewer."""
        if not self.alive():
            raise LabelError(
                f"the labels layer {self.layer.name!r} was deleted. Expected a layer in the "
                "viewer. Choose another one, or a new one."
            )


class LayerTarget:
    """One plane of a Labels layer; a `LabelTarget`.

    Parameters
    ----------
    store : LabelStore
        The layer.
    plane : PlaneIndex
        A plane of it.
    """

    def __init__(self, store: LabelStore, plane: PlaneIndex) -> None:
        self._store = store
        self._plane = plane

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the plane in px."""
        return self._plane.shape_of(self._store.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer dtype of the labels."""
        dtype: np.dtype[Any] = np.dtype(self._store.data.dtype)
        return dtype

    @property
    def source(self) -> Hashable:
        """Identity of the layer."""
        identity: Hashable = self._store.layer.unique_id
        return identity

    @property
    def key(self) -> Hashable:
        """Key of the plane."""
        return self._store.name_plane(self._plane)

    def maximum(self) -> int:
        """Return the largest id in the whole layer."""
        return self._store.maximum()

    def holds(self, label: int) -> bool:
        """Whether a label is anywhere in the layer."""
        return label <= self._store.maximum() and holds(self._store.data, label)

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return a copy of the labels in a region of the plane."""
        self._store.need_layer()
        return np.array(self._store.data[self._plane.slices(*region)])

    def write(self, region: Region, values: npt.NDArray[Any]) -> None:
        """Replace the labels in a region of the plane, and redraw the layer if it is on view.

        Raises
        ------
        LabelError
            If the layer is no longer in the viewer, or not editable.
        """
        self._store.need_writable()
        layer = self._store.layer
        write_levels(levels_of(layer), self._plane, region, values)
        if not self._store.hidden(self._plane):  # slicing takes longer than writing
            redraw(layer)
