"""Assembly of the parts of a session.

    options, events
        drafts    prompts and masks by plane
        objects   accepted objects         history   the undo stack
            predictions   run the model    look_ahead   encode while it is idle
                changes   record steps, undo and redo them
                    prompting, accepting, curating, batch   the commands
                        candidates   found objects, until batch writes them
                            finding   search a plane for objects
                        propagating   propagate objects to other planes

A part receives those above it, and does not know those below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .accepting import Accepting
from .batch_results import BatchResults
from .candidates import Candidates
from .changes import Changes
from .classifying import Classifying
from .curating import Curating
from .drafts import DraftsByPlane
from .events import SessionEvents
from .finding import Finding
from .history import History
from .lineage import Lineage
from .linking import Linking
from .look_ahead import LookAhead
from .objects import ObjectRegistry
from .predictions import Predictions
from .prompting import Prompting
from .propagating import Propagating
from .reopening import Reopening
from .reviewing import Reviewing

if TYPE_CHECKING:
    from napari_sam3.inference.cache import EmbeddingCache
    from napari_sam3.inference.models import Loader
    from sam3.predictor import Predictor

    from .jobs import Submit
    from .options import SessionOptions

__all__ = ["SessionParts"]


@dataclass(frozen=True, eq=False)
class SessionParts:
    """The parts of a session; each is documented in its class."""

    options: SessionOptions
    events: SessionEvents
    drafts: DraftsByPlane
    objects: ObjectRegistry
    history: History
    predictions: Predictions
    look_ahead: LookAhead
    changes: Changes
    prompting: Prompting
    accepting: Accepting
    curating: Curating
    batch: BatchResults
    finding: Finding
    propagating: Propagating
    lineage: Lineage
    reopening: Reopening
    linking: Linking
    candidates: Candidates
    reviewing: Reviewing
    classifying: Classifying

    @classmethod
    def make(
        cls,
        model: Predictor | Loader | None,
        submit: Submit,
        cache: EmbeddingCache,
        options: SessionOptions,
    ) -> SessionParts:
        """Create all parts."""
        events = SessionEvents()
        drafts = DraftsByPlane(options, events)
        objects = ObjectRegistry()
        history = History(objects)
        predictions = Predictions(
            model,
            submit=submit,
            cache=cache,
            options=options,
            events=events,
            drafts=drafts,
            objects=objects,
        )
        look_ahead = LookAhead(options, drafts, objects, predictions)
        predictions.when_idle = look_ahead.advance
        changes = Changes(options, events, drafts, history, predictions)
        accepting = Accepting(changes, events, drafts, history, predictions)
        batch = BatchResults(options, changes, drafts, history)
        candidates = Candidates(events, batch, changes)
        finding = Finding(
            submit,
            cache=cache,
            events=events,
            drafts=drafts,
            objects=objects,
            predictions=predictions,
            candidates=candidates,
        )
        moved = options, submit, cache, events, drafts, history, predictions, look_ahead, changes
        propagating = Propagating(*moved, accepting)
        prompting = Prompting(options, changes, drafts, predictions)
        curating = Curating(options, changes, drafts, history, accepting)
        asking = predictions, look_ahead, changes, prompting, accepting, curating, batch
        lineage, reopening = Lineage(changes, drafts, history, curating), Reopening(drafts, history)
        linking = Linking(changes, drafts, history)
        more = finding, propagating, lineage, reopening, linking, candidates
        classifying = Classifying(changes, drafts, history, predictions)
        reviewing = Reviewing(objects, candidates)
        return cls(
            options, events, drafts, objects, history, *asking, *more, reviewing, classifying
        )

    def close(self) -> None:
        """Cancel all work and drop the features. No more events are emitted."""
        self.finding.clear()
        self.propagating.cancel()
        self.predictions.close()
        self.history.clear()
        self.drafts.plane = None
        self.drafts.forget_masks()
