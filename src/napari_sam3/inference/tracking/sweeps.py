"""Sweeps of objects through planes in one direction, from their prompts to where they end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.masks import PlaneMask, overlap
from sam3.errors import ImageError

from .ending import EMPTY, EndRules, Sighting, Trail
from .followers import Follower, Shown
from .found import apart

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage

__all__ = ["PropagatedMask", "Sweep", "affected", "loader"]

#: Prompted masks, by object and plane.
ShownMasks = Mapping[int, Mapping[int, PlaneMask]]


@dataclass(frozen=True, eq=False)
class PropagatedMask:
    """An object on a plane.

    Attributes
    ----------
    plane, object_id : int
    mask : PlaneMask
        Empty on planes without the object.
    score : float
        Predicted IoU.
    ended : str
        Reason why it ends before this plane; "" if it does not.
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
    """Return the planes on which masks of an object depend on its prompt on a plane.

    Parameters
    ----------
    prompted : collection of int
        All planes with a prompt of the object.
    plane : int
        Plane whose prompt was added or changed, or will be removed.
    length : int
        Number of planes.
    """
    before = max((other for other in prompted if other < plane), default=-1)
    after = min((other for other in prompted if other > plane), default=length)
    return range(before + 1, after)


class Sweep:
    """Follow objects in one direction.

    Planes of an earlier run can be replayed, unless the follower has memory.

    Parameters
    ----------
    shown : mapping of int to mapping of int to PlaneMask
        Prompted masks by object and plane.
    follower : Follower
        Predicts objects on the next plane.
    load : callable
        Called with the index of a plane; returns it; from :func:`loader`.
    rules : EndRules
        Rules for where objects end.
    length : int
        Number of planes.
    reverse : bool
        Whether to go towards the first plane.
    halves : bool
        Whether another sweep comes from the other side, so that each plane is predicted from the
        nearer prompt.
    only : mapping of int to collection of int, optional
        Planes to predict, by object.

    Attributes
    ----------
    order : sequence of int
        All planes in order of the sweep.
    planned : set of int
        Planes that an object may reach.
    """

    def __init__(
        self,
        shown: ShownMasks,
        follower: Follower,
        load: Callable[[int], PlaneImage],
        rules: EndRules,
        length: int,
        *,
        reverse: bool = False,
        halves: bool = False,
        only: Mapping[int, Collection[int]] | None = None,
    ) -> None:
        self._follower, self._load, self._rules = follower, load, rules
        self._reverse, self._shown = reverse, shown
        self.order: Sequence[int] = range(length)[::-1] if reverse else range(length)
        self._starts: dict[int, list[_Start]] = {}
        self.planned: set[int] = set()
        for number, masks in shown.items():
            wanted = only.get(number) if only is not None else None
            for start in _starts(number, masks, length, reverse=reverse, halves=halves):
                if wanted is None or not start.planes.isdisjoint(wanted):
                    self._starts.setdefault(start.plane, []).append(start)
                    self.planned |= start.planes
        self._trails: dict[int, Trail] = {}
        self._planes: dict[int, set[int]] = {}

    def active(self, index: int) -> tuple[int, ...]:
        """Return the objects that are followed to a plane; those that stop earlier are ended."""
        for number in [n for n in self._trails if index not in self._planes[n]]:
            self._end(number)
        return tuple(self._trails)

    def trail(self, number: int) -> Trail:
        """Return the trail of an object that is followed."""
        return self._trails[number]

    def step(self, index: int) -> list[PropagatedMask] | None:
        """Follow the active objects to a plane; None if the follower is cancelled.

        Raises
        ------
        ImageError
            If the plane cannot be read; objects are then followed to the next one.
        """
        plane = self._load(index)
        before = {number: trail.before() for number, trail in self._trails.items()}
        _check_shape(index, plane, self._trails)
        found = self._follower.step(index, plane, before, reverse=self._reverse)
        if found is None:
            return None
        results = []
        shown = self.shown_on(index)
        for number, mask_found in apart(found).items():
            mask, ended = self._trails[number].judge(mask_found, index, plane)
            if owners := _owners(number, mask, shown):
                mask, ended = EMPTY, f"it is where {owners} was shown"
            results.append(PropagatedMask(index, number, mask, mask_found.score, ended))
            if ended:
                self._end(number)
        return results

    def replay(self, results: Sequence[PropagatedMask]) -> None:
        """Apply the results for a plane of an earlier run."""
        for mask in results:
            if mask.ended:
                self._end(mask.object_id)
            else:
                self._trails[mask.object_id].follow(Sighting(mask.mask, mask.plane))

    def begin(self, index: int, *, read: bool = True) -> tuple[int, ...]:
        """Start from the prompts on a plane, and return their objects.

        Parameters
        ----------
        index : int
            The plane.
        read : bool
            Read the plane now, not lazily.
        """
        starts = self._starts.get(index, ())
        for start in starts:
            if read:
                self._follower.begin(Shown(start.number, start.masks))
            seen = Sighting(start.masks[index], index)
            if read:
                seen.look(self._load)
            self._trails[start.number] = Trail(seen, self._rules, self._load)
            self._planes[start.number] = start.planes
        return tuple(start.number for start in starts)

    def shown_on(self, index: int) -> dict[int, PlaneMask]:
        """Return the masks that are shown on a plane, by object, which end others there."""
        masks = {number: by_plane.get(index, EMPTY) for number, by_plane in self._shown.items()}
        return {number: mask for number, mask in masks.items() if not mask.is_empty}

    def close(self) -> None:
        """Stop following all objects, and free their memories."""
        self._trails.clear()
        self._planes.clear()
        self._follower.close()

    def _end(self, number: int) -> None:
        self._follower.end(number)
        del self._trails[number], self._planes[number]


