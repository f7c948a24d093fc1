"""Save the session of a viewer to a file, and reopen it in another viewer."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.core.errors import LayerError
from napari_sam3.core.operations import LabelWrite
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.images.scenes import open_scene
from napari_sam3.labels.formats.object_table import ObjectTable, plane_text
from napari_sam3.records.packed import PackedWrite
from napari_sam3.records.saved_session import (
    SavedSession,
    read_saved_session,
    write_saved_session,
)
from sam3.errors import ImageError

from .image_files import add_image, file_of
from .image_layers import images_in
from .journaling import identify_layer
from .layer_set import add_labels

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_sam3.core.classes import LabelClass
    from napari_sam3.images.identity import ImageIdentity
    from napari_sam3.labels.targets import LabelTarget

    from .binding import Binding

__all__ = [
    "Snapshot",
    "labels_of",
    "objects_table",
    "open_saved",
    "reopen",
    "save_session",
    "take_snapshot",
]

#: Maximum bytes of labels read from a file.
MOST_BYTES = 1 << 36


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Snapshot of the session on an image, to be written on any thread.

    Parameters
    ----------
    labels : ndarray of integers
        Copy of the labels.
    drafts : int
        Number of drafts.
    make : callable
        Called with the pixels of the labels, plane by plane; returns the `SavedSession`.
    """

    labels: npt.NDArray[Any]
    drafts: int
    make: Callable[[tuple[LabelWrite, ...]], SavedSession]

    def saved(self) -> SavedSession:
        """Return the session with compressed labels."""
        return self.make(tuple(PackedWrite.of(write) for write in _planes_of(self.labels)))


def take_snapshot(
    binding: Binding,
    classes: Sequence[LabelClass] = (),
    identity: ImageIdentity | None = None,
) -> Snapshot:
    """Copy the session on the image of a binding.

    Parameters
    ----------
    binding : Binding
        The session and its layers.
    classes : sequence of LabelClass
        The classes offered.
    identity : ImageIdentity, optional
        From `identify_layer`, if known.
    """
    session, options = binding.session, binding.session.options
    data = binding.sync.store.data
    labels = np.array(data[...] if not isinstance(data, np.ndarray) else data)
    state = session.reopening.state(binding.sync.owns, binding.labels.unique_id)
    path, scene = file_of(binding.image)
    image = identify_layer(binding.image) if identity is None else identity
    shown = binding.plane
    offered, mode = tuple(classes), options.mode
    category, policy = options.category, options.policy

    def make(writes: tuple[LabelWrite, ...]) -> SavedSession:
        return SavedSession(
            image=image,
            path=path,
            scene=scene,
            shape=tuple(int(n) for n in labels.shape),
            dtype=labels.dtype.name,
            labels=writes,
            objects=state.objects,
            present=state.present,
            links=state.links,
            drafts=state.drafts,
            steps=state.steps,
            start=state.start,
            classes=offered,
            category=category,
            mode=mode,
            policy=policy,
            shown=shown,
        )

    return Snapshot(labels, sum(len(plane.hand.drafts) for plane in state.drafts), make)


def save_session(
    binding: Binding, path: str | os.PathLike[str], classes: Sequence[LabelClass] = ()
) -> Path:
    """Write labels, objects, prompts, classes and the undo stack of an image to a file.

    Raises
    ------
    SessionFileError, RecordError
        If it cannot be written.
    """
    return write_saved_session(path, take_snapshot(binding, classes).saved())


def open_saved(
    viewer: ViewerModel, path: str | os.PathLike[str]
) -> tuple[SavedSession, Image, Labels]:
    """Read a saved session; add its labels, and its image unless that is in the viewer.

    Afterwards bind the layers, and restore the session with `reopen`.

    Raises
    ------
    SessionFileError
        If the file is not a saved session.
    LayerError
        If its image is neither in the viewer nor at its old path.
    """
    saved = read_saved_session(path)
    data = labels_of(saved)
    image = _find_image(viewer, saved) or _open_image(viewer, saved, Path(path))
    return saved, image, add_labels(viewer, image, data)


