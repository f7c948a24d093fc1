"""Commands on the label under the mouse: refine, delete, split, merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam3.core.errors import LabelError, NothingThereError
from napari_sam3.core.masks import PlaneMask, is_same_object
from sam3.errors import Sam3Error

from .plane_source import PlaneKey

if TYPE_CHECKING:
    from napari_sam3.core.planes import PlaneIndex
    from napari_sam3.labels.targets import LabelTarget
    from napari_sam3.session.session import LabelingSession

    from .gestures import Place
    from .reporting import Reporting
    from .shown_plane import ShownPlane

__all__ = ["PointedLabel"]


class PointedLabel:
    """Commands on the label at a world position, by default under the mouse.

    Parameters
    ----------
    plane : ShownPlane
        The current plane.
    session : LabelingSession
        Runs the commands.
    reporting : Reporting
        Reports errors.

    Attributes
    ----------
    first : int or None
        The first label of a merge, into which the next one is merged.
    merging_changed : Signal
        After the first label of a merge was picked, or the merge finished.
    """

    merging_changed = Signal()

    def __init__(self, plane: ShownPlane, session: LabelingSession, reporting: Reporting) -> None:
        self._plane, self._session, self._guard = plane, session, reporting.guard
        self.first: int | None = None
        # The plane on which the first label was picked, and its pixels there.
        self._noted: tuple[PlaneIndex | None, PlaneMask | None] = None, None

    @property
    def commands(self) -> Mapping[str, Callable[[], object]]:
        """Commands of keys, besides those of the binding."""
        return {"delete_everywhere": self.delete_everywhere}

    def refine(self, place: Place | None = None) -> None:
        """Reopen it as the current draft."""
        self._guard(lambda: self._session.reopen(self._plane.label_at(place, "refine")))

    def delete(self, place: Place | None = None) -> None:
        """Delete it from this plane."""
        self._guard(lambda: self._session.delete(self._plane.label_at(place, "delete")))

    def delete_everywhere(self, place: Place | None = None) -> None:
        """Delete it from all planes on which it is known to be.

        A label of another tool is looked for along the axis of propagation.
        """

        def delete() -> None:
            label = self._plane.label_at(place, "delete")
            targets, stack_of = self._targets_of(label), self._session.propagating.stack_of
            if len(targets) == 1 and stack_of is not None:
                with suppress(NothingThereError):  # there is one plane only
                    targets = list(stack_of(None).labels)
            self._session.delete(label, targets)

        self._guard(delete)

    def split(self, place: Place | None = None) -> None:
        """Split it at its waist."""
        self._guard(lambda: self._session.split(self._plane.label_at(place, "split")))

    def merge(self, place: Place | None = None) -> None:
        """Pick it as the first label, or merge it into the picked one."""

        def merge() -> None:
            label, (first, self.first) = self._plane.label_at(place, "merge"), (self.first, None)
            if first is None:
                self.first = label
                self._noted = self._plane.index, self._plane.pixels_of(label)
            elif not self._is_still(first):
                self.merging_changed.emit()
                raise LabelError(
                    f"the first label of the merge was deleted or replaced: {first}. Expected the "
                    "same object. Press the key on both objects again."
                )
            elif label != first:
                self._check_shown(first, label)
                self._session.merge([first, label])
            self.merging_changed.emit()

        self._guard(merge)

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
        targets: list[LabelTarget] = [
            self._plane.target_on(plane) for plane in dict.fromkeys(planes)
        ]
        shown = self._plane.target
        if shown.key not in [one.key for one in targets]:
            targets.append(shown)
        return targets

    def _check_shown(self, first: int, label: int) -> None:
        """Raise LabelError if the first label of a merge is on another plane alone."""
        if self._plane.pixels_of(first) is None:
            self.merging_changed.emit()
            raise LabelError(
                f"label {first} is not on this plane, where label {label} is. Expected two labels "
                f"of one plane. To join them, give label {label} the id {first} by napari's fill "
                "bucket, with all axes as 'n edit dim' and 'contiguous' off."
            )

    def _is_still(self, label: int) -> bool:
        """Whether a picked label is still the same object, judged by the current plane."""
        plane, before = self._noted
        if plane != self._plane.index or before is None:
            return True
        now = self._plane.pixels_of(label)
        return now is not None and is_same_object(before, now)
