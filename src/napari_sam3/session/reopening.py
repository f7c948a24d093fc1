"""Export the state of a session on one image for saving, and restore it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_sam3.core.drafts import Draft, DraftSet
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.operations import LabelWrite, Operation
from napari_sam3.labels.edits import Edit, LabelEdit
from napari_sam3.labels.targets import LabelTarget

from .history import History, Ours, Step
from .links import LinkEdit

if TYPE_CHECKING:
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.records.saved_session import (
        PlaneDrafts,
        SavedEdit,
        SavedLink,
        SavedSession,
        SavedStep,
    )

    from .drafts import DraftsByPlane

__all__ = ["Reopening", "SessionState"]

#: Maximum number of saved steps, the newest ones, and so of undo steps in an opened session.
MOST_STEPS = 200
#: Called with the saved key of a plane; returns its labels.
Targets = Callable[[Hashable], LabelTarget]


@dataclass(frozen=True, eq=False)
class SessionState:
    """State of a session on one image; see `SavedSession`."""

    objects: tuple[AcceptedObject, ...]
    present: tuple[int, ...]
    links: tuple[SavedLink, ...]
    drafts: tuple[PlaneDrafts, ...]
    steps: tuple[SavedStep, ...]
    start: str


class Reopening:
    """Export and restore the state of a session on one image.

    Parameters
    ----------
    drafts : DraftsByPlane
        Drafts of all planes.
    history : History
        The undo stack and the accepted objects.
    """

    def __init__(self, drafts: DraftsByPlane, history: History) -> None:
        self._drafts, self._history = drafts, history

    def state(self, ours: Ours, source: Hashable) -> SessionState:
        """Return an immutable snapshot of the state.

        Parameters
        ----------
        ours : callable
            Whether a step belongs to the image; see `LabelingSession.undo`.
        source : hashable
            Identity of its label image.
        """
        from napari_sam3.records.saved_session import PlaneDrafts, SavedLink

        pool = _Pool()
        present = pool.places(self._history.objects.within(source))
        done = [one for one in self._history.done if ours(one.key, one.source)]
        kept = [one for one in done if one.job is None][-MOST_STEPS:]
        batches: dict[Hashable, int] = {}
        steps = tuple(_saved_step(one, pool, batches) for one in kept)
        drafts = tuple(
            PlaneDrafts(key, draft_set)
            for key, draft_set in self._draft_sets().items()
            if ours(key, None) and draft_set.drafts
        )
        # If steps are omitted, the labels before the first saved one are unknown.
        start = self._history.starts.get(source, "") if len(done) == len(kept) else ""
        parents = self._history.links.within(source).items()
        links = tuple(SavedLink(child, (), of) for child, of in parents)
        return SessionState(tuple(pool.objects), present, links, drafts, steps, start)

    def _draft_sets(self) -> dict[Hashable, DraftSet]:
        """Return the drafts of each plane, with those that are accepted once their masks exist."""
        found = dict(self._drafts.all())
        for step in self._history.awaiting:
            for draft in step.before.drafts:
                now = found.get(step.key, DraftSet())
                found[step.key] = now if now.get(draft.number) else now.with_draft(draft)
        return found

    def reopen(self, saved: SavedSession, targets: Targets, *, steps: bool = True) -> None:
        """Restore a saved state, into labels that hold its pixels.

        Objects without pixels are omitted. Those with changed pixels are kept, and predicted
        again when they are refined.

        Parameters
        ----------
        saved : SavedSession
            From `read_saved_session`.
        targets : callable
            Called with the saved key of a plane; returns its labels.
        steps : bool
            Whether to restore the undo stack, which fits only the labels it was saved with.
        """
        back = _Restored(targets, self._drafts.new_number, self._history)
        pool = [back.object(accepted) for accepted in saved.objects]
        for at in saved.present:
            accepted, target = pool[at], targets(saved.objects[at].plane)
            mask = _mask_of(target, accepted)
            if mask is not None:
                self._history.objects.use_up(target, accepted.id)
                same = (mask.bbox, mask.area) == (accepted.bbox, accepted.area)
                self._history.objects.add(target.source, accepted, mask if same else None)
        if saved.links and saved.labels:
            source = targets(saved.labels[0].plane).source
            self._history.links.begin(source, {one.child: one.after for one in saved.links})
        if steps and saved.steps:
            if saved.start:
                self._history.starts[targets(saved.steps[0].key).source] = saved.start
            self._history.done += [back.step(one, pool) for one in saved.steps]
        for drafts in saved.drafts:
            self._drafts.put(targets(drafts.key).key, back.draft_set(drafts.hand))

    def forget(self, ours: Ours, source: Hashable) -> None:
        """Remove the state of a deleted image."""
        self._history.forget(ours, source)
        for key in [key for key in self._drafts.all() if ours(key, None)]:
            self._drafts.put(key, DraftSet())


class _Pool:
    """Unique objects and their indices."""

    def __init__(self) -> None:
        self.objects: list[AcceptedObject] = []
        self._places: dict[int, int] = {}

    def places(self, objects: Iterable[AcceptedObject]) -> tuple[int, ...]:
        return tuple(self._place(one) for one in objects)

    def _place(self, accepted: AcceptedObject) -> int:
        if id(accepted) not in self._places:
            self._places[id(accepted)] = len(self.objects)
            self.objects.append(accepted)
        return self._places[id(accepted)]


class _Restored:
    """Saved drafts, objects and steps with the keys and numbers of the open session."""

    def __init__(self, targets: Targets, new_number: Callable[[], int], history: History) -> None:
        self._targets, self._new_number, self._links = targets, new_number, history.links
        self._numbers: dict[int, int] = {}
        self._batches: dict[int, object] = {}

    def object(self, accepted: AcceptedObject) -> AcceptedObject:
        key = self._targets(accepted.plane).key
        return replace(accepted, plane=key, draft=self._draft(accepted.draft))

    def draft_set(self, draft_set: DraftSet) -> DraftSet:
        drafts = tuple(self._draft(draft) for draft in draft_set.drafts)
        return DraftSet(
            drafts, None if draft_set.current is None else self._number(draft_set.current)
        )

    def step(self, saved: SavedStep, pool: list[AcceptedObject]) -> Step:
        target = self._targets(saved.key)
        step = Step(target.key, self.draft_set(saved.before), self.draft_set(saved.after))
        step.edits = [
            self._links.known_edit(target.source, link.child, link.before, link.after)
            for link in saved.links
        ]
        step.edits += [edit for link in saved.edits for edit in self._edit(link)]
        step.added = [pool[at] for at in saved.added]
        step.removed = [pool[at] for at in saved.removed]
        step.fresh = set(saved.fresh)
        step.policy, step.category = saved.policy, saved.category
        step.source = target.source if saved.wrote else None
        if saved.origin is not None:
            step.origin = self._targets(saved.origin).key
        if saved.batch:
            step.batch = self._batches.setdefault(saved.batch, object())
        if saved.kind is not None:
            step.operation = Operation(
                saved.kind,
                target.key,
                tuple(pool[at] for at in saved.objects),
                saved.labels,
                saved.policy,
                tuple(self._write(write) for write in saved.writes),
            )
        return step

    def _edit(self, saved: SavedEdit) -> list[Edit]:
        target, region = self._targets(saved.before.plane), saved.before.region
        edit = LabelEdit.between(target, region, saved.after.values, saved.before.values)
        return [] if edit is None else [edit]

    def _write(self, write: LabelWrite) -> LabelWrite:
        from napari_sam3.records.packed import PackedWrite

        key = self._targets(write.plane).key
        if isinstance(write, PackedWrite):
            return PackedWrite(key, write.region, write.text)
        return LabelWrite(key, write.region, write.values)

    def _draft(self, draft: Draft) -> Draft:
        return replace(draft, number=self._number(draft.number))

    def _number(self, number: int) -> int:
        if number not in self._numbers:
            self._numbers[number] = self._new_number()
        return self._numbers[number]


def _saved_step(step: Step, pool: _Pool, batches: dict[Hashable, int]) -> SavedStep:
    from napari_sam3.records.saved_session import SavedEdit, SavedLink, SavedStep

    operation = step.operation
    batch = 0 if step.batch is None else batches.setdefault(step.batch, len(batches) + 1)
    edits = (SavedEdit(*pair) for edit in step.edits for pair in edit.sides())
    links = (
        SavedLink(edit.child, edit.before, edit.after)
        for edit in step.edits
        if isinstance(edit, LinkEdit)
    )
    values: dict[str, Any] = {"kind": None, "labels": (), "writes": (), "objects": ()}
    if operation is not None:
        values = {
            "kind": operation.kind,
            "labels": operation.labels,
            "writes": operation.writes,
            "objects": pool.places(operation.objects),
        }
    return SavedStep(
        key=step.key,
        before=step.before,
        after=step.after,
        wrote=step.source is not None,
        edits=tuple(edits),
        links=tuple(links),
        added=pool.places(step.added),
        removed=pool.places(step.removed),
        fresh=tuple(sorted(step.fresh)),
        policy=step.policy,
        category=step.category,
        batch=batch,
        origin=step.origin,
        **values,
    )


def _mask_of(target: LabelTarget, accepted: AcceptedObject) -> PlaneMask | None:
    """Return the current pixels of an object; None if there are none in its box."""
    y0, x0, y1, x1 = accepted.bbox
    height, width = target.shape
    if y1 > height or x1 > width:
        return None
    found = target.read((slice(y0, y1), slice(x0, x1))) == accepted.id
    return PlaneMask.from_array(found, y0, x0) if found.any() else None
