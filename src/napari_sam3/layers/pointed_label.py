"""Commands on the label under the mouse, on its plane or on all: refine, delete, split, merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.masks import PlaneMask, is_same_object
from napari_sam3.core.planes import PlaneIndex
from napari_sam3.labels.edits import find_mask_of_label
from sam3.errors import Sam3Error

from .plane_source import PlaneKey

if TYPE_CHECKING:
    from napari_sam3.labels.targets import LabelTarget
    from napari_sam3.session.session import LabelingSession

    from .gestures import Place
    from .propagation import Propagation
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["PointedLabel", "WholeChange"]


@dataclass(frozen=True)
class WholeChange:
    """A change of a label on all its planes.

    Parameters
    ----------
    command : {"delete", "merge", "split"}
        The command.
    labels : tuple of int
        The label; after a merge the one that it became, after a split its new id, come first.
    planes : int
        Number of planes that changed.
    shared : int
        After a merge, the number of these that held both labels.
    """

    command: Literal["delete", "merge", "split"]
    labels: tuple[int, ...]
    planes: int
    shared: int = 0


class PointedLabel:
    """Commands on the label at a world position, by default under the mouse.

    Parameters
    ----------
    plane : ShownPlane
        The current plane.
    session : LabelingSession
        Runs the commands.
    propagation : Propagation
        Knows the planes that an object may be on.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    first : int or None
        The first label of a merge, into which the next one is merged.
    everywhere : bool
        Whether it was picked by the key that merges on all planes.
    merging_changed : Signal
        After the first label of a merge was picked, or the merge finished.
    changed_everywhere : Signal
        (WholeChange) after a label was changed on all its planes.
    """

    merging_changed = Signal()
    changed_everywhere = Signal(object)

    def __init__(
        self,
        plane: ShownPlane,
        session: LabelingSession,
        propagation: Propagation,
        reporting: Reporting,
    ) -> None:
        self._plane, self._session, self._guard = plane, session, reporting.guard
        self._propagation = propagation
        self.first: int | None = None
        self.everywhere = False
        # The plane on which the first label was picked, and its pixels there.
        self._noted: tuple[PlaneIndex, PlaneMask | None] = PlaneIndex(), None

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys, besides those of the binding."""
        whole = self.delete_everywhere, self.merge_everywhere, self.split_from_here
        return {command.__name__: command for command in whole}

    def refine(self, place: Place | None = None) -> None:
        """Reopen it as the current draft."""
        self._guard(lambda: self._session.reopen(self._plane.label_at(place, "refine")))

    def delete(self, place: Place | None = None) -> None:
        """Delete it from this plane."""
        self._guard(lambda: self._session.delete(self._plane.label_at(place, "delete")))

    def delete_everywhere(self, place: Place | None = None) -> None:
        """Delete it from all planes that have it."""

        def delete() -> None:
            label, planes = self._plane.label_at(place, "delete"), [self._plane.source.need()]
            with suppress(NothingThereError):  # there is one plane only
                planes, _ = self._whole(label)
            count = self._session.delete(label, self._targets(planes))
            self.changed_everywhere.emit(WholeChange("delete", (label,), count))

        self._guard(delete)

    def merge_everywhere(self, place: Place | None = None) -> None:
        """Pick it as the first label, or give it the id of the picked one on all planes."""

        def merge() -> None:
            label = self._plane.label_at(place, "merge")
            planes, _ = self._whole(label)
            if label == self.first:
                raise NothingThereError(
                    f"the first label of the merge again: {label}. Expected another one, on any "
                    'plane. Point at one, or press "Esc".'
                )
            first = self._picked_before(label, everywhere=True)
            if first is not None:
                counts = self._session.lineage.join(first, label, self._targets(planes))
                self.changed_everywhere.emit(WholeChange("merge", (first, label), *counts))

        self._guard(merge)

    def split_from_here(self, place: Place | None = None) -> None:
        """Give it a new id on this plane and all later ones."""

        def split() -> None:
            label, shown = self._plane.label_at(place, "split"), self._plane.source.need()
            planes, axis = self._whole(label)
            at = shown.other_axes.index(axis)
            before = [plane for plane in planes if plane.index[at] < shown.index[at]]
            after = [plane for plane in planes if plane.index[at] >= shown.index[at]]
            found = (find_mask_of_label(one, label) for one in self._targets(before[::-1]))
            if all(mask is None for mask in found):
                raise NothingThereError(
                    f"label {label} begins on this plane. Expected one that is on earlier planes "
                    "as well. Show the first plane of its second part."
                )
            new, count = self._session.lineage.split_off(label, self._targets(after))
            self.changed_everywhere.emit(WholeChange("split", (new, label), count))

        self._guard(split)

    def split(self, place: Place | None = None) -> None:
        """Split it at its waist."""
        self._guard(lambda: self._session.split(self._plane.label_at(place, "split")))

    def merge(self, place: Place | None = None) -> None:
        """Pick it as the first label, or merge it into the picked one."""

        def merge() -> None:
            label = self._plane.label_at(place, "merge")
            first = self._picked_before(label, everywhere=False)
            if first is not None and label != first:
                self._check_shown(first, label)
                self._session.merge([first, label])

        self._guard(merge)

    def _picked_before(self, label: int, *, everywhere: bool) -> int | None:
        """Return the first label of a merge, and forget it; without one, pick this label."""
        first, self.first = self.first, None
        if first is None:
            self.first, self.everywhere = label, everywhere
            self._noted = self._plane.source.need(), self._plane.pixels_of(label)
        self.merging_changed.emit()
        if first is not None and not self._is_still(first):
            raise LabelError(
                f"the first label of the merge was deleted or replaced: {first}. Expected the "
                "same object. Press the key on both objects again."
            )
        return first

    def cancel(self) -> bool:
        """Forget the label noted for merging; whether there was one."""
        noted, self.first = self.first is not None, None
        if noted:
            self.merging_changed.emit()
        return noted

    def under_mouse(self) -> int | None:
        """Return the accepted label under the mouse; None if there is none, or a mask over it."""
        try:
            label = self._plane.label_at(None, "classify")
        except (Sam3Error, NothingThereError):
            return None
        drafts = self._session.draft_set.drafts
        return None if any(draft.label == label for draft in drafts) else label

    def classify(self, label: int, category: str) -> None:
        """Give a label another class, on all planes on which it was accepted."""
        self._session.classifying.change(label, category, self._targets_of(label))

    def _targets_of(self, label: int) -> list[LabelTarget]:
        """Return the planes on which it was accepted or propagated, and the one that is shown."""
        objects = self._session.objects_in(self._plane.target.source)
        keys = [one.plane for one in objects if one.id == label]
        planes = [key.plane for key in keys if isinstance(key, PlaneKey)]
        return self._targets(dict.fromkeys([*planes, self._plane.source.need()]))

    def _targets(self, planes: Iterable[PlaneIndex]) -> list[LabelTarget]:
        return [self._plane.target_on(plane) for plane in planes]

    def _whole(self, label: int) -> tuple[list[PlaneIndex], int]:
        """Return all planes on which a label may be, in order, and the axis it is followed along.

        Those of a label that was made here are known. Raises NothingThereError for a single plane,
        and LabelError for a label that is being propagated.
        """
        if self._session.propagating.writes(label):
            raise LabelError(
                f"label {label} is still being propagated to more planes. Expected one that is "
                "complete. Wait, or stop the propagation."
            )
        planes, axis = self._propagation.planes_of_object()
        shown, source = self._plane.source.need(), self._plane.target.source
        keys = self._session.lineage.planes_of(source, label)
        known = {key.plane for key in keys or () if isinstance(key, PlaneKey)}
        if keys is not None and all(plane.axes == shown.axes for plane in known):
            planes = sorted({*known, shown}, key=lambda plane: plane.index)
        return planes, axis

    def _check_shown(self, first: int, label: int) -> None:
        """Raise LabelError if the first label of a merge is on another plane alone."""
        if self._plane.pixels_of(first) is None:
            raise LabelError(
                f"label {first} is not on this plane, where label {label} is. Expected two labels "
                "of one plane. To merge them on all planes, press Ctrl+Shift+J over both."
            )

    def _is_still(self, label: int) -> bool:
        """Whether a picked label is still the same object, on the plane on which it was picked."""
        plane, before = self._noted
        if before is None:
            return True
        now = find_mask_of_label(self._plane.target_on(plane), label)
        return now is not None and is_same_object(before, now)
