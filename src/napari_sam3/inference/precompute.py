"""Fill a store in advance, field by field, and estimate its time and size."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.core.field_grid import FieldGrid, fields_over
from napari_sam3.core.fields import FINEST_LEVEL, FieldOfView, FieldSizes
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
    """Fields of planes to be encoded.

    Parameters
    ----------
    image : LazyImage
        Image.
    planes : tuple of PlaneIndex
        Planes of the image.
    grid : FieldGrid
        Fields of each plane.
    contrast : tuple of float, optional
        Values shown as 0 and 255, by default those of the viewer.
    """

    image: LazyImage = field(repr=False)
    planes: tuple[PlaneIndex, ...]
    grid: FieldGrid
    contrast: ContrastLimits | None = None

    @property
    def fields(self) -> int:
        """Number of fields."""
        return len(self.planes) * len(self.grid)

    def __iter__(self) -> Iterator[tuple[PlaneImage, FieldOfView]]:
        """Yield the fields, plane by plane. Extracting a field reads its pixels."""
        for plane in self.planes:
            rendered = RenderedPlane(self.image.channel(plane, self.contrast))
            for region in self.grid:
                yield rendered, region


@dataclass(frozen=True, eq=False)
class Measured:
    """Time and size of one field.

    Parameters
    ----------
    seconds : float
        Time to read, encode and write the field.
    nbytes : int
        Size of the field on disk.
    key : str
        Key of the field.
    features : ImageFeatures
        Features of the field, for reuse by `fill`.
    """

    seconds: float
    nbytes: int
    key: str
    features: ImageFeatures = field(repr=False)


@dataclass(frozen=True)
class PrecomputeProgress:
    """Progress of `fill`.

    Parameters
    ----------
    done, total : int
        Number of fields in the store, and of all fields.
    skipped : int
        Number of fields that were in the store before.
    seconds_left : float, optional
        Estimate from the fields encoded so far, None before the first one.
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
        Image.
    planes : sequence of PlaneIndex
        Planes of the image.
    config : ModelConfig
        Input size of the model, and the level at which clicks start.
    region : tuple of int, optional
        (row, column, row, column) of the first pixel and one past the last, by default the plane.
    level : int, optional
        Pyramid level, by default the one at which clicks start.
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
                f"the region is outside the plane: {','.join(map(str, region))}. Expected "
                f"row,column,row,column within 0,0,{height},{width}, with exclusive ends. Correct "
                "it."
            )
        rows, columns = (top, bottom), (left, right)
    level = config.default_level if level is None else level
    if level < FINEST_LEVEL:
        raise ImageError(
            f"level {level} does not exist. Expected {FINEST_LEVEL} or more. Choose one of these."
        )
    grid = fields_over((height, width), config.resolution, level, rows, columns)
    return Plan(image, tuple(planes), grid, contrast)


def measure(plan: Plan, predictor: Predictor) -> Measured:
    """Encode the first field and write it to a temporary store, to estimate time and size.

    Raises
    ------
    sam3.errors.Sam3Error
        If the field cannot be read, encoded or written.
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
    """Encode all fields of a plan into a store, one field per step.

    Fields that are in the store are skipped, so that an interrupted run can be resumed.

    Parameters
    ----------
    plan : Plan
        Fields to encode.
    predictor : Predictor
        Model that encodes them.
    store : EmbeddingStore
        Destination. Above its limit, the first fields are deleted.
    measured : Measured, optional
        Result of `measure`.

    Raises
    ------
    sam3.errors.Sam3Error
        If a field cannot be read, encoded or written.
    """
    made = skipped = 0
    spent = 0.0
    for done, (plane, region) in enumerate(plan, start=1):
        start = time.perf_counter()
        pixels = region.extract(plane)
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
