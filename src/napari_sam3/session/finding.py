"""Searches of the plane of a session: what they find becomes its candidates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from psygnal import Signal

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import Found
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.similar.examples import Concept, Example
from napari_sam3.labels.targets import LabelTarget
from sam3.errors import PromptError, Sam3Error

from .candidates import CandidateObject, CandidatePlane, Candidates
from .describing import Maker
from .drafts import DraftsByPlane
from .events import SessionEvents
from .jobs import Outcome, Plane, Submit
from .objects import ObjectRegistry
from .predictions import Predictions
from .searches import DetectorOf, Search

__all__ = ["Finding"]

# A candidate that lies on labels for more than this share of it was labelled before.
_LABELLED = 0.5
# What a search for everything shows at first, and what one for examples does.
_EVERYTHING, _SIMILAR = 0.0, 0.5


class Finding:
    """Find objects on the plane of a session.

    Parameters
    ----------
    submit : Submit
        Runs searches, as it does predictions.
    cache : EmbeddingCache
        Features of fields already encoded.
    events : SessionEvents
        Tell of another plane.
    drafts : DraftsByPlane
        Give the plane, and objects not yet accepted.
    objects : ObjectRegistry
        Objects that serve as examples.
    predictions : Predictions
        Give the model.
    candidates : Candidates
        Keeps what is found.

    Attributes
    ----------
    detector_of : callable, optional
        Called with the predictor, on the thread of `submit`; returns the concept detector of the
        same weights, or None.
    changed : Signal
        After candidates, their threshold, or whether a search runs changed.
    progress : Signal
        (share done, 0 to 1) during a search.
    ended : Signal
        (number of candidates shown) after a search that was not cancelled.
    failed : Signal
        (exception) after a search that went wrong.
    """

    changed = Signal()
    progress = Signal(float)
    ended = Signal(int)
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
        candidates.changed.connect(self.changed.emit)

    # ------------------------------------------------------------------ state

    @property
    def running(self) -> bool:
        """Whether a search runs."""
        return self._search is not None

    @property
    def concept(self) -> Concept | None:
        """What was searched for last; it serves on planes that have no example of their own."""
        return self._concept

    @property
    def candidates(self) -> tuple[CandidateObject, ...]:
        """All candidates of the plane, the best first, those filtered out as well."""
        return self._kept.on(self._drafts.key)

    @property
    def shown(self) -> tuple[CandidateObject, ...]:
        """Candidates of the plane that pass the filter, the best first."""
        return self._kept.shown_on(self._drafts.key)

    @property
    def threshold(self) -> float:
        """Least score of the candidates shown, 0 to 1. Setting it asks the model nothing."""
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
        """Find everything on the plane that resembles examples, or that a text names.

        Parameters
        ----------
        examples : sequence of Example, optional
            On the plane. By default the objects accepted there, those not yet accepted that have
            a mask, and as unwanted ones the candidates that were dropped.
        text : str, optional
            A short noun phrase, for weights with a text encoder.
        concept : Concept, optional
            Examples of other planes or images, from an earlier search: see `concept`.

        Returns
        -------
        tuple of CandidateObject
            The candidates shown, if the search ran at once; see `changed` otherwise.

        Raises
        ------
        sam3.errors.PromptError
            If there is no example and no text, or one is wrong.
        sam3.errors.Sam3Error
            If there is no plane or model; with the default `submit`, whatever went wrong.
        """
        plane = self._need_plane()
        chosen = list(self.examples()) if examples is None else list(examples)
        known = concept if concept is not None else self._concept
        if any(one.wanted for one in chosen) and concept is None:
            known = None  # examples on this plane say it best
        if text is not None:
            text = _checked_text(text)
        if known is None and text is None and not any(one.wanted for one in chosen):
            raise NothingThereError(
                "there is no example to search by. Expected an accepted object, a mask or a box; "
                "click on an object first."
            )
        return self._start(Search(plane, tuple(chosen), known, text))

    def find_all(self, settings: AutomaticSettings | None = None) -> tuple[CandidateObject, ...]:
        """Find all objects of the plane, without any example; else as `find_similar`."""
        return self._start(Search(self._need_plane(), settings=settings or AutomaticSettings()))

    def examples(self) -> tuple[Example, ...]:
        """Return what is shown on the plane of what is wanted, and of what is not."""
        plane = self._need_plane()
        found = [
            Example(mask)
            for one in self._objects.within(plane.labels.source)
            if one.plane == plane.key and not (mask := _pixels(plane.labels, one)).is_empty
        ]
        found += [Example(one.mask) for one in self._drafts.shown if not one.mask.is_empty]
        dropped = self._kept.dropped_on(plane.key)
        return (*found, *(Example(one.mask, wanted=False) for one in dropped))

    def at(self, row: float, column: float) -> CandidateObject | None:
        """Return the candidate shown at a place of the plane, the smallest of several."""
        return self._kept.at(self._drafts.key, row, column)

    def drop(self, candidate: CandidateObject) -> None:
        """Drop a candidate; the next search takes it for an example of what is not wanted."""
        self._kept.drop(candidate)

    def accept(self) -> tuple[AcceptedObject, ...]:
        """Write all candidates shown into the labels, as one step; see `Candidates.accept`."""
        return self._kept.accept()

    def clear(self) -> None:
        """Drop all candidates, and forget which were dropped; ends a search."""
        self.cancel()
        self._kept.clear()

    def cancel(self) -> None:
        """End the search that runs; candidates stay."""
        if self._search is not None:
            self._search.cancel()
            self._search = None
            self.changed.emit()

    # ----------------------------------------------------------------- inside

    def _need_plane(self) -> Plane:
        plane = self._drafts.plane
        if plane is None:
            raise Sam3Error("no plane of an image is shown; choose an image, or call set_plane")
        if self._predictions.model is None:
            raise Sam3Error("no model is set; choose one, or call set_predictor first")
        return plane

    def _start(self, search: Search) -> tuple[CandidateObject, ...]:
        self.cancel()
        self._search = search
        self.changed.emit()
        model, cache, detector_of = self._predictions.model, self._cache, self.detector_of
        assert model is not None
        self._submit(
            lambda report: search.run(model, cache, detector_of, report),
            lambda outcome: self._take(search, outcome),
            lambda _stage, share: self._hear(search, share),
        )
        if search.error is not None:
            raise search.error
        return self.shown

    def _hear(self, search: Search, share: float | None) -> None:
        if search is self._search and share is not None:
            self.progress.emit(share)

    def _take(self, search: Search, outcome: Outcome) -> None:
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
        labels = search.plane.labels
        news = tuple(one for one in search.found or () if not _is_labelled(one, labels))
        similar = search.settings is None
        maker = Maker() if outcome.predictor is None else Maker.of(outcome.predictor)
        place = CandidatePlane(search.plane.key, labels, maker, search.plane.image.rendering)
        self._kept.put(place, news, _SIMILAR if similar else _EVERYTHING)
        self.ended.emit(len(self.shown))

    def _on_plane(self, _key: Hashable) -> None:
        self.cancel()
        self.changed.emit()


class _HasBox(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def bbox(self) -> tuple[int, int, int, int]: ...


def _pixels(labels: LabelTarget, one: _HasBox) -> PlaneMask:
    """Return what of an accepted object is in the labels now."""
    y0, x0, y1, x1 = one.bbox
    return PlaneMask.from_array(labels.read((slice(y0, y1), slice(x0, x1))) == one.id, y0, x0)


def _is_labelled(one: Found, labels: LabelTarget) -> bool:
    there = np.count_nonzero(labels.read(one.mask.region)[one.mask.crop])
    return bool(there > _LABELLED * one.mask.area)


def _checked_text(text: str) -> str:
    if not text.strip():
        raise PromptError(
            f"the name is blank: {text!r}. Expected a short noun phrase such as 'nucleus'; type "
            "one."
        )
    return text.strip()
