"""Objects that are being made: their prompts and masks, plane by plane."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.drafts import Draft, DraftSet
from napari_sam3.inference.questions import ObjectPrediction
from sam3.errors import ImageError

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.rendering import PlaneImage

    from .events import SessionEvents
    from .jobs import Plane
    from .options import SessionOptions

__all__ = ["DraftsByPlane", "DraftsChange"]


@dataclass(frozen=True, eq=False)
class DraftsChange:
    """A change of the drafts of a plane, or of its current draft.

    Parameters
    ----------
    key : hashable
        Key of the plane.
    before, after : DraftSet
        All drafts of the plane.
    """

    key: Hashable
    before: DraftSet
    after: DraftSet

    @property
    def changed(self) -> tuple[int, ...]:
        """Numbers of drafts that were added, removed, or have other prompts."""
        numbers = dict.fromkeys(
            draft.number for draft_set in (self.before, self.after) for draft in draft_set.drafts
        )
        pairs = ((number, self.before.get(number), self.after.get(number)) for number in numbers)
        return tuple(
            number
            for number, old, new in pairs
            if old is None or new is None or old.prompts != new.prompts
        )


class DraftsByPlane:
    """The drafts of every plane with their masks, and the current plane.

    The single source of prompts: layers show it, and follow `drafts_changed`.

    Parameters
    ----------
    options : SessionOptions
        With a pinned level, masks of other levels are outdated.
    events : SessionEvents
        Emits changes of planes, prompts and masks.
    """

    def __init__(self, options: SessionOptions, events: SessionEvents) -> None:
        self._options, self._events = options, events
        self._draft_sets: dict[Hashable, DraftSet] = {}
        self._masks: dict[int, ObjectPrediction] = {}
        self._images: dict[Hashable, PlaneImage] = {}
        self._numbers = 0
        self._emitted: tuple[Hashable, ...] = (None, None)
        self.plane: Plane | None = None
        #: Pixels of reopened labels at that time, by the number of their draft.
        self.reopened: dict[int, PlaneMask] = {}

    # ------------------------------------------------------------------ planes

    @property
    def key(self) -> Hashable | None:
        """Key of the current plane."""
        return self.plane.key if self.plane else None

    def need_plane(self) -> Plane:
        """Return the current plane, or raise ImageError."""
        if self.plane is None:
            raise ImageError(
                "no image to work on. Expected a plane of an image. Open an image and choose it."
            )
        return self.plane

    def go_to(self, plane: Plane | None) -> None:
        """Change the current plane; masks of other pixels are dropped."""
        self.plane = plane
        if plane is not None and self._images.get(plane.key) is not plane.image:
            # The pixels changed, so known masks of the plane are outdated.
            for draft in self.here.drafts:
                self._masks.pop(draft.number, None)
            kept = {key: image for key, image in self._images.items() if key in self._draft_sets}
            self._images = {**kept, plane.key: plane.image}
        self._events.plane_changed.emit(self.key)
        self.emit_masks()

    # ------------------------------------------------------------------ drafts

    @property
    def here(self) -> DraftSet:
        """All drafts on the current plane."""
        return self.on(self.key)

    def on(self, key: Hashable) -> DraftSet:
        """Return all drafts on any plane."""
        return self._draft_sets.get(key, DraftSet())

    def all(self) -> dict[Hashable, DraftSet]:
        """Return the drafts of every plane that has any."""
        return dict(self._draft_sets)

    @property
    def next_number(self) -> int:
        """The number that the next new draft will have."""
        return self._numbers + 1

    def new_number(self) -> int:
        """Return a number for a new draft."""
        self._numbers += 1
        return self._numbers

    def put(self, key: Hashable, draft_set: DraftSet) -> None:
        """Replace all drafts of a plane, and emit a change, if any."""
        before = self.on(key)
        if draft_set.drafts:
            self._draft_sets[key] = draft_set
        else:
            self._draft_sets.pop(key, None)
            self._images.pop(key, None)
        if draft_set.same_as(before) and draft_set.current == before.current:
            return
        for draft in before.drafts:
            if draft_set.get(draft.number) is None:
                self._masks.pop(draft.number, None)
        try:
            self._events.drafts_changed.emit(DraftsChange(key, before, draft_set))
        finally:
            self._events.prompts_changed.emit(key)

    # ------------------------------------------------------------------- masks

    @property
    def known_masks(self) -> tuple[ObjectPrediction, ...]:
        """All masks that can be mask prompts of later turns."""
        return tuple(self._masks.values())

    def keep_masks(self, predictions: Iterable[ObjectPrediction]) -> None:
        """Store masks, each replacing the earlier one of its draft."""
        self._masks |= {one.draft.number: one for one in predictions}

    def forget_masks(self) -> None:
        """Drop all masks, as when the model changes."""
        self._masks.clear()

    def mask_of(self, draft: Draft) -> ObjectPrediction | None:
        """Return the mask of a draft if it belongs to its current prompts."""
        held = self._masks.get(draft.number)
        # A mask of another pinned level is outdated; an unchanged label has no level.
        current = held is not None and (not held.predicted or held.level == self._options.level)
        if held is not None and current and draft.same_as(held.draft):
            return held
        if draft.seed is not None and not draft.turns:
            self.keep_masks((ObjectPrediction.of_label(draft, draft.seed),))
            return self._masks[draft.number]
        return None

    def masks_of(self, draft_set: DraftSet) -> tuple[ObjectPrediction, ...]:
        """Return the masks of all drafts that have one for their current prompts."""
        found = (self.mask_of(draft) for draft in draft_set.drafts)
        return tuple(prediction for prediction in found if prediction is not None)

    def without_mask(self, draft_set: DraftSet) -> tuple[Draft, ...]:
        """Return the drafts with a target that have no mask yet."""
        drafts = (draft for draft in draft_set.drafts if draft.has_target)
        return tuple(draft for draft in drafts if self.mask_of(draft) is None)

    @property
    def current_mask(self) -> ObjectPrediction | None:
        """The mask of the current draft."""
        draft = self.here.draft
        return self.mask_of(draft) if draft is not None else None

    @property
    def shown(self) -> tuple[ObjectPrediction, ...]:
        """The masks to show: the last known one of each draft."""
        drafts = (draft for draft in self.here.drafts if draft.has_target)
        found = (self.mask_of(draft) or self._masks.get(draft.number) for draft in drafts)
        return tuple(prediction for prediction in found if prediction is not None)

    def at(self, row: float, column: float) -> Draft | None:
        """Return the draft whose mask, or else whose box, covers a pixel of the plane."""
        for prediction in self.shown:
            if prediction.mask.covers(row, column):
                return self.here.get(prediction.draft.number)
        for draft in self.here.drafts:
            box = draft.prompts.box
            if box is not None and box[0] <= column <= box[2] and box[1] <= row <= box[3]:
                return draft
        return None

    def emit_masks(self) -> None:
        """Emit the masks to show, if they changed."""
        shown = self.shown
        state = (*shown, self.here.current if len(shown) > 1 else None, self.key)
        before, self._emitted = self._emitted, state
        if len(state) != len(before) or any(
            a is not b and a != b for a, b in zip(state, before, strict=True)
        ):
            self._events.prediction_changed.emit(self.current_mask)
