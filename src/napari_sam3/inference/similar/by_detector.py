"""Find the objects of a plane that match examples, with the concept detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam3.core.field_grid import fields_over
from napari_sam3.core.fields import FieldOfView, top_level, touches_inner_border
from napari_sam3.core.masks import Region
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.automatic.parts import in_parts
from napari_sam3.inference.automatic.seeds import Seed
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import Found, suppress
from napari_sam3.inference.cache import Control, EmbeddingCache

from .examples import Concept

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector

__all__ = ["find_by_detector"]

# Examples that are longer than this fraction of a field are searched for at the next level.
_LARGEST_SHARE = 1 / 3


def find_by_detector(
    plane: PlaneImage,
    detector: Detector,
    cache: EmbeddingCache,
    control: Control,
    concept: Concept,
    region: Region,
    least_score: float,
) -> tuple[Found, ...] | None:
    """Run the detector on each field that overlaps a region.

    Fields overlap by half. An instance that one field truncates comes from a neighbouring field
    that contains it, and duplicates are removed.

    Parameters
    ----------
    plane, detector, cache, control, concept, region
        As for :func:`find_similar`. Instances outside the region are not returned.
    least_score : float
        Least score of an instance.

    Returns
    -------
    tuple of Found, or None
        Instances, the best first. None if the control was cancelled.
    """
    fields = _fields(plane.shape, detector, concept, region)
    found: list[Found] = []
    for part, field in in_parts(control, fields):
        features = cache.encode_field(field, plane, detector.predictor, part, keep_trunk=True)
        if control.cancelled:
            return None
        part.report("predicting")
        prediction = detector.find(features, concept.text, examples=concept.tokens)
        instances = prediction.above(least_score)
        for crop, score in zip(instances.crops(), instances.scores, strict=True):
            mask = field.paste(crop.pixels, crop.row, crop.column)
            if mask.is_empty or touches_inner_border(mask, field, plane.shape):
                continue
            y0, x0, y1, x1 = mask.bbox
            middle = Seed((y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
            if _holds(region, middle):
                found.append(Found(mask, float(score), 1.0, middle, field.level))
    return None if control.cancelled else suppress(found, AutomaticSettings())


def _fields(
    shape: tuple[int, int], detector: Detector, concept: Concept, region: Region
) -> list[FieldOfView]:
    """Return the fields that overlap a region, at the level for the size of the examples."""
    config = detector.predictor.config
    level, top = config.default_level, top_level(shape, config.resolution)
    size = concept.typical_size
    while size and level < top and size > _LARGEST_SHARE * config.resolution * 2.0**level:
        level += 1
    rows, columns = region
    return [
        field
        for field in fields_over(shape, config.resolution, level)
        if field.rows[0] < rows.stop
        and rows.start < field.rows[1]
        and field.columns[0] < columns.stop
        and columns.start < field.columns[1]
    ]


def _holds(region: Region, at: Seed) -> bool:
    rows, columns = region
    return bool(rows.start <= at.y < rows.stop and columns.start <= at.x < columns.stop)
