"""Candidates on a plane: objects that the model found, shown until they are accepted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from psygnal import Signal

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.objects import AcceptedObject, Instance
from napari_sam3.inference.automatic.settings import AutomaticSettings
from napari_sam3.inference.automatic.suppression import Found, paint_order
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.similar.examples import Concept, Example
from napari_sam3.labels.targets import LabelTarget
from sam3.errors import PromptError, Sam3Error

from .batch_results import BatchResults
from .drafts import DraftsByPlane
from .events import SessionEvents
from .jobs import Outcome, Plane, Submit
from .objects import ObjectRegistry
from .predictions import Predictions
from .searches import DetectorOf, Search

if TYPE_CHECKING:
    from sam3.predictor import Predictor

__all__ = ["Finding"]

# A candidate that lies on labels for more than this share of it was labelled before.
_LABELLED = 0.5
# What a search for everything shows at first, and what one for examples does.
_EVERYTHING, _SIMILAR = 0.0, 0.5


class Finding:
    """Find objects on the plane of a session, and keep them as candidates until they are accepted.

    Parameters
    ----------
    submit : Submit
        Runs searches, as it does predictions.
    cache : EmbeddingCache
        Features of fields already encoded.
    events : SessionEvents
        Tell of another plane, and are told that what was accepted is written.
    drafts : DraftsByPlane
        Give the plane, and objects not yet accepted.
    objects : ObjectRegistry
        Objects that serve as examples.
    predictions : Predictions
        Give the model.
    batch : BatchResults
        Writes what is accepted.

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
        batch: BatchResults,
    ) -> None:
        self._submit, self._cache, self._events = submit, cache, events
        self._drafts, self._objects = drafts, objects
        self._predictions, self._batch = predictions, batch
        self._predictor: Predictor | None = None
        self.detector_of: DetectorOf | None = None
        self._plane: Plane | None = None
        self._found: tuple[Found, ...] = ()
        self._threshold = _SIMILAR
        self._dropped: tuple[Found, ...] = ()
        self._concept: Concept | None = None
        self._search: Search | None = None
        events.plane_changed.connect(self._on_plane)

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
    def candidates(self) -> tuple[Found, ...]:
        """All candidates that are kept, the best first, those below the threshold as well."""
        return self._found

    @property
    def shown(self) -> tuple[Found, ...]:
        """Candidates that score at least the threshold, the best first."""
        return tuple(one for one in self._found if one.score >= self._threshold)

    @property
    def dropped(self) -> tuple[Found, ...]:
        """Candidates that were dropped: what the next search must not find."""
        return self._dropped

    @property
    def threshold(self) -> float:
        """Least score of the candidates shown, 0 to 1. Setting it asks the model nothing."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise PromptError(
                f"the least score is {threshold!r}. Expected a number from 0 to 1, such as 0.5."
            )
        if threshold != self._threshold:
            self._threshold = float(threshold)
            self.changed.emit()

    # --------------------------------------------------------------- commands

    def find_similar(
        self,
        examples: Sequence[Example] | None = None,
        text: str | None = None,
        concept: Concept | None = None,
    ) -> tuple[Found, ...]:
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
        tuple of Found
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

    def find_all(self, settings: AutomaticSettings | None = None) -> tuple[Found, ...]:
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
        return (*found, *(Example(one.mask, wanted=False) for one in self._dropped))

    def at(self, row: float, column: float) -> Found | None:
        """Return the candidate shown at a place of the plane, the smallest of several."""
        there = [one for one in self.shown if one.mask.covers(row, column)]
        return min(there, key=lambda one: one.mask.area, default=None)

    def drop(self, candidate: Found) -> None:
        """Drop a candidate; the next search takes it for an example of what is not wanted."""
        if candidate in self._found:
            self._found = tuple(one for one in self._found if one is not candidate)
            self._dropped = (*self._dropped, candidate)
            self.changed.emit()

    def accept(self) -> tuple[AcceptedObject, ...]:
        """Write all candidates shown into the labels, as one step that can be undone.

        Raises
        ------
        NothingThereError
            If none is shown.
        LabelError
            If the labels are gone or cannot hold the ids; nothing has changed then.
        """
        plane, chosen, predictor = self._plane, self.shown, self._predictor
        if plane is None or not chosen:
            raise NothingThereError(
                "there is no candidate to accept. Expected some from 'Find similar'; lower the "
                "least score, or search first."
            )
        assert predictor is not None, "it found the candidates"
        # Each is cut where a better one has the pixels already.
        painted = paint_order(chosen, AutomaticSettings(min_area=1))
        instances = [
            Instance(number, one.mask, float(one.score))
            for number, one in enumerate(painted, start=1)
        ]
        writing = self._batch.begin(plane.labels)
        written = self._batch.write(
            writing, plane.key, plane.labels, instances, predictor, plane.image.rendering
        )
        self._events.batch_ended.emit()
        self._put((), self._threshold)
        return written

    def clear(self) -> None:
        """Drop all candidates, and forget which were dropped; ends a search."""
        self.cancel()
        self._dropped = ()
        if self._found:
            self._put((), self._threshold)

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

    def _start(self, search: Search) -> tuple[Found, ...]:
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
        if outcome.predictor is not None:
            self._predictor = outcome.predictor
        if search.concept is not None:
            self._concept = search.concept
        self._plane = search.plane
        labels = search.plane.labels
        news = tuple(one for one in search.found or () if not _is_labelled(one, labels))
        similar = search.settings is None
        self._put(news, _SIMILAR if similar else _EVERYTHING)
        self.ended.emit(len(self.shown))

    def _put(self, found: tuple[Found, ...], threshold: float) -> None:
        self._found, self._threshold = found, threshold
        self.changed.emit()

    def _on_plane(self, _key: Hashable) -> None:
        self.cancel()
        self._dropped, self._plane = (), None
        if self._found:
            self._put((), self._threshold)


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
