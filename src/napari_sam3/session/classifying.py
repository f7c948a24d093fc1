"""The class of an accepted object, changed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft
from napari_sam3.core.errors import LabelError
from napari_sam3.core.operations import LabelWrite, Operation
from napari_sam3.core.rendering import Rendering
from napari_sam3.labels.edits import find_mask_of_label

from .describing import describe_written
from .history import packed

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.labels.targets import LabelTarget

    from .changes import Changes
    from .drafts import DraftsByPlane
    from .history import History, Step
    from .predictions import Predictions

    #: A step, the objects that it removes, and those that it adds, with their pixels.
    _Prepared = tuple[Step, list[AcceptedObject], list[tuple[AcceptedObject, PlaneMask | None]]]

__all__ = ["Classifying"]


class Classifying:
    """Changes the class of objects; pixels and ids stay.

    Parameters
    ----------
    changes : Changes
        Takes the steps.
    drafts : DraftsByPlane
        Give numbers to objects that came from elsewhere.
    history : History
        Knows the objects.
    predictions : Predictions
        Has the model, which objects from elsewhere are noted with.
    """

    def __init__(
        self, changes: Changes, drafts: DraftsByPlane, history: History, predictions: Predictions
    ) -> None:
        self._changes, self._drafts = changes, drafts
        self._history, self._predictions = history, predictions

    def change(self, label: int, category: str, planes: Sequence[LabelTarget]) -> bool:
        """Give a label another class on all planes that have it. One step for undo.

        Parameters
        ----------
        label : int
            Its id.
        category : str
            The class.
        planes : sequence of LabelTarget
            Planes of one label image on which it may be.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        LabelError
            If an object from elsewhere is to get a class before there is a model; nothing has
            changed then, as with other errors.
        """
        # All planes are read before the first is changed, so that an error leaves no trace.
        targets = {target.key: target for target in planes}.values()
        steps = [one for target in targets if (one := self._prepared(target, label, category))]
        with self._changes.all_or_nothing():
            for step, gone, added in steps:
                self._history.exchange(step, gone, added)
                self._changes.finish(step)
        return bool(steps)

    def _prepared(self, target: LabelTarget, label: int, category: str) -> _Prepared | None:
        """Return the step of a plane, with the objects to replace; None if it changes nothing."""
        objects = self._history.objects
        mask, known = find_mask_of_label(target, label), objects.find(target, label)
        if mask is None or (known is not None and known.category == category):
            return None
        changed = self._changed(target, label, mask, category, known)
        as_written = known is None or objects.is_as_written(target, label, mask)
        step = self._changes.begin(target.key)
        step.source, step.policy = target.source, "overwrite"
        as_is = LabelWrite(target.key, mask.region, target.read(mask.region))
        step.operation = Operation(
            "batch",
            target.key,
            objects=(changed,),
            policy="overwrite",
            writes=packed([as_is]),
        )
        return step, [] if known is None else [known], [(changed, mask if as_written else None)]

    def _changed(
        self,
        target: LabelTarget,
        label: int,
        mask: PlaneMask,
        category: str,
        known: AcceptedObject | None,
    ) -> AcceptedObject:
        if known is not None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            return replace(known, category=category, time=now)
        predictor = self._predictions.predictor
        if predictor is None:
            raise LabelError(
                f"no model to note label {label} with. Expected a loaded model. Press the key "
                "again in a moment."
            )
        draft = Draft(self._drafts.new_number(), seed=mask)
        return describe_written(
            label,
            target.key,
            mask.bbox,
            mask.area,
            1.0,
            draft,
            predictor,
            Rendering(),
            category=category,
        )
