"""A search for objects on a plane, on whatever thread it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import Found
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped
from napari_sam3.inference.models import ModelHandle
from napari_sam3.inference.similar.examples import Concept, Example, learn_concept
from sam3.errors import UnsupportedError

from .jobs import Outcome, Plane, Report

if TYPE_CHECKING:
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["DetectorOf", "Search"]

#: Gives the concept detector that belongs to a predictor, or None where its weights have none.
DetectorOf = Callable[["Predictor"], "Detector | None"]


@dataclass(eq=False)
class Search:
    """One search: what is asked, and what was found. Runs on the thread of `submit`.

    Parameters
    ----------
    plane : Plane
        Where it is searched.
    examples : tuple of Example
        On that plane.
    concept : Concept, optional
        Examples of other planes; after the search, all that was searched for.
    text : str, optional
        Name of what is searched for.
    settings : AutomaticSettings, optional
        Find everything by these, not by examples.
    found : tuple of Found, optional
        None until it ended, and if it was cancelled.
    error : BaseException, optional
        What went wrong.
    """

    plane: Plane
    examples: tuple[Example, ...] = ()
    concept: Concept | None = None
    text: str | None = None
    settings: AutomaticSettings | None = None
    found: tuple[Found, ...] | None = None
    error: BaseException | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _tell: Report | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the answer is not wanted any more."""
        return self._cancelled.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether the features are not wanted either."""
        return self.cancelled

    def cancel(self) -> None:
        """End it at the next field."""
        self._cancelled.set()

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Report progress."""
        if self._tell is not None:
            self._tell(stage, fraction)

    def run(
        self,
        model: ModelHandle,
        cache: EmbeddingCache,
        detector_of: DetectorOf | None,
        report: Report,
    ) -> Outcome:
        """Search; never raises."""
        self._tell = report
        predictor: Predictor | None = None
        try:
            predictor = model()
            self._ask(predictor, cache, detector_of)
        except EncodingStopped:
            pass
        except BaseException as error:
            return Outcome(predictor, error=error)
        return Outcome(predictor)

    def _ask(
        self, predictor: Predictor, cache: EmbeddingCache, detector_of: DetectorOf | None
    ) -> None:
        # Not before: these import scipy.
        from napari_sam3.inference.automatic.find import find_objects
        from napari_sam3.inference.similar.search import find_similar

        image = self.plane.image
        if self.settings is not None:
            self.found = find_objects(image, predictor, cache, self, self.settings)
            return
        detector = detector_of(predictor) if detector_of is not None else None
        if self.text is not None and detector is None:
            raise UnsupportedError(
                "the weights have no text encoder, so nothing can be found by name. Expected the "
                "released SAM 3; choose it under Model, or use 'Find similar' with an example."
            )
        learnt = learn_concept(self.examples, image, predictor, cache, self, detector)
        if learnt is None:
            return
        parts = [learnt] if self.concept is None else [self.concept, learnt]
        concept = Concept.joined([*parts, Concept(text=self.text)])
        self.found = find_similar(image, predictor, cache, self, concept, detector=detector)
        self.concept = concept
