"""Objects followed through planes in one direction, each from its prompts to where it stops."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam3.core.masks import PlaneMask
from sam3.errors import ImageError

from .ending import EndRules, Sighting, Trail
from .followers import Follower, Shown

if TYPE_CHECKING:
    from napari_sam3.core.rendering import PlaneImage

__all__ = ["PropagatedMask", "Sweep", "affected", "loader"]

#: Masks of objects on the planes where they were shown.
ShownMasks = Mapping[int, Mapping[int, PlaneMask]]


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


class Sweep:
    """Objects on their way in one direction.

    A plane that was done in an earlier run is replayed; it must not be if the follower remembers.

    Parameters
    ----------
    shown : mapping of int to mapping of int to PlaneMask
        Masks by object and plane.
    follower : Follower
        Finds objects on the next plane.
    load : callable
        Called with the index of a plane, returns it; from :func:`loader`.
    rules : EndRules
        Where objects end.
    length : int
        Number of planes.
    reverse : bool
        Towards the first plane.
    halves : bool
        Another sweep comes from the other side, so that each plane is found from the nearer prompt.
    only : mapping of int to collection of int, optional
        Planes wanted, by object.

    Attributes
    ----------
    order : sequence of int
        Planes in the order in which they are to be passed.
    planned : set of int
        Those to which an object may come.
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
        self._reverse = reverse
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
        """Return the objects that are followed to a plane, and forget those that stop before it."""
        for number in [n for n in self._trails if index not in self._planes[n]]:
            self._end(number)
        return tuple(self._trails)

    def trail(self, number: int) -> Trail:
        """Return the way of an object that is followed."""
        return self._trails[number]

    def step(self, index: int) -> list[PropagatedMask] | None:
        """Follow the active objects to a plane; None once the follower is cancelled.

        Raises
        ------
        ImageError
            If the plane cannot be read; objects are then followed across it.
        """
        plane = self._load(index)
        before = {number: trail.mask for number, trail in self._trails.items()}
        _check_shape(index, plane, self._trails)
        found = self._follower.step(index, plane, before, reverse=self._reverse)
        if found is None:
            return None
        results = []
        for number, one in found.items():
            mask, ended = self._trails[number].judge(one, index, plane)
            results.append(PropagatedMask(index, number, mask, one.score, ended))
            if ended:
                self._end(number)
        return results

    def replay(self, results: Sequence[PropagatedMask]) -> None:
        """Take what was found on a plane in an earlier run."""
        for one in results:
            if one.ended:
                self._end(one.object_id)
            else:
                self._trails[one.object_id].follow(Sighting(one.mask, one.plane))

    def begin(self, index: int, *, read: bool = True) -> tuple[int, ...]:
        """Start from the prompts on a plane; returns the objects.

        Parameters
        ----------
        index : int
            The plane.
        read : bool
            Read it now, rather than when it is needed.
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

    def _end(self, number: int) -> None:
        self._follower.end(number)
        del self._trails[number], self._planes[number]


def loader(planes: Sequence[PlaneImage]) -> Callable[[int], PlaneImage]:
    """Return a function that reads a plane, and raises ImageError whatever a reader raises."""

    def load(index: int) -> PlaneImage:
        try:
            return planes[index]
        except ImageError:
            raise
        except Exception as error:  # any reader, with errors of any kind
            raise ImageError(
                f"plane {index} cannot be read: {error}. Check its file, or leave the plane out."
            ) from error

    return load


@dataclass(frozen=True)
class _Start:
    """Where an object is followed from: the planes it may come to, and the masks to remember."""

    number: int
    plane: int
    planes: set[int]
    masks: dict[int, PlaneMask]


def _starts(
    number: int, masks: Mapping[int, PlaneMask], length: int, *, reverse: bool, halves: bool
) -> list[_Start]:
    """Return the starts of an object.

    A sweep stops before the next prompt, or half way to it where another one comes from there.
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
            middle = (index + following) // 2  # the plane half way belongs to the lower prompt
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
    """Refuse a plane in which a mask of the plane before does not lie."""
    height, width = plane.shape
    for trail in trails.values():
        _, _, bottom, right = trail.mask.bbox
        if bottom > height or right > width:
            raise ImageError(
                f"plane {index} has {height} x {width} px, but objects reach to row {bottom} and "
                f"column {right}. Expected planes of one size. Pad or crop it."
            )
