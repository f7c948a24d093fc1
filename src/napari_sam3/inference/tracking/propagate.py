"""Objects propagated through planes, from prompts on any of them to where they end.

::

    plane     0  1  2  3  4  5  6  7  8  9
    prompts            P           P           two prompts of an object
    sweeps    <--------|---> <-----|------->   each plane from the nearer one
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import Question
from sam3.errors import ImageError, PromptError

from .ending import EndRules, Trail
from .followers import Follower, MaskFollower, MemoryFollower, Shown

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.cache import Control
    from sam3.model.memory import Memory
    from sam3.predictor import Predictor

__all__ = ["Direction", "ObjectPrompt", "PropagatedMask", "affected", "propagate"]

Direction = Literal["forward", "backward", "both"]
_CACHE_BYTES = 256_000_000


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """An object on one plane: prompts, or its mask.

    Attributes
    ----------
    plane : int
        Index of the plane, from 0.
    object_id : int
        Any number that names the object.
    prompts : PromptSet, optional
        Clicks, a box, or both.
    mask : PlaneMask, optional
        The object itself, as it was accepted or corrected; with prompts as well, the mask counts.
    """

    plane: int
    object_id: int
    prompts: PromptSet | None = None
    mask: PlaneMask | None = None


@dataclass(frozen=True, eq=False)
class PropagatedMask:
    """An object on a plane.

    Attributes
    ----------
    plane, object_id : int
    mask : PlaneMask
        Empty on planes where it is not.
    score : float
        Predicted IoU.
    ended : str
        Why it ends before this plane; "" where it does not.
    prompted : bool
        Whether the plane has a prompt of the object.
    """

    plane: int
    object_id: int
    mask: PlaneMask
    score: float
    ended: str = ""
    prompted: bool = False


def affected(prompted: Collection[int], plane: int, length: int) -> range:
    """Return the planes whose masks of an object depend on its prompt on a plane.

    Parameters
    ----------
    prompted : collection of int
        All planes with a prompt of the object.
    plane : int
        The one that was added, changed or is to be removed.
    length : int
        Number of planes.
    """
    before = max((other for other in prompted if other < plane), default=-1)
    after = min((other for other in prompted if other > plane), default=length)
    return range(before + 1, after)


def propagate(
    planes: Sequence[PlaneImage],
    prompts: Iterable[ObjectPrompt],
    predictor: Predictor,
    *,
    memory: Memory | None = None,
    direction: Direction = "both",
    rules: EndRules | None = None,
    only: range | None = None,
    cache: EmbeddingCache | None = None,
    control: Control | None = None,
) -> Iterator[PropagatedMask]:
    """Propagate objects from plane to plane, each as if it were alone.

    Prompted planes come first, in ascending order; then planes in ascending order, then in
    descending order, each at most once for each object. Planes are read when their turn comes;
    memory does not grow with their number. The iterator can be left at any moment.

    Parameters
    ----------
    planes : sequence of PlaneImage
        Of one shape; any sequence that reads or opens a plane when it is indexed.
    prompts : iterable of ObjectPrompt
        At most one for each object and plane. Between two prompts of an object each plane is
        found from the nearer one; the other is remembered as well.
    predictor : Predictor
        The model.
    memory : Memory, optional
        Of the same weights, from :func:`sam3.weights.memory.load_memory`. Without one, each plane
        is found from the mask on the plane before.
    direction : {"forward", "backward", "both"}
        Towards the last plane, towards the first, or both.
    rules : EndRules, optional
        Where objects end.
    only : range, optional
        Planes wanted, such as those that :func:`affected` names after a correction.
    cache, control
        As for :func:`napari_sam3.inference.answers.answer`; once the control is cancelled, nothing
        more is yielded.

    Yields
    ------
    PropagatedMask
        Of an object that ends, one with an empty mask and the reason comes last.

    Raises
    ------
    PromptError
        If there is no prompt, one is empty, double, or outside the planes.
    ImageError
        If a plane with a prompt cannot be read; at the end, if another could not, naming all of
        these. They are passed over.
    """
    given = _by_object(prompts, len(planes))
    if direction not in ("forward", "backward", "both"):
        raise PromptError(
            f"unknown direction: {direction!r}. Expected 'forward', 'backward' or 'both'."
        )
    run = _Propagation(
        planes,
        predictor,
        memory,
        rules or EndRules.calibrated(),
        cache if cache is not None else EmbeddingCache(_CACHE_BYTES),
        control if control is not None else _Uncontrolled(),
    )
    return run.masks(given, direction, only if only is not None else range(len(planes)))


class _Uncontrolled:
    """A control that never stops anything."""

    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Take no notice."""