def reopen(
    binding: Binding, saved: SavedSession, *, exact: bool = True, options: bool = True
) -> None:
    """Restore a saved session, whose pixels are in the labels of the binding.

    Parameters
    ----------
    binding : Binding
        Binding on its image.
    saved : SavedSession
        The saved session.
    exact : bool
        Whether the labels are those that were saved; otherwise the undo stack is not restored.
    options : bool
        Whether to restore mode, policy and class.
    """
    session = binding.session

    def targets(key: Hashable) -> LabelTarget:
        if not isinstance(key, PlaneIndex) or key.ndim != binding.labels.ndim:
            raise LayerError(
                f"the session has a plane outside {binding.image.name!r}: {key}. Expected a plane "
                "of the image. Open the image that it was saved with."
            )
        return binding.labels_on(key)

    if options:
        session.mode, session.policy, session.category = saved.mode, saved.policy, saved.category
    session.reopening.reopen(saved, targets, steps=exact)
    session.end_batch()  # updates tables and colours
    if isinstance(saved.shown, PlaneIndex) and not binding.in_3d:
        binding.sync.plane.go_to(targets(saved.shown).key)
    binding.sync.prompts.show_all()
    binding.sync.renew_plane()
    binding.sync.show_masks()


def objects_table(saved: SavedSession) -> ObjectTable:
    """Return the table of the objects of a saved session."""
    rows = {}
    for at in saved.present:
        accepted = saved.objects[at]
        place = getattr(accepted.plane, "index", ())
        rows[accepted.id, plane_text(place)] = {
            "class": accepted.category,
            "score": round(accepted.score, 4),
            "time": accepted.time,
        }
    return ObjectTable(rows)


def _find_image(viewer: ViewerModel, saved: SavedSession) -> Image | None:
    for image in images_in(viewer):
        shape = tuple(int(n) for n in (image.data[0] if image.multiscale else image.data).shape)
        if shape == saved.image.shape and identify_layer(image) == saved.image:
            return image
    return None


def _open_image(viewer: ViewerModel, saved: SavedSession, file: Path) -> Image:
    """Open the image from its old path, or from the folder of the session."""
    where = [Path(saved.path), file.parent / Path(saved.path).name] if saved.path else []
    place = next((one for one in where if one.exists()), None)
    remedy = "Open that image in napari, then open the session again."
    if place is None:
        raise LayerError(
            f"the image of the session was not found: {saved.path or saved.image.name!r}. Expected "
            f"an image of shape {saved.image.shape} in the viewer. {remedy}"
        )
    try:
        found = open_scene(place, saved.scene)
    except ImageError as error:
        reason = str(error).rstrip(".")
        raise LayerError(
            f"the image of the session cannot be opened: {reason}. Expected an intact file. "
            f"{remedy}"
        ) from error
    name = saved.image.name or place.name
    layer = add_image(viewer, found, name=name, path=str(place), scene=saved.scene)
    if identify_layer(layer) != saved.image:
        viewer.layers.remove(layer)
        raise LayerError(
            f"{str(place)!r} changed since the session was saved. Expected the same pixels. "
            f"{remedy}"
        )
    return layer


def labels_of(saved: SavedSession) -> npt.NDArray[Any]:
    """Return the labels of a saved session; raises LayerError if they are inconsistent."""
    shape, dtype = saved.shape, np.dtype(saved.dtype)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > MOST_BYTES:
        raise LayerError(
            f"the labels of the session are too large: shape {shape}. Expected at most "
            f"{MOST_BYTES >> 30} GB. Choose another file."
        )
    labels = np.zeros(shape, dtype)
    for write in saved.labels:
        plane = write.plane
        if not isinstance(plane, PlaneIndex) or plane.ndim != len(shape):
            raise LayerError(
                f"the session has a plane outside its labels: {plane}. Expected one of shape "
                f"{shape}. Choose another file."
            )
        labels[plane.slices(*write.region)] = write.values
    return labels


def _planes_of(labels: npt.NDArray[Any]) -> Iterator[LabelWrite]:
    """Yield the labels of each plane that has any, cropped to the foreground."""
    axes = labels.ndim - 2, labels.ndim - 1
    for place in np.ndindex(labels.shape[:-2]):
        plane = labels[place]
        rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        if rows.size:
            region = (
                slice(int(rows[0]), int(rows[-1]) + 1),
                slice(int(columns[0]), int(columns[-1]) + 1),
            )
            yield LabelWrite(PlaneIndex(axes, place), region, plane[region])
