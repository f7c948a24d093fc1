"""Read an image of a series with its saved labels and session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam3.images.reading import reading_remedy
from napari_sam3.images.scenes import open_scene
from napari_sam3.records.saved_session import SavedSession, read_saved_session
from sam3.errors import ImageError, Sam3Error

if TYPE_CHECKING:
    from napari_sam3.images.identity import ImageIdentity
    from napari_sam3.images.lazy import LazyImage
    from napari_sam3.images.listing import SeriesItem
    from napari_sam3.labels.beside_images import LabelFiles

__all__ = ["OpenedImage", "identity_of", "read_opened"]

#: Images up to this size are read into memory, so that later changes of the file do not matter.
WHOLE_BYTES = 2 * 10**9


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image of a series with its saved labels and session.

    Parameters
    ----------
    item : SeriesItem
        Entry of the series.
    image : LazyImage
        The image, in memory unless it is large.
    labels : ndarray of integers or None
        Of the image's shape; None if there are none yet.
    session : SavedSession or None
        Prompts, objects and undo stack.
    exact : bool
        Whether the labels are those of the session.
    notes : tuple of str
        Warnings about the files.
    """

    item: SeriesItem
    image: LazyImage
    labels: npt.NDArray[Any] | None = field(repr=False)
    session: SavedSession | None = field(default=None, repr=False)
    exact: bool = False
    notes: tuple[str, ...] = ()


def read_opened(item: SeriesItem, files: LabelFiles, labels: Path, session: Path) -> OpenedImage:
    """Read an image with its saved labels and session.

    Parameters
    ----------
    item : SeriesItem
        Entry of the series.
    files : LabelFiles
        Reads the labels.
    labels, session : Path
        Files of the labels and the session; they need not exist.

    Raises
    ------
    sam3.errors.ImageError
        If the image cannot be read.
    """
    try:
        image = _in_memory(open_scene(item.path, item.scene))
    except ImageError:
        raise
    except Exception as error:  # the readers of many formats raise as many kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(
            f"{item.key!r} cannot be read: {reason}. Expected a complete image. "
            f"{reading_remedy(error)}"
        ) from error
    notes: list[str] = []
    try:
        found = files.read(labels, image.shape)
    except ImageError as error:
        notes.append(str(error))
        found = None
    saved = None if found is None else _saved_session(session, notes)
    if found is None or saved is None:
        return OpenedImage(item, image, found, notes=tuple(notes))
    if saved.image != identity_of(image, item.stem):
        notes.append(
            f"the image {item.key!r} changed since it was labelled. Expected the same pixels. "
            "Check whether its labels still fit."
        )
    exact = saved.shape == found.shape and _same_labels(saved, found)
    return OpenedImage(item, image, found, saved, exact, tuple(notes))


def _saved_session(path: Path, notes: list[str]) -> SavedSession | None:
    if not path.exists():
        return None
    try:
        return read_saved_session(path)
    except Sam3Error as error:
        notes.append(str(error))
        return None


def identity_of(image: LazyImage, name: str) -> ImageIdentity:
    """Return the identity of an image."""
    from napari_sam3.images.identity import identify

    return identify(image.data, name, rgb=image.rgb, multiscale=image.multiscale)


def _in_memory(image: LazyImage) -> LazyImage:
    """Read an image that is not large."""
    import psutil

    if image.multiscale or image.data.ndim < 2:
        return image
    nbytes = int(np.prod(image.data.shape)) * image.data.dtype.itemsize
    if nbytes > min(WHOLE_BYTES, int(psutil.virtual_memory().available) // 4):
        return image
    data = np.array(image.data[...])
    image.close()
    return replace(image, data=data, file=None)


def _same_labels(saved: SavedSession, labels: npt.NDArray[Any]) -> bool:
    painted = np.zeros(labels.shape, labels.dtype)
    for write in saved.labels:
        painted[_place(write.plane, write.region, labels.ndim)] = write.values
    return bool((painted == labels).all())


def _place(plane: Any, region: Sequence[slice], ndim: int) -> tuple[Any, ...]:
    slices = getattr(plane, "slices", None)
    return tuple(region) if slices is None or ndim == 2 else tuple(slices(*region))
