"""Prediction of objects on the next plane, with memory or from the mask on the previous plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_sam3.core.fields import FieldOfView, choose_field, field_holds
from napari_sam3.core.masks import PlaneMask, iou_of
from napari_sam3.inference.answers import answer
from napari_sam3.inference.model_server import server_of
from napari_sam3.inference.questions import ObjectPrediction, Question

from .found import FoundMask, alike, joined
from .limits import box_draft, mask_draft
from .memories import has_memory
from .motion import moved

if TYPE_CHECKING:
    from napari_sam3.core.drafts import Draft
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.cache import Control, EmbeddingCache
    from sam3.model.memory import Memory
    from sam3.predictor import ImageFeatures, Predictor
    from sam3.tracking.session import TrackingSession

__all__ = ["Before", "Follower", "FoundMask", "MaskFollower", "MemoryFollower", "Shown"]
__all__ += ["follower_of"]

_FIELD_SHARE = 0.33  # maximum initial longer side of an object, as a fraction of the field's side


@dataclass(frozen=True, eq=False)
class Shown:
    """The masks from which a sweep of an object starts.

    Attributes
    ----------
    object_id : int
    masks : mapping of int to PlaneMask
        Non-empty masks on prompted planes; the sweep starts at the first one.
    """

    object_id: int
    masks: Mapping[int, PlaneMask]


@dataclass(frozen=True, eq=False)
class Before:
    """The last mask of an object that is followed.

    Attributes
    ----------
    mask : PlaneMask
    plane : int
        Index of its plane.
    stands_out : bool
        Whether the object has enough contrast with its surroundings to show where it is.
    in_time : bool
        Whether planes are points in time.
    """

    mask: PlaneMask
    plane: int
    stands_out: bool = False
    in_time: bool = False


class Follower(Protocol):
    """Predicts objects plane by plane."""

    def begin(self, shown: Shown) -> None:
        """Start to follow an object."""

    def step(
        self, index: int, plane: PlaneImage, before: Mapping[int, Before], *, reverse: bool
    ) -> dict[int, FoundMask] | None:
        """Predict objects on a plane from their last masks; None if the control is cancelled."""

    def end(self, object_id: int) -> None:
        """Stop following an object."""

    def close(self) -> None:
        """Stop following all objects, and free their memories."""


class MaskFollower:
    """Predict with the mask on the previous plane as the mask prompt.

    The mask is moved to where the pixels of the object went. An object that stands out is prompted
    by the box of the mask as well, by which masks keep to one of several that touch. Others, such
    as neurites, grow and bend out of their boxes from plane to plane: they are predicted from the
    mask and once more from the box, and the logits are averaged. In time, cells round off and
    spread, which the box would not let them: they are predicted from the mask alone, unless what is
    found is elsewhere.

    Parameters
    ----------
    predictor, cache, control
        As for :func:`napari_sam3.inference.answers.answer`.
    load : callable
        Called with the index of a plane; returns it. Planes of last masks are loaded again.
    """

    def __init__(
        self,
        predictor: Predictor,
        cache: EmbeddingCache,
        control: Control,
        load: Callable[[int], PlaneImage],
    ) -> None:
        self._predictor, self._cache, self._control = predictor, cache, control
        self._load = load

    def begin(self, shown: Shown) -> None:
        """Start to follow an object; does nothing."""

    def step(
        self, index: int, plane: PlaneImage, before: Mapping[int, Before], *, reverse: bool
    ) -> dict[int, FoundMask] | None:
        """Predict objects on a plane; see :class:`Follower`."""
        expected = {
            number: moved(last.mask, self._load(last.plane), plane)
            for number, last in before.items()
        }
        drafts = [
            mask_draft(number, mask, before[number].stands_out) for number, mask in expected.items()
        ]
        flat = [n for n, last in before.items() if not (last.stands_out or last.in_time)]
        drafts += [box_draft(number, expected[number]) for number in flat]
        found: dict[int, list[ObjectPrediction]] = {number: [] for number in before}
        if not self._predict(plane, drafts, found):
            return None
        # Where the mask agrees as well as this, the box could not agree twice as well.
        strayed = [
            number
            for number, last in before.items()
            if last.in_time and 2 * iou_of(found[number][0].mask, expected[number]) < 1
        ]
        drafts = [box_draft(number, expected[number]) for number in strayed]
        if drafts and not self._predict(plane, drafts, found):
            return None
        fill_area = self._predictor.config.fill_hole_area
        masks = {}
        for number, several in found.items():
            last, place = before[number], expected[number]
            kept = alike(several, place)[: 1 if last.in_time else None]
            masks[number] = joined(kept, place, fill_area, smooth=not last.stands_out)
        return masks

    def _predict(
        self,
        plane: PlaneImage,
        drafts: Sequence[Draft],
        found: Mapping[int, list[ObjectPrediction]],
    ) -> bool:
        """Append the predictions of drafts to those of their objects; False if cancelled."""
        question = Question(plane, tuple(drafts))
        answers = answer(question, self._predictor, self._cache, self._control)
        for one in answers or ():
            found[one.draft.number].append(one)
        return answers is not None

    def end(self, object_id: int) -> None:
        """Stop following an object; does nothing."""

    def close(self) -> None:
        """Stop following all objects; does nothing."""


@dataclass(eq=False)
class _Followed:
    """An object with its memories, in a field that is kept as long as it fits."""

    shown: Mapping[int, PlaneMask]
    region: FieldOfView
    session: TrackingSession = field(repr=False)


class MemoryFollower:
    """Predict objects from their memories, each in a field for its size.

    When an object leaves its field, tracking continues in a field around its last mask, in which
    that mask and the prompted ones are remembered again.

    Parameters
    ----------
    predictor, cache, control
        As for :func:`napari_sam3.inference.answers.answer`.
    memory : Memory
        Memory of the same weights.
    load : callable
        Called with the index of a plane; returns it. Prompted planes are loaded again.
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
        self, index: int, plane: PlaneImage, before: Mapping[int, Before], *, reverse: bool
    ) -> dict[int, FoundMask] | None:
        """Predict objects on a plane; see :class:`Follower`."""
        from sam3.runtime.cores import on_all_cores

        features: dict[FieldOfView, ImageFeatures] = {}
        for number, last in before.items():
            followed = self._objects[number]
            if not field_holds(followed.region, _MaskPlace(last.mask), plane.shape):
                self._move(number, last.mask)
            region = self._objects[number].region
            if region not in features:
                features[region] = self._encode(region, plane)
                if self._control.cancelled:
                    return None
        self._control.report("predicting")

        def follow(number: int) -> FoundMask:
            followed = self._objects[number]
            state = followed.session.step(
                index, lambda _: features[followed.region], reverse=reverse
            )[0]
            followed.session.forget(index)
            return self._found(followed, state)

        numbers = list(before)
        results = on_all_cores(follow, numbers)
        self._last = dict.fromkeys(numbers, (index, plane))
        return dict(zip(numbers, results, strict=True))

    def end(self, object_id: int) -> None:
        """Stop following an object."""
        self._objects.pop(object_id, None)
        self._last.pop(object_id, None)

    def close(self) -> None:
        """Stop following all objects, and free their memories."""
        self._objects.clear()
        self._last.clear()

    def _found(self, followed: _Followed, found: object) -> FoundMask:
        from sam3.preprocess.mask_output import empty_masks, write_masks
        from sam3.tracking.steps import ObjectOnFrame

        assert isinstance(found, ObjectOnFrame)
        size = followed.region.encoded_shape
        masks = empty_masks((1, 1), size, "crops")
        low = found.logits[None].cpu()
        write_masks(masks, low, low.numpy(), size, kind="crops",
                    fill_area=self._predictor.config.fill_hole_area)  # fmt: skip
        crop = masks[0, 0]
        mask = followed.region.paste(crop.pixels, crop.row, crop.column).without_islands([])
        return FoundMask(mask, float(found.iou), float(found.object_logit))

    def _field(self, mask: PlaneMask, shape: tuple[int, int]) -> FieldOfView:
        return choose_field(shape, _MaskPlace(mask, 1 / _FIELD_SHARE), self._predictor.config)

    def _encode(self, region: FieldOfView, plane: PlaneImage) -> ImageFeatures:
        return self._cache.encode_field(region, plane, self._predictor, self._control)

    def _move(self, number: int, mask: PlaneMask) -> None:
        """Continue in a field around the last mask."""
        followed = self._objects[number]
        if number not in self._last:  # no other field fits the prompted mask better
            return
        index, plane = self._last[number]
        region = self._field(mask, plane.shape)
        if region == followed.region:
            return
        masks = {i: m for i, m in followed.shown.items() if _inside(m, region)}
        session = self._remember(region, masks | {index: mask})
        self._objects[number] = _Followed(followed.shown, region, session)

    def _remember(self, region: FieldOfView, masks: Mapping[int, PlaneMask]) -> TrackingSession:
        """Encode the memories of the masks within a field, each on its own plane."""
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
    """Return a follower that uses the memory if there is one; see :class:`MemoryFollower`."""
    server = server_of(predictor)
    if server is not None and has_memory(predictor):
        follower: Follower = server.follower(control, load, length)
        return follower
    if memory is None:
        return MaskFollower(predictor, cache, control, load)
    return MemoryFollower(predictor, cache, control, memory, load, length)


@dataclass(frozen=True)
class _MaskPlace:
    """Bounds and extent of a mask, for the choice of a field."""

    mask: PlaneMask
    slack: float = 1.0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in px."""
        row, column, row_stop, column_stop = self.mask.bbox
        return column, row, column_stop - 1, row_stop - 1

    @property
    def extent(self) -> float | None:
        """Longer side that decides the field."""
        return 0.45 * self.slack * float(max(self.mask.crop.shape))


def _inside(mask: PlaneMask, region: FieldOfView) -> bool:
    row, column, row_stop, column_stop = mask.bbox
    (top, bottom), (left, right) = region.rows, region.columns
    return row >= top and column >= left and row_stop <= bottom and column_stop <= right