@dataclass(eq=False)
class _Propagation:
    """One call of :func:`propagate`."""

    planes: Sequence[PlaneImage]
    predictor: Predictor
    memory: Memory | None
    rules: EndRules
    cache: EmbeddingCache
    control: Control
    failures: dict[int, ImageError] = field(default_factory=dict)

    def masks(
        self, given: Mapping[int, Mapping[int, ObjectPrompt]], direction: Direction, only: range
    ) -> Iterator[PropagatedMask]:
        shown: dict[int, dict[int, tuple[PlaneMask, float]]] = {number: {} for number in given}
        for index in sorted({index for one in given.values() for index in one}):
            asked = [one[index] for one in given.values() if index in one]
            found = self._prompted(index, asked)
            if found is None:
                return
            for number, (mask, score) in found.items():
                shown[number][index] = mask, score
                if index in only:
                    yield PropagatedMask(
                        index, number, mask, score, "" if mask.area else "nothing was found", True
                    )
        for reverse in (False, True):
            if direction in ("both", "backward" if reverse else "forward"):
                yield from self._sweep(shown, reverse, direction == "both", only)
        if self.failures and not self.control.cancelled:
            raise _unreadable(self.failures)

    def _prompted(
        self, index: int, asked: Sequence[ObjectPrompt]
    ) -> dict[int, tuple[PlaneMask, float]] | None:
        """Return masks and scores of objects on a plane with prompts; None once cancelled."""
        found = {one.object_id: (one.mask, 1.0) for one in asked if one.mask is not None}
        drafts = tuple(
            Draft(one.object_id, (Turn(one.prompts),))
            for one in asked
            if one.mask is None and one.prompts is not None
        )
        if drafts:
            question = Question(self._load(index), drafts)
            answers = answer(question, self.predictor, self.cache, self.control)
            if answers is None:
                return None
            found |= {one.draft.number: (one.mask, one.score) for one in answers}
        return None if self.control.cancelled else found

    def _sweep(
        self,
        shown: Mapping[int, Mapping[int, tuple[PlaneMask, float]]],
        reverse: bool,
        halves: bool,
        only: range,
    ) -> Iterator[PropagatedMask]:
        """Follow all objects in one direction."""
        starts = _starts(shown, len(self.planes), reverse, halves, only)
        follower = self._follower()
        trails: dict[int, Trail] = {}
        stops: dict[int, int] = {}
        order = range(len(self.planes))
        for index in reversed(order) if reverse else order:
            active = [n for n in trails if index != stops[n]]
            for number in [n for n in trails if n not in active]:
                follower.end(number)
                del trails[number]
            if active:
                found = self._step(follower, index, {n: trails[n] for n in active}, reverse)
                if found is None:
                    return
                for result in found:
                    if result.ended:
                        follower.end(result.object_id)
                        del trails[result.object_id]
                    if result.plane in only:
                        yield result
            for number, stop, masks in starts.get(index, ()):
                follower.begin(Shown(number, masks))
                if self.control.cancelled:
                    return
                trails[number] = Trail(masks[index], self._load(index), self.rules)
                stops[number] = stop

    def _step(
        self, follower: Follower, index: int, trails: Mapping[int, Trail], reverse: bool
    ) -> list[PropagatedMask] | None:
        """Follow objects to a plane; None once cancelled."""
        try:
            plane = self._load(index)
            before = {number: trail.mask for number, trail in trails.items()}
            found = follower.step(index, plane, before, reverse=reverse)
        except ImageError as error:
            self.failures[index] = error
            return []
        if found is None or self.control.cancelled:
            return None
        results = []
        for number, one in found.items():
            mask, ended = trails[number].judge(one, plane)
            results.append(PropagatedMask(index, number, mask, one.score, ended))
        return results

    def _load(self, index: int) -> PlaneImage:
        try:
            return self.planes[index]
        except ImageError:
            raise
        except Exception as error:  # any reader, with errors of any kind
            raise ImageError(
                f"plane {index} cannot be read: {error}. Check its file, or leave the plane out."
            ) from error

    def _follower(self) -> Follower:
        if self.memory is None:
            return MaskFollower(self.predictor, self.cache, self.control)
        return MemoryFollower(
            self.predictor, self.cache, self.control, self.memory, self._load, len(self.planes)
        )


