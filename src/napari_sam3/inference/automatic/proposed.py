"""Seeds from the proposal head of the model, one per expected object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import FieldOfView, field_side, most_central_field, top_level
from napari_sam3.core.masks import Region
from napari_sam3.core.prompts import Box
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.answers import LARGEST_BATCH
from napari_sam3.inference.cache import Control, EmbeddingCache

from .parts import Part
from .seeds import Seed
from .settings import AutomaticSettings

if TYPE_CHECKING:
    from sam3.features import ImageFeatures
    from sam3.predictor import Predictor

__all__ = ["proposed_seeds"]

#: Longer side of objects as a fraction of the field's. Larger objects belong to the next coarser
#: level and smaller ones to the next finer level. Between the two, both levels propose.
LARGEST, SMALLEST = 0.5, 0.2
#: Coarser levels are skipped if no proposal is as large as this. It is smaller than twice SMALLEST,
#: which the next level would accept, since boxes are inexact.
EXPECTED = 0.3
#: A plane at most this many times longer than a field of the finest level is seen in one field.
#: Several fields of nearly the same content would take longer without finding more.
WHOLE = 1.15


def proposed_seeds(
    plane: PlaneImage,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    settings: AutomaticSettings,
    region: Region,
) -> Iterator[tuple[Part, FieldOfView, list[Seed]]]:
    """Yield the seeds field by field, until the control is cancelled.

    Parameters
    ----------
    plane : PlaneImage
        Plane.
    predictor : Predictor
        Model with a proposal head.
    cache, control
        As for :func:`napari_sam3.inference.automatic.find.find_objects`.
    settings : AutomaticSettings
        Levels and least score.
    region : tuple of slice
        Rows and columns of the seeds.

    Yields
    ------
    (Part, FieldOfView, list of Seed)
        Part of the job, field and its seeds.
    """
    resolution = predictor.config.resolution
    rows, columns = region
    levels = _levels(plane.shape, predictor, settings)
    spans = (rows.start, rows.stop), (columns.start, columns.stop)
    grids = [fields_over(plane.shape, resolution, level, *spans) for level in levels]
    done, total = 0, sum(map(len, grids))
    for grid in grids:
        largest = 0.0
        for field in grid:
            part = Part(control, done / total, 1 / total)
            features = cache.encode_field(field, plane, predictor, part)
            if control.cancelled:
                return
            proposed = list(_seeds(field, predictor, features, settings.min_proposal))
            largest = max((largest, *(_share(seed, field) for seed in proposed)))
            seeds = [
                seed
                for seed in proposed
                if rows.start <= seed.y < rows.stop and columns.start <= seed.x < columns.stop
                if _suits(_share(seed, field), field.level == levels[0], field.level == levels[-1])
                if most_central_field(plane.shape, _place(seed), resolution, field.level) == field
            ]
            for start in range(0, len(seeds), LARGEST_BATCH):
                yield part, field, seeds[start : start + LARGEST_BATCH]
            done += 1
        if largest < EXPECTED:
            return


def _levels(
    shape: tuple[int, int], predictor: Predictor, settings: AutomaticSettings
) -> tuple[int, ...]:
    """Return the levels to search, the finest first."""
    top = top_level(shape, predictor.config.resolution)
    if settings.level is not None:
        return (min(settings.level, top),)
    first = min(predictor.config.default_level, top)
    if first < top and max(shape) <= WHOLE * field_side(predictor.config.resolution, first):
        first += 1
    return tuple(range(first, min(first + 1 + settings.levels_up, top) + 1))


def _seeds(
    field: FieldOfView, predictor: Predictor, features: ImageFeatures, least: float
) -> Iterator[Seed]:
    from sam3.proposals import propose  # imports torch

    found = propose(predictor, features, least)
    row, column = field.origin
    for (x0, y0, x1, y1), (x, y) in zip(found.boxes.tolist(), found.points.tolist(), strict=True):
        yield Seed(row + y, column + x, 1 + max(x1 - x0, y1 - y0))


def _share(seed: Seed, field: FieldOfView) -> float:
    """Return the longer side of an object as a fraction of its field's."""
    return (seed.size or 0) / max(field.encoded_shape)


def _suits(share: float, finest: bool, coarsest: bool) -> bool:
    """Return whether the size of an object suits the fields of a level."""
    return (coarsest or share <= LARGEST) and (finest or share >= SMALLEST)


def _place(seed: Seed) -> Box:
    return seed.x, seed.y, seed.x, seed.y
