"""Find the objects of a plane that resemble examples, with or without a concept detector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam3.core.fields import FieldOfView, choose_field
from napari_sam3.core.masks import Region
from napari_sam3.core.prompts import PromptSet
from napari_sam3.core.rendering import PlaneImage
from napari_sam3.inference.automatic.find import by_reach, click, seed_batches, usable
from napari_sam3.inference.automatic.parts import in_parts
from napari_sam3.inference.automatic.proposed import proposed_seeds
from napari_sam3.inference.automatic.seeds import Seed, find_seeds
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import Found, suppress
from napari_sam3.inference.cache import Control, EmbeddingCache
from napari_sam3.inference.model_server import run_on_server
from sam3.errors import PromptError, UnsupportedError

from .appearance import Appearance, describe
from .by_detector import find_by_detector
from .examples import Concept, Example, example_field
from .matching import (
    Quality,
    contrast,
    levelled,
    likelihood,
    of_one_kind,
    parted,
    raised,
    resemblance,
    soundness,
)

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = [
    "DEFAULT_THRESHOLD",
    "LEAST_SCORE",
    "NO_TEXT",
    "Described",
    "SimilarSearch",
    "find_similar",
    "search_settings",
    "shown",
]

#: Error for a text prompt to weights without a text encoder.
NO_TEXT = (
    "the weights have no text encoder to find objects by name. Expected the released SAM 3. Choose "
    "it as the model, or find similar objects by examples."
)
#: Initial threshold of the scores of candidates.
DEFAULT_THRESHOLD = 0.5
#: Candidates with lower scores are dropped.
LEAST_SCORE = 0.05
# Radii of blobs, relative to the smallest and the largest example.
_SMALLER, _LARGER = 0.5, 1.6
# Least predicted IoU and stability of the masks that are compared with the examples.
_LEAST_IOU, _LEAST_STABILITY = 0.25, 0.02
_STABILITY_OFFSET = 4.0
# Least score of a proposal that is clicked on: faint ones may be what is wanted.
_LEAST_PROPOSAL = 0.1
_AREA_FACTOR = 6.0


@run_on_server
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

    A concept detector finds them in one step. Without one, blobs of the size of the examples are
    clicked on, and the candidate masks are scored by their resemblance to the examples in
    features, size and texture, and by how they differ from all other candidates.

    Parameters
    ----------
    plane, predictor, cache, control, region
        As for :func:`napari_sam3.inference.automatic.find.find_objects`.
    concept : Concept
        Concept from :func:`learn_concept`, of any plane.
    detector : Detector, optional
        Concept detector of the same weights.

    Returns
    -------
    tuple of Found, or None
        Objects without duplicates, the best first, with likelihoods from `LEAST_SCORE` to 1 as
        scores. `shown` applies a threshold. None if the control was cancelled.

    Raises
    ------
    sam3.errors.PromptError
        If the concept has neither a positive example nor, for the detector, a text.
    sam3.errors.UnsupportedError
        If it has a text, and there is no detector.
    """
    region = region or (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
    if detector is not None and (concept.tokens or concept.text is not None):
        return find_by_detector(plane, detector, cache, control, concept, region, LEAST_SCORE)
    if concept.text is not None and detector is None:
        raise UnsupportedError(NO_TEXT)
    if not concept.wanted:
        raise PromptError(
            "no positive example given. Expected at least one object. Accept an object, or draw a "
            "box around one first."
        )
    settings = search_settings(concept)
    search = SimilarSearch(plane, predictor, cache, control, settings, region, concept)
    candidates = search.candidates()
    return None if candidates is None else _scored(candidates, concept, settings)


def _scored(
    candidates: Sequence[Described], concept: Concept, settings: AutomaticSettings
) -> tuple[Found, ...]:
    """Return the candidates with their scores, without duplicates."""
    if not candidates:
        return ()
    looks = [one.look for one in candidates]
    sides = concept.wanted, concept.unwanted
    qualities = [Quality(one.found.score, one.found.stability) for one in candidates]
    logits = resemblance(looks, qualities, *sides)

    kept = _without_duplicates(candidates, likelihood(logits), settings)
    strict, lenient = (
        contrast(levelled(logits, kept, strict=one), kept, looks, *sides) for one in (True, False)
    )
    logits = strict
    if not concept.unwanted:  # which would say that there is another kind
        sound = soundness(qualities)
        soundest = _without_duplicates(candidates, likelihood(sound), settings)
        objects = soundest & (sound > 0)
        if of_one_kind(lenient[objects], strict[objects]):
            logits = lenient if parted(lenient[objects]) else raised(lenient, sound)
    rated = _rated(candidates, likelihood(logits))
    return suppress((one for one in rated if one.score >= LEAST_SCORE), settings)


def _without_duplicates(
    candidates: Sequence[Described], scores: npt.NDArray[np.float64], settings: AutomaticSettings
) -> npt.NDArray[np.bool_]:
    """Return which candidates (N,) are no duplicates of others with better scores."""
    rated = _rated(candidates, scores)
    best = {id(one) for one in suppress(rated, settings)}
    return np.array([id(one) in best for one in rated])


def _rated(candidates: Sequence[Described], scores: npt.NDArray[np.float64]) -> list[Found]:
    return [
        replace(one.found, score=round(float(score), 6), stability=1.0)
        for one, score in zip(candidates, scores, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Described:
    """A mask and its appearance."""

    found: Found
    look: Appearance


@dataclass(frozen=True, eq=False)
class SimilarSearch:
    """A search without a concept detector: the arguments of :func:`find_similar`."""

    plane: PlaneImage
    predictor: Predictor
    cache: EmbeddingCache
    control: Control
    settings: AutomaticSettings
    region: Region
    concept: Concept

    def candidates(self) -> list[Described] | None:
        """Return the masks of all seeds; None once the control is cancelled."""
        described: list[Described] = []
        for part, field, seeds in self.seeds():
            found = self.clicked(seeds, field, part)
            some = None if found is None else self.described(found, part)
            if some is None:
                return None
            described += some
        return None if self.control.cancelled else described

    def seeds(self) -> Iterator[tuple[Control, FieldOfView, list[Seed]]]:
        """Yield proposals of the model, or blobs if it makes none, field by field."""
        plane, predictor, size = self.plane, self.predictor, self.concept.typical_size
        if predictor.proposal_head is not None:
            # At the levels of a search for everything, then at that of the examples.
            middle = PromptSet(((plane.shape[1] / 2, plane.shape[0] / 2),), (1,))
            level = choose_field(plane.shape, middle, predictor.config, None, size).level
            searches = self.settings, replace(self.settings, level=level)
            clicked: set[tuple[FieldOfView, Seed]] = set()
            for part, settings in in_parts(self.control, searches):
                proposed = proposed_seeds(plane, predictor, self.cache, part, settings, self.region)
                for portion, field, found in proposed:
                    # Both searches share fields if they share a level.
                    new = [seed for seed in found if (field, seed) not in clicked]
                    clicked.update((field, seed) for seed in new)
                    if new:
                        yield portion, field, new
            return
        seeds = find_seeds(plane, predictor.config, self.settings, self.region)
        batches = list(seed_batches(seeds, plane.shape, predictor, None, typical_size=size))
        for part, (field, batch) in in_parts(self.control, batches):
            yield part, field, batch

    def clicked(
        self, seeds: Sequence[Seed], field: FieldOfView, part: Control
    ) -> list[Found] | None:
        """Click on the seeds of a field; small objects are decoded near the clicks.

        Returns None once the control is cancelled.
        """
        found: list[Found] = []
        for near, some in by_reach(seeds, field, self.predictor, self.settings):
            answers = click(
                some,
                self.plane,
                field,
                self.predictor,
                self.cache,
                part,
                self.settings.levels_up,
                near=near,
            )
            if answers is None:
                return None
            for seed, prediction in zip(some, answers, strict=True):
                found += usable(seed, prediction, self.plane.shape, self.settings)
        return found

    def described(self, found: Sequence[Found], part: Control) -> list[Described] | None:
        """Describe masks in the fields in which examples of their size are described.

        Returns None once the control is cancelled.
        """
        groups: dict[FieldOfView, list[Found]] = {}
        for one in found:
            place = example_field(
                Example(one.mask), self.plane.shape, self.predictor, self.concept.typical_size
            )
            groups.setdefault(place, []).append(one)
        described: list[Described] = []
        for field, group in groups.items():
            features = self.cache.encode_field(field, self.plane, self.predictor, part)
            if self.control.cancelled:
                return None
            looks = describe([one.mask for one in group], self.plane, field, features)
            described += map(Described, group, looks)
        return described


def shown(found: Sequence[Found], threshold: float) -> tuple[Found, ...]:
    """Return the objects whose scores reach a threshold."""
    return tuple(one for one in found if one.score >= threshold)


def search_settings(concept: Concept) -> AutomaticSettings:
    """Return settings to search for objects of the size of the examples."""
    small, large = concept.radii
    areas = [one.area for one in concept.wanted]
    return AutomaticSettings(
        blob_radii=(max(1.5, _SMALLER * small), max(3.0, _LARGER * large)),
        blob_contrast=0.03,
        min_proposal=_LEAST_PROPOSAL,
        min_score=_LEAST_IOU,
        min_stability=_LEAST_STABILITY,
        stability_offset=_STABILITY_OFFSET,
        min_area=max(1, round(min(areas) / _AREA_FACTOR)),
        max_area=max(1, round(max(areas) * _AREA_FACTOR)),
        max_share=0.6,
    )
