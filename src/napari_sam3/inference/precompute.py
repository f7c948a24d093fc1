"""Fill a store before anybody clicks: what it takes, and doing it, field by field."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.core.field_grid import FieldGrid, fields_over
from napari_sam3.core.fields import FINEST_LEVEL, Field, FieldSizes
from napari_sam3.core.planes import ContrastLimits, PlaneIndex
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.images.lazy import LazyImage
from napari_sam3.images.open import plane_of
from napari_sam3.images.plane_image import RenderedPlane
from sam3.errors import ImageError

from .cache import embedding_key, store_features
from .store.store import NO_LIMIT, EmbeddingStore

if TYPE_CHECKING:
    from sam3.predictor import ImageFeatures, Predictor

__all__ = ["Measured", "Plan", "PrecomputeProgress", "all_planes", "fill", "measure", "plan_fields"]


@dataclass(frozen=True)
class Plan:
    """Which fields of which planes.

    Parameters
    ----------
    image : LazyImage
        The image.
    planes : tuple of PlaneIndex
        Planes of it.
    grid : FieldGrid
        Fields of each plane.
    contrast : tuple of float, optional
        Values shown as 0 and 255; by default found for the image, as in the viewer.
    """

    image: LazyImage = field(repr=False)
    planes: tuple[PlaneIndex, ...]
    grid: FieldGrid
    contrast: ContrastLimits | None = None

    @property
    def fields(self) -> int:
        """Number of fields."""
        return len(self.planes) * len(self.grid)

    def __iter__(self) -> Iterator[tuple[PlaneImage, Field]]:
        """Go through the fields, plane by plane; pixels are read when a field is extracted."""
        for plane in self.planes:
            rendered = RenderedPlane(self.image.channel(plane, self.contrast))
            for one in self.grid:
                yield rendered, one


@dataclass(frozen=True, eq=False)
class Measured:
    """What one field took.

    Parameters
    ----------
    seconds : float
        To read, encode and write it.
    nbytes : int
        Its size on disk.
    key : str
        Its name.
    features : ImageFeatures
        What was made, so that it need not be made again.
    """

    seconds: float
    nbytes: int
    key: str
    features: ImageFeatures = field(repr=False)


@dataclass(frozen=True)
class PrecomputeProgress:
    """How far it has come.

    Parameters
    ----------
    done, total : int
        Fields that are in the store now, and all fields.
    skipped : int
        Those of `done` that had been there before.
    seconds_left : float, optional
        By the time that fields took so far; None before the first one was made.
    """

    done: int
    total: int
    skipped: int
    seconds_left: float | None


def all_planes(image: LazyImage) -> tuple[PlaneIndex, ...]:
    """Return all planes of the last two axes."""
    positions = itertools.product(*(range(length) for length in image.shape[:-2]))
    return tuple(plane_of(image, position) for position in positions)


def plan_fields(
    image: LazyImage,
    planes: Sequence[PlaneIndex],
    config: FieldSizes,
    *,
    region: tuple[int, int, int, int] | None = None,
    level: int | None = None,
    contrast: ContrastLimits | None = None,
) -> Plan:
    """Choose fields, without reading pixels.

    Parameters
    ----------
    image : LazyImage
        The image.
    planes : sequence of PlaneIndex
        Planes of it.
    config : ModelConfig
        The model's input size and the level at which clicks start.
    region : tuple of int, optional
        (row, column, row, column) of the first and one past the last pixel; by default all.
    level : int, optional
        Pyramid level; by default the one at which clicks start.
    contrast : tuple of float, optional
        See `Plan`.

    Raises
    ------
    sam3.errors.ImageError
        If the region or the level does not exist.
    """
    height, width = image.shape[-2:]
    rows = columns = None
    if region is not None:
        top, left, bottom, right = region
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise ImageError(
                f"the region {','.join(map(str, region))} does not lie in the plane; expected "
                f"row,column,row,column within 0,0,{height},{width}, the end past the last pixel"
            )
        rows, columns = (top, bottom), (left, right)
    level = config.default_level if level is None else level
    if level < FINEST_LEVEL:
        raise ImageError(f"level {level} does not exist; expected {FINEST_LEVEL} or more")
    grid = fields_over((height, width), config.resolution, level, rows, columns)
    return Plan(image, tuple(planes), grid, contrast)


def measure(plan: Plan, predictor: Predictor) -> Measured:
    """Encode the first field, and write it to a temporary store, to learn what all will take.

    Raises
    ------
    sam3.errors.Sam3Error
        If it cannot be read, encoded or written.
    """
    start = time.perf_counter()
    plane, first = next(iter(plan))
    pixels = first.extract(plane)
    key, features = embedding_key(pixels, predictor), predictor.encode(pixels)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore(folder, limit_bytes=NO_LIMIT)
        store_features(store, key, features, plane, predictor)
        seconds, nbytes = time.perf_counter() - start, store.info().nbytes
    return Measured(seconds, nbytes, key, features)


def fill(
    plan: Plan, predictor: Predictor, store: EmbeddingStore, measured: Measured | None = None
) -> Iterator[PrecomputeProgress]:
    """Put all fields of a plan into a store, one at each step.

    Fields that are there already are passed over, so it may be stopped at any time, by no longer
    asking for steps or by an exception, and be gone on with later.

    Parameters
    ----------
    plan : Plan
        Which.
    predictor : Predictor
        Encodes them.
    store : EmbeddingStore
        Where they go. Its limit is the caller's concern: beyond it the first ones are deleted.
    measured : Measured, optional
        From `measure`.

    Raises
    ------
    sam3.errors.Sam3Error
        If a field cannot be read or encoded, or the store not be written.
    """
    made = skipped = 0
    spent = 0.0
    for done, (plane, one) in enumerate(plan, start=1):
        start = time.perf_counter()
        pixels = one.extract(plane)
        key = embedding_key(pixels, predictor)
        if key in store:
            skipped += 1
        else:
            known = measured is not None and measured.key == key
            features = measured.features if measured and known else predictor.encode(pixels)
            store_features(store, key, features, plane, predictor)
            if not known:
                made += 1
                spent += time.perf_counter() - start
        left = (plan.fields - done) * spent / made if made else None
        if left is None and measured is not None:
            left = (plan.fields - done) * measured.seconds
        yield PrecomputeProgress(done, plan.fields, skipped, left)
