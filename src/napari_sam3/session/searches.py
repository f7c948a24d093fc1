"""A search for objects on a plane, run on a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam3.images.plane_image import check_values
from napari_sam3.inference.automatic.parts import Part
from napari_sam3.inference.cache import EmbeddingCache, EncodingStopped
from napari_sam3.inference.similar.examples import Concept, Example, learn_concept
from sam3.errors import UnsupportedError

from .jobs import Outcome, Plane, Report
from .work_control import WorkControl

if TYPE_CHECKING:
    from napari_sam3.inference.automatic.settings import AutomaticSettings
    from napari_sam3.inference.automatic.suppression import Found
    from napari_sam3.inference.models import ModelHandle
    from sam3.concepts.detector import Detector
    from sam3.predictor import Predictor

__all__ = ["DetectorOf", "Search"]

#: Called with a predictor; returns its concept detector, or None if its weights have none.
DetectorOf = Callable[["Predictor"], "Detector | None"]
# Share of the progress of a search that is due to its examples.
_LEARNT = 0.25


@dataclass(eq=False)
class Search:
    """One search and its result. Runs on the thread of `submit`.

    Parameters
    ----------
    plane : Plane
        Plane to search.
    examples : tuple of Example
        Examples on that plane.
    concept : Concept, optional
        Examples of other planes; after the search, all examples used.
    text : str, optional
        Name of the objects.
    settings : AutomaticSettings, optional
        If given, find everything with these settings, without examples.
    found : tuple of Found, optional
        Candidates; None before the end, or if cancelled.
    error : BaseException, optional
        The error, if the search failed.
    control : WorkControl
        Cancels the search.
    """

    plane: Plane
    examples: tuple[Example, ...] = ()
    concept: Concept | None = None
    text: str | None = None
    settings: AutomaticSettings | None = None
    found: tuple[Found, ...] | None = None
    error: BaseException | None = None
    control: WorkControl = field(default_factory=WorkControl)

    def run(
        self,
        model: ModelHandle,
        cache: EmbeddingCache,
        detector_of: DetectorOf | None,
        report: Report,
    ) -> Outcome:
        """Search; never raises."""
        self.control.report_to(report)
        predictor: Predictor | None = None
        try:
            predictor = model()
            self._find(predictor, cache, detector_of)
            check_values(self.plane.image)
        except EncodingStopped:
            pass
        except BaseException as error:
            return Outcome(predictor, error=error)
        return Outcome(predictor)

    def _find(
        self, predictor: Predictor, cache: EmbeddingCache, detector_of: DetectorOf | None
    ) -> None:
        # Imported late, since these import scipy.
        from napari_sam3.inference.automatic.find import find_objects
        from napari_sam3.inference.similar.search import NO_TEXT, find_similar

        image = self.plane.image
        if self.settings is not None:
            self.found = find_objects(image, predictor, cache, self.control, self.settings)
            return
        detector = detector_of(predictor) if detector_of is not None else None
        if self.text is not None and detector is None:
            raise UnsupportedError(NO_TEXT)
        concept = self.learn(predictor, cache, detector)
        if concept is None:
            return
        rest = Part(self.control, _LEARNT, 1 - _LEARNT)
        self.found = find_similar(image, predictor, cache, rest, concept, detector=detector)
        self.concept = concept

    def learn(
        self, predictor: Predictor, cache: EmbeddingCache, detector: Detector | None
    ) -> Concept | None:
        """Return the concept of all examples and the text; None if cancelled."""
        examples, image = self.examples, self.plane.image
        control = Part(self.control, 0, _LEARNT)
        learnt = learn_concept(examples, image, predictor, cache, control, detector)
        if learnt is None:
            return None
        parts = [learnt] if self.concept is None else [self.concept, learnt]
        return Concept.joined([*parts, Concept(text=self.text)])
