"""The events of a session, where its parts emit them and its users listen."""

from __future__ import annotations

from psygnal import Signal

__all__ = ["SessionEvents"]


class SessionEvents:
    """Events of a session, each also an attribute of the session itself.

    Attributes
    ----------
    plane_changed : Signal
        (key or None) after another plane was set.
    drafts_changed : Signal
        (DraftsChange) after the drafts on a plane, or their prompts, changed: which they were,
        and are.
    prompts_changed : Signal
        (key) after the drafts on a plane, or their prompts, changed.
    prediction_changed : Signal
        (ObjectPrediction or None) after masks of drafts changed; the current one's is passed.
    accepted : Signal
        (AcceptedObject) after an object was written.
    labels_changed : Signal
        (LabelChange) after labels were written, by a command, a person's stroke, undo or redo.
    batch_ended : Signal
        After the last plane of a batch was written.
    busy_changed : Signal
        (stage) "idle", "loading model", "encoding" or "predicting".
    progress_changed : Signal
        (stage, share done or None, seconds left or None) while there is something to wait for.
    failed : Signal
        (exception) after a prediction or a delayed accept went wrong.
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