def _owners(number: int, mask: PlaneMask, shown: Mapping[int, PlaneMask]) -> str:
    """Name the objects that are shown where another one was found, "" if it stays.

    Such as the daughters of a cell, or a cell that another one was mistaken for. Objects within
    others, such as nuclei in cells, are no such objects.
    """
    shared = {
        other: pixels
        for other, there in shown.items()
        if other != number and 2 * (pixels := overlap(mask, there)) > there.area
    }
    if 2 * sum(shared.values()) <= mask.area:
        return ""
    return " and ".join(f"object {other}" for other in sorted(shared))


def loader(planes: Sequence[PlaneImage]) -> Callable[[int], PlaneImage]:
    """Return a function that reads a plane, and converts any error to ImageError."""

    def load(index: int) -> PlaneImage:
        try:
            return planes[index]
        except ImageError:
            raise
        except Exception as error:  # readers raise errors of any type
            raise ImageError(
                f"plane {index} cannot be read: {error}. Expected a readable plane. Check its "
                "file, or omit the plane."
            ) from error

    return load


@dataclass(frozen=True)
class _Start:
    """Start of a sweep: the planes it may reach, and the masks to remember."""

    number: int
    plane: int
    planes: set[int]
    masks: dict[int, PlaneMask]


def _starts(
    number: int, masks: Mapping[int, PlaneMask], length: int, *, reverse: bool, halves: bool
) -> list[_Start]:
    """Return the starts of an object.

    A sweep stops before the next prompt, or half-way to it if another sweep comes from there.
    """
    step, end = (-1, -1) if reverse else (1, length)
    found = []
    for index in masks:
        if masks[index].is_empty:
            continue
        beyond = [other for other in masks if (other - index) * step > 0]
        following = min(beyond, key=lambda other: abs(other - index), default=None)
        stop = end if following is None else following
        if following is not None and halves:
            middle = (index + following) // 2  # the plane in the middle belongs to the lower prompt
            stop = middle if reverse else middle + 1
        planes = set(range(index + step, stop, step))
        if not planes:
            continue
        kept = {index: masks[index]}
        if following is not None and not masks[following].is_empty:
            kept[following] = masks[following]
        found.append(_Start(number, index, planes, kept))
    return found


def _check_shape(index: int, plane: PlaneImage, trails: Mapping[int, Trail]) -> None:
    """Raise ImageError for a plane that is too small for a mask of the previous plane."""
    height, width = plane.shape
    for trail in trails.values():
        _, _, bottom, right = trail.mask.bbox
        if bottom > height or right > width:
            raise ImageError(
                f"plane {index} has a different size: {height} x {width} px, with objects up to "
                f"row {bottom} and column {right}. Expected planes of one size. Pad or crop it."
            )
