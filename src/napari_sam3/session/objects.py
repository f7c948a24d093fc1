"""Registry of accepted objects: their ids, pixels and typical size."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Set
from dataclasses import replace
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from napari_sam3.labels.targets import largest_id

if TYPE_CHECKING:
    from napari_sam3.core.masks import PlaneMask
    from napari_sam3.core.objects import AcceptedObject
    from napari_sam3.labels.targets import LabelTarget

__all__ = ["ObjectRegistry"]

# Number of recent objects whose size decides the level of the next click.
RECENT_OBJECTS = 20

# Number of ids to search for a free one when the dtype has no larger id.
LOWEST_IDS = 255

#: Label image, plane, id.
ObjectKey = tuple[Hashable, Hashable, int]


class ObjectRegistry:
    """Accepted objects of all label images, with digests of their pixels, and running ids."""

    def __init__(self) -> None:
        self._objects: dict[ObjectKey, AcceptedObject] = {}
        # The same by label image, and ids by plane, since every click needs them.
        self._within: dict[Hashable, dict[ObjectKey, AcceptedObject]] = {}
        self._ids: dict[Hashable, dict[Hashable, set[int]]] = {}
        self._digests: dict[ObjectKey, bytes] = {}
        self._highest: dict[Hashable, int] = {}
        self._forgotten: set[Hashable] = set()

    def clear(self) -> None:
        """Remove all objects and ids."""
        for known in (self._objects, self._within, self._ids):
            known.clear()
        self._digests.clear()
        self._highest.clear()

    def forget(self, source: Hashable) -> None:
        """Remove the objects of a label image, except recent ones, whose size still counts."""
        self._forgotten.add(source)
        recent = set(list(self._objects)[-RECENT_OBJECTS:])
        for key in [key for key in self._objects if key[0] in self._forgotten]:
            if key not in recent:
                del self._objects[key]
        self._digests = {key: kept for key, kept in self._digests.items() if key[0] != source}
        self._highest.pop(source, None)

    # ----------------------------------------------------------------- objects

    def all(self) -> tuple[AcceptedObject, ...]:
        """Return the objects in the labels, oldest first."""
        return tuple(self._objects.values())

    def within(self, source: Hashable) -> tuple[AcceptedObject, ...]:
        """Return the objects in one label image, oldest first."""
        return tuple(self._within.get(source, {}).values())

    def ids_in(self, source: Hashable) -> Mapping[Hashable, Set[int]]:
        """Return the ids of the objects in one label image by plane, read-only."""
        return self._ids.get(source, {})

    def find(self, labels: LabelTarget, label: int) -> AcceptedObject | None:
        """Return the object with a label on a plane, if it was accepted here."""
        return self._objects.get((labels.source, labels.key, label))

    def find_all(self, labels: LabelTarget, ids: Iterable[int]) -> list[AcceptedObject]:
        """Return the objects with these labels on a plane that were accepted here."""
        found = (self.find(labels, label) for label in dict.fromkeys(ids))
        return [one for one in found if one is not None]

    def is_as_written(self, labels: LabelTarget, label: int, mask: PlaneMask) -> bool:
        """Whether an object still has the pixels that were written."""
        return self._digests.get((labels.source, labels.key, label)) == _digest(mask)

    def renamed(
        self, labels: LabelTarget, known: AcceptedObject, label: int, mask: PlaneMask
    ) -> tuple[AcceptedObject, PlaneMask | None]:
        """Describe an object under another id, with its pixels if these are as written."""
        as_written = self.is_as_written(labels, known.id, mask)
        return replace(known, id=label), mask if as_written else None

    def add(self, source: Hashable, accepted: AcceptedObject, mask: PlaneMask | None) -> None:
        """Add an object; without a mask, its pixels differ from those its prompts predict."""
        self._put(source, accepted)
        key = source, accepted.plane, accepted.id
        self._digests[key] = b"" if mask is None else _digest(mask)

    def _put(self, source: Hashable, accepted: AcceptedObject) -> None:
        key = source, accepted.plane, accepted.id
        self._objects[key] = self._within.setdefault(source, {})[key] = accepted
        self._ids.setdefault(source, {}).setdefault(accepted.plane, set()).add(accepted.id)

    def remove(self, source: Hashable, accepted: AcceptedObject) -> None:
        """Remove an object, if it exists."""
        key = source, accepted.plane, accepted.id
        if self._objects.pop(key, None) is not None:
            del self._within[source][key]
            self._ids[source][accepted.plane].discard(accepted.id)

    def swap(
        self, source: Hashable, gone: Iterable[AcceptedObject], back: Iterable[AcceptedObject]
    ) -> None:
        """Remove objects and restore earlier ones, whose pixels are known."""
        for accepted in gone:
            self.remove(source, accepted)
        for accepted in back:
            self._put(source, accepted)

    def typical_size(self) -> float | None:
        """Return the median longer side of recent objects in px; None without any."""
        recent = [one.bbox for one in islice(reversed(self._objects.values()), RECENT_OBJECTS)]
        if not recent:
            return None
        return float(median(max(y1 - y0, x1 - x0) for y0, x0, y1, x1 in recent))

    # --------------------------------------------------------------------- ids

    def highest(self, labels: LabelTarget) -> int:
        """Return the largest id that was ever found in the labels or assigned."""
        return max(self._highest.get(labels.source, 0), labels.maximum())

    def free_id(self, labels: LabelTarget) -> int:
        """Return an id above all ids used so far, including undone ones.

        If the dtype has none, as for labels of 255 in uint8, return the lowest free id.
        """
        label, limit = self.highest(labels) + 1, largest_id(labels.dtype)
        if label <= limit:
            return label
        known = {one.id for one in self.within(labels.source)}
        lowest = (one for one in range(1, min(limit, LOWEST_IDS) + 1) if one not in known)
        return next((one for one in lowest if not labels.holds(one)), label)

    def ids_used(self) -> dict[Hashable, int]:
        """Return the largest assigned id of each label image."""
        return dict(self._highest)

    def reset_ids(self, used: dict[Hashable, int]) -> None:
        """Free the ids that were assigned since `ids_used`."""
        self._highest = dict(used)

    def use_up(self, labels: LabelTarget, label: int) -> None:
        """Mark an id, and all below it, as assigned."""
        self._highest[labels.source] = max(self._highest.get(labels.source, 0), label)


def _digest(mask: PlaneMask) -> bytes:
    digest = hashlib.blake2b(repr(mask.bbox).encode(), digest_size=16)
    digest.update(np.packbits(mask.crop).tobytes())
    return digest.digest()
