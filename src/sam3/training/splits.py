"""Split of labelled images into training and validation, by set.

Nearly identical images stay on one side: the tiles of an image, the fields of a slide in two
modalities, the planes of a volume.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

__all__ = ["PARTIAL", "Side", "plane_side", "split_images", "volume_side"]

#: Side of an image; None if it is too similar to images of the other side.
Side = Literal["train", "validation"] | None

#: Sets with unlabelled objects, where unlabelled pixels may not be background.
PARTIAL = frozenset(
    {
        "bacteria_ecoli",
        "bf_neuron",
        "branched_embl",
        "c2c12_phase_t",
        "nuclei_embryo3d",
        "nuclei_ovule3d",
        "phase_t98g",
        "plant_nuclei",
    }
)

_EVERY = 4
_TILE = r"^.*(?=_t\d+$)"
_PLANE = re.compile(r"^(.*)_z(\d+)$")
#: The part of an ID that identifies its group, where that is not the part before the tile.
_GROUPS = {
    "bacteria_ecoli": r"\d+$",  # a field, in brightfield and fluorescence
    "em_chloroplast": r"t\d+$",  # a position in adjacent sections
    "nuclei_embryo3d": r"emb\d+",
}
#: Validation groups of sets that are not split by every fourth group.
_CHOSEN = {
    "nuclei_embryo3d": {"emb02", "emb06", "emb10"},
    "em_neurites3d": {"gala_train"},
}
#: Sets that are not used: labels made by a program, of a validation image of phase_t98g.
_LEFT_OUT = {"phase_t98g_t"}
_TRAINED_SHARE, _VALIDATION_SHARE = 5 / 8, 1 / 4


def split_images(domain: str, names: Sequence[str]) -> dict[str, Side]:
    """Return the side of each image of a set: every fourth group, sorted by name, validates.

    Parameters
    ----------
    domain
        Name of the set.
    names
        IDs of its images. Those that end in ``_z`` and a number are planes of a volume: the last
        quarter of the planes validates, and a gap before it is not used.
    """
    pattern = re.compile(_GROUPS.get(domain, _TILE))
    groups: dict[str, list[str]] = defaultdict(list)
    volumes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        if plane := _PLANE.match(name):
            volumes[plane[1]].append((int(plane[2]), name))
        else:
            match = pattern.search(name)
            groups[match[0] if match else name].append(name)
    chosen = _CHOSEN.get(domain, set(sorted(groups)[::_EVERY]))
    if domain not in _CHOSEN and volumes:  # the planes already provide validation images
        chosen = set()
    sides: dict[str, Side] = {
        name: "validation" if group in chosen else "train"
        for group, members in groups.items()
        for name in members
    }
    for planes in volumes.values():
        for rank, (_, name) in enumerate(sorted(planes)):
            sides[name] = plane_side(domain, rank, len(planes))
    return sides


def plane_side(domain: str, plane: int, planes: int) -> Side:
    """Return the side of a plane of a volume that is split by planes."""
    if domain in _LEFT_OUT:
        return None
    share = plane / planes
    if share < _TRAINED_SHARE:
        return "train"
    return "validation" if share >= 1 - _VALIDATION_SHARE else None


def volume_side(domain: str, name: str) -> Side:
    """Return the side of a volume in a set that is split by volumes, None in other sets."""
    if domain not in _CHOSEN:
        return None
    return split_images(domain, [name])[name]
