"""Find everything on a plane that resembles examples, with the features of clicks alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_sam3.core.fields import Field
from napari_sam3.core.masks import Region
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.automatic.find import Part, click, seed_batches, usable
from napari_sam3.inference.automatic.seeds import find_seeds
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import Found, suppress
from napari_sam3.inference.cache import Control, EmbeddingCache
from sam3.errors import PromptError

from .appearance import describe
from .by_detector import find_by_detector
from .examples import Concept
from .matching import Quality, likelihood

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["DEFAULT_THRESHOLD", "LEAST_SCORE", "find_similar", "search_settings", "shown"]

#: Score above which candidates are shown at first.
DEFAULT_THRESHOLD = 0.5
#: Candidates that score less are not kept; a threshold below it shows no more.
LEAST_SCORE = 0.05
# Objects are looked for from half as wide as the smallest example to 1.6 times the largest.
_SMALLER, _LARGER = 0.5, 1.6
# Of the masks that the model offers, those are compared that may be an object at all.
_LEAST_IOU, _LEAST_STABILITY = 0.25, 0.02
_STABILITY_OFFSET = 4.0
_AREA_FACTOR = 6.0


def find_similar(
    plane: PlaneImage,
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    concept: Concept,
    region: Region | None = None,
    detector: Detector | None = None,
) -> tuple[Found, ...] | None:
    """Find the objects of a plane, or of a tile of it, that resemble examples.

    With a detector it is asked. Without one, places where something as large as the examples
    stands out are clicked on, and the masks that the model offers are scored by how much its
    features, size and colours resemble those of the examples.

    Parameters
    ----------
    plane, predictor, cache, control, region
        As for :func:`napari_sam3.inference.automatic.find.find_objects`.
    concept : Concept
        From :func:`learn_concept`, of this plane or of any other.
    detector : Detector, optional
        The concept detector of the same weights.

    Returns
    -------
    tuple of Found, or None
        The best first, none twice. The score of each is how likely it is wanted, from
        `LEAST_SCORE` to 1: `shown` applies a threshold. None if the control was cancelled.

    Raises
    ------
    sam3.errors.PromptError
        If the concept has no wanted example and, for the detector, no text either.
    """
    region = region or (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
    if detector is not None and (concept.tokens or concept.text is not None):
        return find_by_detector(plane, detector, cache, control, concept, region, LEAST_SCORE)
    if not concept.wanted:
        raise PromptError(
            "there is no example of what is wanted. Expected at least one object; accept an "
            "object or draw a box around one first."
        )
    settings = search_settings(concept)
    seeds = find_seeds(plane, predictor.config, settings, region)
    batches = list(
        seed_batches(seeds, plane.shape, predictor, None, typical_size=concept.typical_size)
    )
    found: list[Found] = []
    for done, (place, batch) in enumerate(batches):
        part = Part(control, done / len(batches), 1 / len(batches))
        answers = click(batch, plane, place, predictor, cache, part, settings.levels_up)
        if answers is None:
            return None
        offers: dict[Field, list[Found]] = {}
        for seed, answered in zip(batch, answers, strict=True):
            for one in usable(seed, answered, plane.shape, settings):
                offers.setdefault(answered.field, []).append(one)
        for seen, group in offers.items():
            features = cache.encode_field(seen, plane, predictor, part)
            looks = describe([one.mask for one in group], plane, seen, features)
            qualities = [Quality(one.score, one.stability) for one in group]
            scores = likelihood(looks, qualities, concept.wanted, concept.unwanted)
            found += [
                Found(one.mask, float(score), 1.0, one.seed, one.level)
                for one, score in zip(group, scores, strict=True)
                if score >= LEAST_SCORE
            ]
    return suppress(found, settings)


def shown(found: Sequence[Found], threshold: float) -> tuple[Found, ...]:
    """Return those that score at least a threshold, 0 to 1; nothing is predicted again."""
    return tuple(one for one in found if one.score >= threshold)


def search_settings(concept: Concept) -> AutomaticSettings:
    """Return where objects as large as the examples are looked for."""
    small, large = concept.radii
    areas = [one.area for one in concept.wanted]
    return AutomaticSettings(
        blob_radii=(max(1.5, _SMALLER * small), max(3.0, _LARGER * large)),
        blob_contrast=0.03,
        min_score=_LEAST_IOU,
        min_stability=_LEAST_STABILITY,
        stability_offset=_STABILITY_OFFSET,
        min_area=max(1, round(min(areas) / _AREA_FACTOR)),
        max_area=max(1, round(max(areas) * _AREA_FACTOR)),
        max_share=0.6,
    )
