"""Searches for objects on the current plane, which become its candidates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from psygnal import Signal

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.masks import PlaneMask
from sam3.errors import Sam3Error

from .candidates import CandidateObject, CandidatePlane, Candidates
from .describing import Maker

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject, Instance
    from napari_sam3.inference.automatic.settings import AutomaticSettings
    from napari_sam3.inference.automatic.suppression import Found
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.similar.examples import Concept, Example
    from napari_sam3.labels.targets import LabelTarget

    from .drafts import DraftsByPlane
    from .events import SessionEvents
    from .jobs import Outcome, Plane, Submit
    from .objects import ObjectRegistry
    from .predictions import Predictions
    from .searches import DetectorOf, Search

__all__ = ["Finding"]

# A candidate whose area is labelled by more than this fraction is dropped.
_LABELLED = 0.5
# Initial minimum score of a search for everything, and of one by examples.
_EVERYTHING, _SIMILAR = 0.0, 0.5


class Finding:
    """Search the current plane for objects.

    Parameters
    ----------
    submit : Submit
        Runs searches.
    cache : EmbeddingCache
        Features of encoded fields.
    events : SessionEvents
        Emits changes of the plane.
    drafts : DraftsByPlane
        Current plane and its drafts.
    objects : ObjectRegistry
        Objects that serve as examples.
    predictions : Predictions
        Holds the model.
    candidates : Candidates
        Stores the results.

    Attributes
    ----------
    detector_of : callable, optional
        Called with the predictor, on the thread of `submit`; returns the concept detector of the
        same weights, or None.
    changed : Signal
        After the candidates, their threshold, or the running search changed.
    progress : Signal
        (fraction done, 0 to 1) during a search.
    ended : Signal
        (number of candidates shown, whether they are similar objects) after a search that was not
        cancelled.
    left : Signal
        After another plane was shown during a search, which ends it.
    failed : Signal
        (exception) after a search that failed.
    """

    changed = Signal()
    progress = Signal(float)
    ended = Signal(int, bool)
    left = Signal()
    failed = Signal(object)

    def __init__(
        self,
        submit: Submit,
        *,
        cache: EmbeddingCache,
        events: SessionEvents,
        drafts: DraftsByPlane,
        objects: ObjectRegistry,
        predictions: Predictions,
        candidates: Candidates,
    ) -> None:
        self._submit, self._cache, self._events = submit, cache, events
        self._drafts, self._objects = drafts, objects
        self._predictions, self._kept = predictions, candidates
        self.detector_of: DetectorOf | None = None
        self._concept: Concept | None = None
        self._search: Search | None = None
        events.plane_changed.connect(self._on_plane)
        candidates.changed.connect(self._on_candidates)

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        """Whether a search runs."""
        return self._search is not None

    @property
    def concept(self) -> Concept | None:
        """The last concept searched for; used on planes without examples."""
        return self._concept

    @property
    def candidates(self) -> tuple[CandidateObject, ...]:
        """All candidates of the plane, best first, including those filtered out."""
        return self._kept.on(self._drafts.key)

    @property
    def shown(self) -> tuple[CandidateObject, ...]:
        """Candidates of the plane that pass the filter, best first."""
        return self._kept.shown_on(self._drafts.key)

    @property
    def threshold(self) -> float:
        """Minimum score of the candidates shown, 0 to 1. Setting it does not run the model."""
        return self._kept.filter.min_score

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        self._kept.filter = replace(self._kept.filter, min_score=threshold)

    # --------------------------------------------------------------- commands

    def find_similar(
        self,
        examples: Sequence[Example] | None = None,
        text: str | None = None,
        concept: Concept | None = None,
    ) -> tuple[CandidateObject, ...]:
        """Find objects on the plane that resemble examples, or that match a text.

        Parameters
        ----------
        examples : sequence of Example, optional
            Examples on the plane. By default its accepted objects, its drafts with a mask, and
            the dropped candidates as negative examples.
        text : str, optional
            A short noun phrase, for weights with a text encoder.
        concept : Concept, optional
            Examples of other planes or images, from an earlier search; see `concept`.

        Returns
        -------
        tuple of CandidateObject
            The candidates shown, if `submit` runs at once; see `changed` otherwise.

        Raises
        ------
        sam3.errors.PromptError
            If there is no example and no text, or one is invalid.
        sam3.errors.Sam3Error
            Without a plane or model; with the default `submit`, any error of the search.
        """
        return self._start(self.similar_search(examples, text, concept))

    def similar_search(
        self,
        examples: Sequence[Example] | None = None,
        text: str | None = None,
        concept: Concept | None = None,
    ) -> Search:
        """Return the search of `find_similar`, which is not run."""
        plane = self._need_plane()
        chosen = list(self.examples()) if examples is None else list(examples)
        known = concept if concept is not None else self._concept
        if any(one.wanted for one in chosen) and concept is None:
            known = None  # examples on this plane are preferred
        if text is not None:
            from napari_sam3.inference.similar.examples import checked_text

            text = checked_text(text)
        if known is None and text is None and not any(one.wanted for one in chosen):
            raise NothingThereError(
                "no example to search by. Expected an accepted object, a mask or a box. Click on "
                "an object first."
            )
        from .searches import Search

        return Search(plane, tuple(chosen), known, text)

    def find_all(self, settings: AutomaticSettings | None = None) -> tuple[CandidateObject, ...]:
        """Find all objects of the plane, without examples; otherwise like `find_similar`."""
        from napari_sam3.inference.automatic.settings import AutomaticSettings

        from .searches import Search

        return self._start(Search(self._need_plane(), settings=settings or AutomaticSettings()))

    def examples(self) -> tuple[Example, ...]:
        """Return the positive and negative examples on the plane."""
        from napari_sam3.inference.similar.examples import Example

        plane = self._need_plane()
        found = [
            Example(mask)
            for accepted in self._objects.within(plane.labels.source)
            if accepted.plane == plane.key
            and not (mask := _pixels(plane.labels, accepted)).is_empty
        ]
        found += [Example(one.mask) for one in self._drafts.shown if not one.mask.is_empty]
        dropped = self._kept.dropped_on(plane.key)
        return (*found, *(Example(one.mask, wanted=False) for one in dropped))

    def offer(
        self,
        plane: CandidatePlane,
        found: Iterable[Found | Instance],
        min_score: float | None = None,
    ) -> tuple[CandidateObject, ...]:
        """Replace the candidates of any plane, without those that are labelled already.

        The parameters are those of `Candidates.put`, and so is the result.
        """
        news = [one for one in found if not _is_labelled(one, plane.labels)]
        return self._kept.put(plane, news, min_score)

    def at(self, row: float, column: float) -> CandidateObject | None:
        """Return the candidate shown at a pixel of the plane, the smallest of several."""
        return self._kept.at(self._drafts.key, row, column)

    def drop(self, candidate: CandidateObject) -> None:
        """Drop a candidate; it becomes a negative example of the next search."""
        self._kept.drop(candidate)

    def drop_all(self) -> None:
        """Drop all candidates, as one undo step; cancels a running search."""
        self.cancel()
        self._kept.drop_all()

    def accept(self) -> tuple[AcceptedObject, ...]:
        """Write all candidates shown into the labels, as one undo step; see `Candidates.accept`."""
        return self._kept.accept()

    def clear(self) -> None:
        """Remove all candidates and negative examples; cancels a running search."""
        self.cancel()
        self._kept.clear()

    def cancel(self) -> None:
        """Cancel the running search; candidates stay."""
        if self._search is not None:
            self._search.control.cancel()
            self._search = None
            self.changed.emit()

    # ----------------------------------------------------------------- inside

    def _need_plane(self) -> Plane:
        plane = self._drafts.plane
        if plane is None:
            raise Sam3Error(
                "no plane to search: None is shown. Expected a plane of an image. Choose an image, "
                "or call set_plane first."
            )
        self._predictions.need_model()
        return plane

    def _start(self, search: Search) -> tuple[CandidateObject, ...]:
        self.cancel()
        self._search = search
        self.changed.emit()
        model, cache, detector_of = self._predictions.need_model(), self._cache, self.detector_of
        self._submit(
            lambda report: search.run(model, cache, detector_of, report),
            lambda outcome: self._on_outcome(search, outcome),
            lambda _stage, share: self._on_progress(search, share),
        )
        if search.error is not None:
            raise search.error
        return self.shown

    def _on_progress(self, search: Search, share: float | None) -> None:
        if search is self._search and share is not None:
            self.progress.emit(share)

    def _on_outcome(self, search: Search, outcome: Outcome) -> None:
        if search is not self._search:
            return
        self._search = None
        if outcome.error is not None:
            search.error = outcome.error
            self.changed.emit()
            self.failed.emit(outcome.error)
            return
        if search.concept is not None:
            self._concept = search.concept
        similar, labels = search.settings is None, search.plane.labels
        maker = Maker() if outcome.predictor is None else Maker.of(outcome.predictor)
        place = CandidatePlane(search.plane.key, labels, maker, search.plane.image.rendering)
        self.offer(place, search.found or (), _SIMILAR if similar else _EVERYTHING)
        self.ended.emit(len(self.shown), similar)

    def _on_candidates(self) -> None:
        self.changed.emit()

    def _on_plane(self, _key: Hashable) -> None:
        searched = self.running
        self.cancel()
        self.changed.emit()
        if searched:
            self.left.emit()


class _HasBox(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def bbox(self) -> tuple[int, int, int, int]: ...


def _pixels(labels: LabelTarget, accepted: _HasBox) -> PlaneMask:
    """Return the pixels of an accepted object that are in the labels now."""
    y0, x0, y1, x1 = accepted.bbox
    return PlaneMask.from_array(labels.read((slice(y0, y1), slice(x0, x1))) == accepted.id, y0, x0)


def _is_labelled(candidate: Found | Instance, labels: LabelTarget) -> bool:
    there = np.count_nonzero(labels.read(candidate.mask.region)[candidate.mask.crop])
    return bool(there > _LABELLED * candidate.mask.area)
