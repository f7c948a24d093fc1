"""Propagation of objects through planes, from prompts on any of them to where they end.

::

    plane     0  1  2  3  4  5  6  7  8  9
    prompts            P           P           two prompts of an object
    sweeps    <--------|---> <-----|------->   each plane from the nearest prompt
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from napari_sam3.core.drafts import Draft, Turn
from napari_sam3.core.masks import PlaneMask
from napari_sam3.core.prompts import PromptSet
from napari_sam3.inference.answers import answer
from napari_sam3.inference.cache import EmbeddingCache
from napari_sam3.inference.questions import Question
from sam3.errors import ImageError, PromptError

from .ending import EndRules
from .followers import follower_of
from .sweeps import PropagatedMask, Sweep, affected, loader

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage
    from napari_sam3.inference.cache import Control
    from sam3.model.memory import Memory
    from sam3.predictor import Predictor

__all__ = ["Direction", "ObjectPrompt", "PassedOverError", "PlaneMasks", "PropagatedMask"]
__all__ += ["affected", "propagate", "propagate_planes"]

Direction = Literal["forward", "backward", "both"]
#: Planes to predict, by object; None for all.
Only = Mapping[int, Collection[int]] | None
_CACHE_BYTES = 256_000_000
_NOTHING = "nothing was found"


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """Prompts or mask of an object on one plane.

    Attributes
    ----------
    plane : int
        Index of the plane, from 0.
    object_id : int
        Any number that identifies the object.
    prompts : PromptSet, optional
        Clicks, a box, or both.
    mask : PlaneMask, optional
        Accepted or corrected mask of the object; it takes precedence over prompts.
    """

    plane: int
    object_id: int
    prompts: PromptSet | None = None
    mask: PlaneMask | None = None


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
    """Propagate objects from plane to plane.

    An object ends on a plane where another one is shown in its place. Without a memory, pixels that
    two objects claim go to the one that was there on the plane before.
    Prompted planes come first, in ascending order; then planes in ascending order, then in
    descending order, each at most once per object. Planes are read lazily, and memory use does
    not grow with their number. The iterator can be closed at any time.

    Parameters
    ----------
    planes : sequence of PlaneImage
        Planes of one shape; any sequence that reads a plane when indexed.
    prompts : iterable of ObjectPrompt
        At most one per object and plane. Between two prompts of an object, each plane is
        predicted from the nearer one; the other one is remembered as well.
    predictor : Predictor
        The model.
    memory : Memory, optional
        Memory of the same weights, from :func:`sam3.weights.memory.load_memory`. Without one,
        each plane is predicted from the mask on the previous plane.
    direction : {"forward", "backward", "both"}
        Towards the last plane, towards the first, or both.
    rules : EndRules, optional
        Rules for where objects end.
    only : range, optional
        Planes to predict, such as those of :func:`affected` after a correction.
    cache, control
        As for :func:`napari_sam3.inference.answers.answer`; iteration stops when the control is
        cancelled.

    Yields
    ------
    PropagatedMask
        Masks; the last one of an object that ends is empty, with the reason.

    Raises
    ------
    PromptError
        If there is no prompt, or one is empty, duplicate, or outside the planes.
    ImageError
        If a plane with a prompt cannot be read.
    PassedOverError
        At the end, with all other planes that could not be read.
    """
    results = propagate_planes(
        planes,
        prompts,
        predictor,
        memory=memory,
        direction=direction,
        rules=rules,
        only=only,
        cache=cache,
        control=control,
    )
    return (mask for result in results for mask in result.masks)


def propagate_planes(
    planes: Sequence[PlaneImage],
    prompts: Iterable[ObjectPrompt],
    predictor: Predictor,
    *,
    memory: Memory | None = None,
    direction: Direction = "both",
    rules: EndRules | None = None,
    only: range | Mapping[int, Collection[int]] | None = None,
    cache: EmbeddingCache | None = None,
    control: Control | None = None,
) -> Iterator[PlaneMasks]:
    """Propagate objects as :func:`propagate` does, and yield the masks of each plane together.

    Parameters
    ----------
    planes, prompts, predictor, memory, direction, rules, cache, control
        As for :func:`propagate`.
    only : range, or mapping of int to collection of int, optional
        Planes to predict, for all objects or by object.

    Yields
    ------
    PlaneMasks
        One per plane; without masks for planes that could not be read.
    """
    prompts_by_object = _by_object(prompts, len(planes))
    if direction not in ("forward", "backward", "both"):
        raise PromptError(
            f"unknown direction: {direction!r}. Expected 'forward', 'backward' or 'both'. Choose "
            "one."
        )
    run = _Propagation(
        planes,
        predictor,
        memory,
        rules or EndRules.calibrated(),
        cache if cache is not None else EmbeddingCache(_CACHE_BYTES),
        control if control is not None else _Uncontrolled(),
    )
    if isinstance(only, range):
        only = dict.fromkeys(prompts_by_object, only)
    return run.run(prompts_by_object, direction, only)


class _Uncontrolled:
    """A control that is never cancelled."""

    cancelled = abandoned = False

    def report(self, stage: str, fraction: float | None = None) -> None:
        """Ignore progress."""


@dataclass(frozen=True, eq=False)
class PlaneMasks:
    """The masks of a plane.

    Attributes
    ----------
    plane : int
        Index of the plane.
    masks : tuple of PropagatedMask
        Empty if the plane could not be read.
    done, each : float
        Fraction of the planes done, 0 to 1, and that of one plane.
    """

    plane: int
    masks: tuple[PropagatedMask, ...]
    done: float = 0.0
    each: float = 0.0


@dataclass(eq=False)
class _Propagation:
    """One call of :func:`propagate_planes`."""

    planes: Sequence[PlaneImage]
    predictor: Predictor
    memory: Memory | None
    rules: EndRules
    cache: EmbeddingCache
    control: Control
    failures: dict[int, ImageError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._load = lru_cache(2)(loader(self.planes))  # a plane and the one before

    def run(
        self,
        prompts: Mapping[int, Mapping[int, ObjectPrompt]],
        direction: Direction,
        only: Only,
    ) -> Iterator[PlaneMasks]:
        shown: dict[int, dict[int, PlaneMask]] = {number: {} for number in prompts}
        prompted = sorted({index for by_plane in prompts.values() for index in by_plane})
        _check_inside(prompts, self._load(prompted[0]).shape)
        for index in prompted:
            here = [by_plane[index] for by_plane in prompts.values() if index in by_plane]
            masks = self._prompted(index, here)
            if masks is None:
                return
            for mask in masks:
                shown[mask.object_id][index] = mask.mask
            yield PlaneMasks(index, _wanted(masks, only))
        sweeps = [
            self._sweep_of(shown, reverse, direction, only)
            for reverse in (False, True)
            if direction in ("both", "backward" if reverse else "forward")
        ]
        total = max(1, sum(len(sweep.planned) for sweep in sweeps))
        passed = 0
        for sweep in sweeps:
            for index, masks in self._follow(sweep):
                passed += index in sweep.planned
                yield PlaneMasks(index, _wanted(masks, only), passed / total, 1 / total)
        if self.failures and not self.control.cancelled:
            raise _unreadable(self.failures)

    def _prompted(self, index: int, prompts: Sequence[ObjectPrompt]) -> list[PropagatedMask] | None:
        """Return the masks of objects on a plane with prompts; None if cancelled."""
        masks = {
            prompt.object_id: (prompt.mask, 1.0) for prompt in prompts if prompt.mask is not None
        }
        drafts = tuple(
            Draft(prompt.object_id, (Turn(prompt.prompts),))
            for prompt in prompts
            if prompt.mask is None and prompt.prompts is not None
        )
        if drafts:
            question = Question(self._load(index), drafts)
            answers = answer(question, self.predictor, self.cache, self.control)
            if answers is None:
                return None
            masks |= {one.draft.number: (one.mask, one.score) for one in answers}
        if self.control.cancelled:
            return None
        return [
            PropagatedMask(index, number, mask, score, "" if mask.area else _NOTHING, True)
            for number, (mask, score) in masks.items()
        ]

    def _sweep_of(
        self,
        shown: Mapping[int, Mapping[int, PlaneMask]],
        reverse: bool,
        direction: Direction,
        only: Only,
    ) -> Sweep:
        return Sweep(
            shown,
            follower_of(
                self.predictor, self.cache, self.control, self.memory, self._load, len(self.planes)
            ),
            self._load,
            self.rules,
            len(self.planes),
            reverse=reverse,
            halves=direction == "both",
            only=only,
        )

    def _follow(self, sweep: Sweep) -> Iterator[tuple[int, list[PropagatedMask]]]:
        """Follow all objects in one direction, plane by plane; memories are freed at the end."""
        try:
            yield from self._steps(sweep)
        finally:
            sweep.close()

    def _steps(self, sweep: Sweep) -> Iterator[tuple[int, list[PropagatedMask]]]:
        for index in sweep.order:
            masks: list[PropagatedMask] = []
            if sweep.active(index):
                try:
                    results = sweep.step(index)
                except ImageError as error:
                    self.failures[index], results = error, []
                if results is None or self.control.cancelled:
                    return
                masks = results
            if index in sweep.planned:
                yield index, masks
            sweep.begin(index)
            if self.control.cancelled:
                return


def _wanted(masks: Iterable[PropagatedMask], only: Only) -> tuple[PropagatedMask, ...]:
    return tuple(one for one in masks if only is None or one.plane in only.get(one.object_id, ()))


def _check_inside(
    prompts: Mapping[int, Mapping[int, ObjectPrompt]], shape: tuple[int, int]
) -> None:
    """Raise PromptError for masks outside the planes."""
    for prompt in (prompt for by_plane in prompts.values() for prompt in by_plane.values()):
        top, left, bottom, right = prompt.mask.bbox if prompt.mask is not None else (0, 0, 0, 0)
        if top < 0 or left < 0 or bottom > shape[0] or right > shape[1]:
            raise PromptError(
                f"the mask of object {prompt.object_id} on plane {prompt.plane} is outside: from "
                f"row {top}, column {left} to row {bottom}, column {right}. Expected one within "
                f"{shape[0]} x {shape[1]} px. Use a mask of the shape of the plane."
            )


def _by_object(prompts: Iterable[ObjectPrompt], length: int) -> dict[int, dict[int, ObjectPrompt]]:
    by_object: dict[int, dict[int, ObjectPrompt]] = {}
    for prompt in prompts:
        where = f"the prompt of object {prompt.object_id} on plane {prompt.plane}"
        if not 0 <= prompt.plane < length:
            raise PromptError(
                f"{where} is outside the stack. Expected plane 0 to {length - 1}. Choose one."
            )
        empty = prompt.mask.is_empty if prompt.mask is not None else (
            prompt.prompts is None or not prompt.prompts.has_target
        )  # fmt: skip
        if empty:
            raise PromptError(
                f"{where} is empty. Expected a foreground click, a box or a mask. Add one."
            )
        planes = by_object.setdefault(prompt.object_id, {})
        if prompt.plane in planes:
            raise PromptError(f"{where} is given twice. Expected one. Join its prompts.")
        planes[prompt.plane] = prompt
    if not by_object:
        raise PromptError("no prompt: 0 given. Expected at least 1. Click on an object first.")
    return by_object


class PassedOverError(ImageError):
    """Planes, in `planes`, that could not be read and were skipped during propagation."""

    def __init__(self, message: str, planes: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.planes = tuple(planes)


def _unreadable(failures: Mapping[int, ImageError]) -> PassedOverError:
    listing = "; ".join(str(failures[index]).split(". ")[0] for index in sorted(failures)[:5])
    more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
    count = "1 plane was" if len(failures) == 1 else f"{len(failures)} planes were"
    return PassedOverError(
        f"{count} skipped: {listing}{more}. Expected readable planes. "
        "Check them, or fill the gaps by hand.",
        sorted(failures),
    )
