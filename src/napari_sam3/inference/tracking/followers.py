"""Two ways to find objects on the next plane: by memory, or by the mask on the plane before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sam3.core.fields import FieldOfView, choose_field, field_holds
from napari_sam3.core.masks import PlaneMask
from napari_sam3.inference.answers import answer
from napari_sam3.inference.elsewhere import elsewhere
from napari_sam3.inference.questions import Question

from .limits import mask_draft

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.cache import Control, EmbeddingCache
    from sam3.model.memory import Memory
    from sam3.predictor import ImageFeatures, Predictor
    from sam3.tracking.session import TrackingSession

__all__ = ["Follower", "FoundMask", "MaskFollower", "MemoryFollower", "Shown"]
__all__ += ["follower_of"]

_FIELD_SHARE = 0.33  # of a field's side that an object's longer side takes at most, at first


@dataclass(frozen=True, eq=False)
class FoundMask:
    """An object on a plane, as the model sees it.

    Attributes
    ----------
    mask : PlaneMask
        May be empty.
    score : float
        Predicted IoU.
    presence : float, optional
        The tracker's object score, a logit; None where there is no tracker.
    """

    mask: PlaneMask
    score: float
    presence: float | None = None


@dataclass(frozen=True, eq=False)
class Shown:
    """What a sweep of an object starts from.

    Attributes
    ----------
    object_id : int
    masks : mapping of int to PlaneMask
        Masks on prompted planes, none of them empty: the one at which the sweep starts first.
    """

    object_id: int
    masks: Mapping[int, PlaneMask]


class Follower(Protocol):
    """Finds objects on one plane after the other."""

    def begin(self, shown: Shown) -> None:
        """Start to follow an object."""

    def step(
        self,
        index: int,
        plane: PlaneImage,
        before: Mapping[int, PlaneMask],
        *,
        reverse: bool,
    ) -> dict[int, FoundMask] | None:
        """Find objects on a plane, given their last masks; None once the control is cancelled."""

    def end(self, object_id: int) -> None:
        """Forget an object."""


class MaskFollower:
    """Show the model the mask before, as a mask prompt on the next plane.

    Parameters
    ----------
    predictor, cache, control
        As for :func:`napari_sam3.inference.answers.answer`.
    """

    def __init__(self, predictor: Predictor, cache: EmbeddingCache, control: Control) -> None:
        self._predictor, self._cache, self._control = predictor, cache, control

    def begin(self, shown: Shown) -> None:
        """Start to follow an object: nothing to do."""

    def step(
        self,
        index: int,
        plane: PlaneImage,
        before: Mapping[int, PlaneMask],
        *,
        reverse: bool,
    ) -> dict[int, FoundMask] | None:
        """Find objects on a plane; see :class:`Follower`."""
        drafts = tuple(mask_draft(number, mask) for number, mask in before.items())
        question = Question(plane, drafts)
        found = answer(question, self._predictor, self._cache, self._control)
        if found is None:
            return None
        return {one.draft.number: FoundMask(one.mask, one.score) for one in found}

    def end(self, object_id: int) -> None:
        """Forget an object: nothing to do."""


@dataclass(eq=False)
class _Followed:
    """An object with what is remembered of it, in a field that stays as long as it fits."""

    shown: Mapping[int, PlaneMask]
    region: FieldOfView
    session: TrackingSession = field(repr=False)


class MemoryFollower:
    """Recall an object by its memories, each object in a field of its own size.

    Where an object leaves its field, a field around its last mask takes over; that mask and those
    shown are then remembered anew.

    Parameters
    ----------
    predictor, cache, control
        As for :func:`napari_sam3.inference.answers.answer`.
    memory : Memory
        Of the same weights.
    load : callable
        Called with the index of a plane, returns it. It is called for prompted planes again.
    length : int
        Number of planes.
    """

    def __init__(
        self,
        predictor: Predictor,
        cache: EmbeddingCache,
        control: Control,
        memory: Memory,
        load: Callable[[int], PlaneImage],
        length: int,
    ) -> None:
        from sam3.tracking.steps import TrackingSteps

        self._predictor, self._cache, self._control = predictor, cache, control
        self._steps = TrackingSteps(predictor, memory)
        self._load, self._length = load, length
        self._objects: dict[int, _Followed] = {}
        self._last: dict[int, tuple[int, PlaneImage]] = {}

    def begin(self, shown: Shown) -> None:
        """Start to follow an object, in a field around the first of its masks."""
        first = next(iter(shown.masks))
        plane = self._load(first)
        region = self._field(shown.masks[first], plane.shape)
        session = self._remember(region, shown.masks)
        self._objects[shown.object_id] = _Followed(shown.masks, region, session)

    def step(
        self,
        index: int,
        plane: PlaneImage,
        before: Mapping[int, PlaneMask],
        *,
        reverse: bool,
    ) -> dict[int, FoundMask] | None:
        """Find objects on a plane; see :class:`Follower`."""
        from sam3.runtime.cores import on_all_cores

        features: dict[FieldOfView, ImageFeatures] = {}
        for number, mask in before.items():
            followed = self._objects[number]
            if not field_holds(followed.region, _MaskPlace(mask), plane.shape):
                self._move(number, mask)
            region = self._objects[number].region
            if region not in features:
                features[region] = self._encode(region, plane)
                if self._control.cancelled:
                    return None
        self._control.report("predicting")

        def follow(number: int) -> FoundMask:
            one = self._objects[number]
            found = one.session.step(index, lambda _: features[one.region], reverse=reverse)[0]
            one.session.forget(index)
            return self._found(one, found)

        numbers = list(before)
        results = on_all_cores(follow, numbers)
        self._last = dict.fromkeys(numbers, (index, plane))
        return dict(zip(numbers, results, strict=True))

    def end(self, object_id: int) -> None:
        """Forget an object."""
        self._objects.pop(object_id, None)
        self._last.pop(object_id, None)

    def _found(self, one: _Followed, found: object) -> FoundMask:
        from sam3.preprocess.mask_output import empty_masks, write_masks
        from sam3.tracking.steps import ObjectOnFrame

        assert isinstance(found, ObjectOnFrame)
        size = one.region.encoded_shape
        masks = empty_masks((1, 1), size, "crops")
        low = found.logits[None].cpu()
        write_masks(masks, low, low.numpy(), size, kind="crops",
                    fill_area=self._predictor.config.fill_hole_area)  # fmt: skip
        crop = masks[0, 0]
        mask = one.region.paste(crop.pixels, crop.row, crop.column).without_islands([])
        return FoundMask(mask, float(found.iou), float(found.object_logit))

    def _field(self, mask: PlaneMask, shape: tuple[int, int]) -> FieldOfView:
        return choose_field(shape, _MaskPlace(mask, 1 / _FIELD_SHARE), self._predictor.config)

    def _encode(self, region: FieldOfView, plane: PlaneImage) -> ImageFeatures:
        return self._cache.encode_field(region, plane, self._predictor, self._control)

    def _move(self, number: int, mask: PlaneMask) -> None:
        """Go on in a field around the last mask."""
        followed = self._objects[number]
        if number not in self._last:  # the shown mask itself does not fit its field any better
            return
        index, plane = self._last[number]
        region = self._field(mask, plane.shape)
        if region == followed.region:
            return
        masks = {i: m for i, m in followed.shown.items() if _inside(m, region)}
        session = self._remember(region, masks | {index: mask})
        self._objects[number] = _Followed(followed.shown, region, session)

    def _remember(self, region: FieldOfView, masks: Mapping[int, PlaneMask]) -> TrackingSession:
        """Show masks that lie in a field, each on its own plane."""
        import torch

        from sam3.tracking.session import TrackingSession

        session = TrackingSession(self._steps, self._length)
        for index, mask in masks.items():
            if not _inside(mask, region):
                continue
            features = self._encode(region, self._load(index))
            drawn = mask.within((slice(*region.rows), slice(*region.columns)))
            padded = np.pad(drawn, (region.pad_rows, region.pad_columns))
            session.draw(index, 0, features, torch.from_numpy(padded).float())
            session.commit(lambda _, features=features: features)  # type: ignore[misc]
        return session


def follower_of(
    predictor: Predictor,
    cache: EmbeddingCache,
    control: Control,
    memory: Memory | None,
    load: Callable[[int], PlaneImage],
    length: int,
) -> Follower:
    """Return a follower that uses the memory, where there is one; see :class:`MemoryFollower`."""
    there = elsewhere(predictor)
    if there is not None and predictor.config.memory is not None:
        follower: Follower = there.follower(control, load, length)
        return follower
    if memory is None:
        return MaskFollower(predictor, cache, control)
    return MemoryFollower(predictor, cache, control, memory, load, length)


@dataclass(frozen=True)
class _MaskPlace:
    """Where a mask is, for the choice of a field."""

    mask: PlaneMask
    slack: float = 1.0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in px."""
        row, column, row_stop, column_stop = self.mask.bbox
        return column, row, column_stop - 1, row_stop - 1

    @property
    def extent(self) -> float | None:
        """Longer side that the field is chosen by."""
        return 0.45 * self.slack * float(max(self.mask.crop.shape))


def _inside(mask: PlaneMask, region: FieldOfView) -> bool:
    row, column, row_stop, column_stop = mask.bbox
    (top, bottom), (left, right) = region.rows, region.columns
    return row >= top and column >= left and row_stop <= bottom and column_stop <= right