_Start = tuple[int, int, dict[int, PlaneMask]]


def _starts(
    shown: Mapping[int, Mapping[int, tuple[PlaneMask, float]]],
    length: int,
    reverse: bool,
    halves: bool,
    only: range,
) -> dict[int, list[_Start]]:
    """Return by plane which objects start there: their ids, where they stop, and their masks.

    A sweep stops before the next prompt, or half way to it where another one comes from there.
    """
    starts: dict[int, list[_Start]] = {}
    step = -1 if reverse else 1
    end = -1 if reverse else length
    for number, masks in shown.items():
        for index in masks:
            if masks[index][0].is_empty:
                continue
            beyond = [other for other in masks if (other - index) * step > 0]
            following = min(beyond, key=lambda other: abs(other - index), default=None)
            stop = end if following is None else following
            if following is not None and halves:
                middle = (index + following) // 2  # the plane half way belongs to the lower prompt
                stop = middle if reverse else middle + 1
            wanted = range(min(index + step, stop - step), max(index + step, stop - step) + 1)
            if stop == index + step or not set(wanted) & set(only):
                continue
            kept = {index: masks[index][0]}
            if following is not None and not masks[following][0].is_empty:
                kept[following] = masks[following][0]
            starts.setdefault(index, []).append((number, stop, kept))
    return starts


def _by_object(prompts: Iterable[ObjectPrompt], length: int) -> dict[int, dict[int, ObjectPrompt]]:
    given: dict[int, dict[int, ObjectPrompt]] = {}
    for one in prompts:
        where = f"the prompt of object {one.object_id} on plane {one.plane}"
        if not 0 <= one.plane < length:
            raise PromptError(f"{where} is outside the stack. Expected a plane 0 to {length - 1}.")
        empty = one.mask.is_empty if one.mask is not None else (
            one.prompts is None or not one.prompts.has_target
        )  # fmt: skip
        if empty:
            raise PromptError(f"{where} is empty. Expected a foreground click, a box or a mask.")
        planes = given.setdefault(one.object_id, {})
        if one.plane in planes:
            raise PromptError(f"{where} is given twice. Expected one. Put its prompts together.")
        planes[one.plane] = one
    if not given:
        raise PromptError("no prompt: 0 given. Expected at least 1. Click on an object first.")
    return given


def _unreadable(failures: Mapping[int, ImageError]) -> ImageError:
    listing = "; ".join(str(failures[index]).split(". ")[0] for index in sorted(failures)[:5])
    more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
    return ImageError(
        f"{len(failures)} planes were passed over: {listing}{more}. Expected readable planes. "
        "Check them, or fill the gaps by hand."
    )
