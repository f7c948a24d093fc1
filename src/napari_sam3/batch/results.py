"""Results of a batch: objects of a plane, progress, and errors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import Instance
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.painting import paint
from sam3.errors import Sam3Error

from .prompts import Position

__all__ = ["BatchError", "PlaneResult", "Progress", "masks_digest"]


class BatchError(Sam3Error, RuntimeError):
    """A batch that cannot be started, resumed or written."""


@dataclass(frozen=True)
class Progress:
    """Progress of a batch.

    Parameters
    ----------
    done, total : int
        Number of units: planes or tiles of planes; in the mode "propagate", also one per plane and
        direction.
    skipped : int
        Number of `done` units that an earlier run finished.
    failed : int
        Number of `done` units that could not be read.
    """

    done: int
    total: int
    skipped: int = 0
    failed: int = 0


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """A finished plane.

    Parameters
    ----------
    plane : PlaneIndex
        The plane.
    shape : tuple of int
        (height, width) in px.
    objects : tuple of Instance
        In the order of painting: an earlier object keeps its pixels.
    skipped : bool
        Whether an earlier run finished the plane.
    error : Sam3Error, optional
        Reason why the plane is missing; the batch continues with the others.
    """

    plane: PlaneIndex
    shape: tuple[int, int]
    objects: tuple[Instance, ...] = field(default=(), repr=False)
    skipped: bool = False
    error: Sam3Error | None = None

    @property
    def position(self) -> Position:
        """Position on each axis before rows and columns."""
        return self.plane.index

    @property
    def labels(self) -> npt.NDArray[np.uint32]:
        """Labels of the whole plane, H x W, painted on access."""
        return paint(self.objects, (slice(0, self.shape[0]), slice(0, self.shape[1])))


def masks_digest(objects: Iterable[Instance] | Mapping[int, PlaneMask]) -> str:
    """Return a digest of ids and masks in order."""
    pairs = (
        objects.items() if isinstance(objects, Mapping) else ((one.id, one.mask) for one in objects)
    )
    digest = hashlib.blake2b(digest_size=16)
    for number, mask in pairs:
        digest.update(repr((number, mask.bbox)).encode())
        digest.update(np.packbits(mask.crop).tobytes())
    return digest.hexdigest()
