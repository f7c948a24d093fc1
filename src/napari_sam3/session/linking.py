"""Link labels through the planes of a stack, as one undo step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from napari_sam3.core.errors import NothingThereError
from napari_sam3.core.operations import Operation
from napari_sam3.labels.edits import LabelEdit, find_mask_of_label
from napari_sam3.labels.targets import LabelTarget, check_id_fits

from .history import packed

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask, Region
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.labels.linking import Linked, LinkSettings

    from .changes import Changes
    from .drafts import DraftsByPlane
    from .history import History, Step
    from .stacks import PlaneStack

__all__ = ["Linking"]


class Linking:
    """Give labels of the same object one id on all planes of a stack.

    Parameters
    ----------
    changes : Changes
        Records the steps.
    drafts : DraftsByPlane
        Drafts; those of labels that get another id are dropped.
    history : History
        Registry of objects.

    Attributes
    ----------
    stack_of : callable, optional
        Called with an axis, or None for the default one; returns the planes along it. Set by a
        binding.
    """

    def __init__(self, changes: Changes, drafts: DraftsByPlane, history: History) -> None:
        self._changes, self._drafts, self._history = changes, drafts, history
        self.stack_of: Callable[[int | None], PlaneStack] | None = None

    def link(
        self,
        labels: Sequence[LabelTarget] | None = None,
        settings: LinkSettings | None = None,
        axis: int | None = None,
    ) -> Linked:
        """Link the labels of a stack through its planes. Can be undone.

        Parameters
        ----------
        labels : sequence of LabelTarget, optional
            The planes, in order; by default those of the image in the viewer.
        settings : LinkSettings, optional
            Criteria for the same object. Labels on too few planes are removed, except those of
            objects with prompts.
        axis : int, optional
            Axis of that image; by default the last hidden one.

        Returns
        -------
        Linked
            New labels by old ones.

        Raises
        ------
        NothingThereError
            If there is no stack, or it holds no label.
        LabelError
            If the labels were deleted or cannot hold an id; nothing has changed then.
        """
        from napari_sam3.labels.linking import link_planes

        if labels is None:
            if self.stack_of is None:
                raise NothingThereError(
                    "no stack is open. Expected an image of several planes. Open one, or give "
                    "its planes of labels."
                )
            labels = self.stack_of(axis).labels
        whole = [(slice(0, target.shape[0]), slice(0, target.shape[1])) for target in labels]
        pairs = list(zip(labels, whole, strict=True))
        linked = link_planes((target.read(region) for target, region in pairs), settings)
        if not linked.labels:
            raise NothingThereError(
                "the stack holds no label to link. Expected labels on several planes. Find "
                "objects first, such as with 'Find all objects' on all planes."
            )
        changed = [
            self._changed(target, ids) for target, ids in zip(labels, linked.planes, strict=True)
        ]
        for target, ids in zip(labels, changed, strict=True):
            check_id_fits(max(ids.values(), default=0), target.dtype)
        with self._changes.all_or_nothing():
            for target, ids in zip(labels, changed, strict=True):
                if ids:
                    self._relabel(target, ids)
        return linked

    def _changed(self, labels: LabelTarget, ids: Mapping[int, int]) -> dict[int, int]:
        """Return the changed labels; objects with prompts are not removed."""
        return {
            old: new
            for old, new in ids.items()
            if new != old and (new or not self._was_prompted(labels, old))
        }

    def _was_prompted(self, labels: LabelTarget, label: int) -> bool:
        known = self._history.objects.find(labels, label)
        return known is not None and bool(known.draft.turns)

    def _relabel(self, target: LabelTarget, ids: Mapping[int, int]) -> None:
        """Write other ids on a plane.

        To the history, objects that lose their id are deleted and written again under the new one.
        """
        from napari_sam3.labels.linking import relabel

        objects = self._history.objects
        known = objects.find_all(target, ids)
        region = slice(0, target.shape[0]), slice(0, target.shape[1])
        before = target.read(region)
        renamed = [self._renamed(target, one, ids[one.id]) for one in known if ids[one.id]]
        if known:
            gone = tuple(one.id for one in known)
            step = self._begin(target, gone)
            step.operation = Operation("delete", target.key, labels=gone)
            self._write(step, target, region, relabel(before, dict.fromkeys(gone, 0)))
            self._history.exchange(step, known, [])
            self._changes.finish(step, more=True)
        if not renamed and len(known) == len(ids):
            return
        step = self._begin(target, tuple(ids))
        self._write(step, target, region, relabel(before, ids))
        objects.use_up(target, max(ids.values()))
        self._history.exchange(step, [], renamed)
        step.operation = Operation(
            "batch" if renamed else "paint",
            target.key,
            objects=tuple(one for one, _ in renamed),
            policy="overwrite",
            writes=packed(step.writes()),
        )
        self._changes.finish(step, more=True)

    def _begin(self, target: LabelTarget, gone: tuple[int, ...]) -> Step:
        after = self._drafts.on(target.key)
        for draft in after.drafts:
            if draft.label in gone:
                after = after.without(draft.number)
        step = self._changes.begin(target.key, after)
        step.source, step.policy = target.source, "overwrite"
        return step

    @staticmethod
    def _write(step: Step, target: LabelTarget, region: Region, values: npt.NDArray[Any]) -> None:
        edit = LabelEdit.between(target, region, values)
        if edit is not None:
            step.apply(edit)

    def _renamed(
        self, target: LabelTarget, one: AcceptedObject, label: int
    ) -> tuple[AcceptedObject, PlaneMask | None]:
        """Describe an object under another id, with its pixels where these are as it was made."""
        mask = find_mask_of_label(target, one.id)
        same = mask is not None and self._history.objects.is_as_written(target, one.id, mask)
        named = replace(one, id=label, draft=replace(one.draft, label=label))
        return named, mask if same else None
