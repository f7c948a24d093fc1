"""Find all objects of a plane, or of a tile of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.fields import FieldOfView, choose_field, touches_inner_border
from napari_sam3.core.masks import Region
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.answers import LARGEST_BATCH, answer
from napari_sam3.inference.cache import Control, EmbeddingCache
from napari_sam3.inference.model_server import run_on_server
from napari_sam3.inference.questions import Candidate, ObjectPrediction, Question

from .parts import Part, in_parts
from .proposed import proposed_seeds
from .seeds import Seed, find_seeds
from .settings import AutomaticSettings
from .suppression import Found, merge_found, paint_order, suppress

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["AutomaticSettings", "Found", "Seed"]
__all__ += ["Part", "by_reach", "click", "find_objects", "merge_found", "paint_order"]
__all__ += ["seed_batches", "stability", "usable"]

#: Longer side of an object as a fraction of the window in which it is decoded, at most: windows
#: must show what is around an object.
SMALL = 0.5


@run_on_server
def find_objects(
    plane: PlaneImage,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    settings: AutomaticSettings | None = None,
    region: Region | None = None,
) -> tuple[Found, ...] | None:
    """Find all objects of a plane, or of a tile of it.

    Each seed is predicted as a single click with three masks, field by field. Masks are filtered
    by predicted IoU and stability, and duplicates are removed, as in the automatic mask
    generation of SAM (Kirillov et al. 2023).

    Parameters
    ----------
    plane : PlaneImage
        Plane.
    predictor : Predictor
        Model, used by one thread at a time.
    cache : EmbeddingCache
        Cache of the features of fields.
    control : Control
        Receives the progress. Once it is cancelled, None is returned.
    settings : AutomaticSettings, optional
        Settings of the search.
    region : tuple of slice, optional
        Rows and columns (with start and stop) of the seeds, by default the whole plane. Tiles
        must not overlap. Masks may extend beyond the region.

    Returns
    -------
    tuple of Found, or None
        Objects, the best first. `merge_found` merges those of several tiles, and `paint_order`
        removes overlaps.
    """
    settings = settings or AutomaticSettings()
    region = region or (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
    batches = (
        proposed_seeds(plane, predictor, cache, control, settings, region)
        if _by_proposals(predictor, settings)
        else _chosen_seeds(plane, predictor, control, settings, region)
    )
    found: list[Found] = []
    for part, field, batch in batches:
        for near, seeds in by_reach(batch, field, predictor, settings):
            answers = click(
                seeds, plane, field, predictor, cache, part, settings.levels_up, near=near
            )
            if answers is None:
                return None
            for seed, prediction in zip(seeds, answers, strict=True):
                found += usable(seed, prediction, plane.shape, settings)
    return None if control.cancelled else suppress(found, settings)


def _by_proposals(predictor: Predictor, settings: AutomaticSettings) -> bool:
    if settings.seeds == "auto":
        return predictor.proposal_head is not None
    return settings.seeds == "proposals"


def by_reach(
    seeds: Sequence[Seed], field: FieldOfView, predictor: Predictor, settings: AutomaticSettings
) -> Iterator[tuple[bool, list[Seed]]]:
    """Yield the seeds of small objects, which are decoded near the click (True), and the others."""
    from sam3.near_clicks import WINDOW  # imports torch

    reach = 0.0
    if _by_proposals(predictor, settings):  # models that propose are trained on parts of images
        reach = SMALL * WINDOW / predictor.config.grid * max(field.encoded_shape)
    for near in (True, False):
        some = [seed for seed in seeds if (seed.size is not None and seed.size <= reach) == near]
        if some:
            yield near, some


def _chosen_seeds(
    plane: PlaneImage,
    predictor: Predictor,
    control: Control,
    settings: AutomaticSettings,
    region: Region,
) -> Iterator[tuple[Part, FieldOfView, list[Seed]]]:
    """Yield the blobs or grid points, field by field."""
    seeds = find_seeds(plane, predictor.config, settings, region)
    batches = list(seed_batches(seeds, plane.shape, predictor, settings.level))
    for part, (field, batch) in in_parts(control, batches):
        yield part, field, batch


def stability(candidate: Candidate, field: FieldOfView, offset: float) -> float:
    """Return the IoU of a mask at two thresholds of its logits, from 0 to 1.

    Parameters
    ----------
    candidate : Candidate
        Mask with its low-resolution logits. Only those around the mask are used.
    field : FieldOfView
        Field of view of the prediction.
    offset : float
        The thresholds are plus and minus this.
    """
    logits = _around_mask(candidate, field)
    inner, outer = (int(np.count_nonzero(logits > at)) for at in (offset, -offset))
    return inner / max(1, outer)


def click(
    seeds: Sequence[Seed],
    plane: PlaneImage,
    field: FieldOfView,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    levels_up: int,
    *,
    near: bool = False,
) -> tuple[ObjectPrediction, ...] | None:
    """Predict a single click on each seed of a field; see `Question` for `near`.

    Returns None once the control is cancelled.
    """
    drafts = tuple(
        Draft(number, (Turn(PromptSet(((seed.x, seed.y),), (1,))),))
        for number, seed in enumerate(seeds)
    )
    question = Question(
        plane,
        drafts,
        level=field.level,
        highest=field.level + levels_up,
        first_field=field,
        near=near,
    )
    return answer(question, predictor, cache, control)


def seed_batches(
    seeds: Sequence[Seed],
    shape: tuple[int, int],
    predictor: Predictor,
    level: int | None,
    typical_size: float | None = None,
) -> Iterator[tuple[FieldOfView, list[Seed]]]:
    """Yield batches of seeds of one field each, field by field."""
    groups: dict[FieldOfView, list[Seed]] = {}
    for seed in seeds:
        place = PromptSet(((seed.x, seed.y),), (1,))
        field = choose_field(shape, place, predictor.config, level, typical_size)
        groups.setdefault(field, []).append(seed)
    for field in sorted(groups, key=lambda one: (one.level, one.rows, one.columns)):
        group = groups[field]
        for start in range(0, len(group), LARGEST_BATCH):
            yield field, group[start : start + LARGEST_BATCH]


def usable(
    seed: Seed, prediction: ObjectPrediction, shape: tuple[int, int], settings: AutomaticSettings
) -> Iterator[Found]:
    """Yield the candidates of a prediction that pass the filters."""
    height, width = prediction.field.shape
    largest = settings.max_share * height * width
    if settings.max_area is not None:
        largest = min(largest, settings.max_area)
    for candidate in prediction.candidates:
        if candidate.score < settings.min_score:
            continue
        if not settings.min_area <= candidate.mask.area <= largest:
            continue
        if touches_inner_border(candidate.mask, prediction.field, shape):
            continue
        stable = stability(candidate, prediction.field, settings.stability_offset)
        if stable >= settings.min_stability:
            yield Found(candidate.mask, candidate.score, stable, seed, prediction.field.level)


def _around_mask(candidate: Candidate, field: FieldOfView) -> npt.NDArray[np.float32]:
    """Return the logits in the bounding box of a mask and one cell around it.

    Other objects in the field must not count for the stability of this one.
    """
    logits = candidate.logits[0]
    spans = []
    box = candidate.mask.bbox
    for axis, cells in enumerate(logits.shape):
        scale = cells / field.encoded_shape[axis]
        start, stop = ((box[axis + 2 * end] - field.origin[axis]) * scale for end in (0, 1))
        spans.append(slice(max(0, int(start) - 1), int(np.ceil(stop)) + 1))
    return np.asarray(logits[spans[0], spans[1]])
