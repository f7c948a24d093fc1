"""What a batch hands back: objects of a plane, how far it has come, and errors."""

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
    """How far a batch has come.

    Parameters
    ----------
    done, total : int
        Units of work: planes, tiles of planes, and in the mode "propagate" one a plane and
        direction besides.
    skipped : int
        Those of `done` that were there from an earlier run.
    failed : int
        Those of `done` that could not be read.
    """

    done: int
    total: int
    skipped: int = 0
    failed: int = 0


@dataclass(frozen=True, eq=False)
class PlaneResult:
    """One plane that is done.

    Parameters
    ----------
    plane : PlaneIndex
        Which.
    shape : tuple of int
        (height, width) in px.
    objects : tuple of Instance
        In the order in which they are painted: an earlier one keeps the pixels.
    skipped : bool
        Everything was there from an earlier run.
    error : Sam3Error, optional
        Why the plane is missing; the batch continues with the others.
    """

    plane: PlaneIndex
    shape: tuple[int, int]
    objects: tuple[Instance, ...] = field(default=(), repr=False)
    skipped: bool = False
    error: Sam3Error | None = None

    @property
    def position(self) -> Position:
        """Place on each axis before rows and columns."""
        return self.plane.index

    @property
    def labels(self) -> npt.NDArray[np.uint32]:
        """The whole plane, H x W, painted now."""
        return paint(self.objects, (slice(0, self.shape[0]), slice(0, self.shape[1])))


def masks_digest(objects: Iterable[Instance] | Mapping[int, PlaneMask]) -> str:
    """Return a digest of ids and masks in their order."""
    pairs = (
        objects.items() if isinstance(objects, Mapping) else ((one.id, one.mask) for one in objects)
    )
    digest = hashlib.blake2b(digest_size=16)
    for number, mask in pairs:
        digest.update(repr((number, mask.bbox)).encode())
        digest.update(np.packbits(mask.crop).tobytes())
    return digest.hexdigest()
