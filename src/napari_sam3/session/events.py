"""Events of a session, emitted by its parts."""

from __future__ import annotations

from psygnal import Signal

__all__ = ["SessionEvents"]


class SessionEvents:
    """Events of a session; each is also an attribute of the session.

    Attributes
    ----------
    plane_changed : Signal
        (key or None) after the current plane changed.
    drafts_changed : Signal
        (DraftsChange) after the drafts on a plane, or their prompts, changed.
    prompts_changed : Signal
        (key) after the drafts on a plane, or their prompts, changed.
    prediction_changed : Signal
        (ObjectPrediction or None) after masks of drafts changed; the mask of the current draft.
    accepted : Signal
        (AcceptedObject) after an object was written.
    labels_changed : Signal
        (LabelChange) after labels were written, by a command, a brush stroke, undo or redo.
    batch_ended : Signal
        After the last plane of a batch was written.
    busy_changed : Signal
        (stage) "idle", "loading model", "encoding" or "predicting".
    progress_changed : Signal
        (stage, fraction done or None, seconds left or None) while work runs.
    failed : Signal
        (exception) after a prediction or a delayed accept failed.
    """

    plane_changed = Signal(object)
    drafts_changed = Signal(object)
    prompts_changed = Signal(object)
    prediction_changed = Signal(object)
    accepted = Signal(object)
    labels_changed = Signal(object)
    batch_ended = Signal()
    busy_changed = Signal(str)
    progress_changed = Signal(str, object, object)
    failed = Signal(object)
