"""Division of labelled images into training and validation, by set.

Images that show nearly the same thing stay on one side: the tiles of a picture, the fields of a
slide in two kinds of light, the planes of a volume.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

__all__ = ["PARTIAL", "Side", "plane_side", "split_images", "volume_side"]

#: Where an image belongs; None where it is too near the other side's images.
Side = Literal["train", "validation"] | None

#: Sets with objects that carry no label: what is unlabelled there need not be background.
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
#: The part of an ID that names its group, where that is not what comes before the tile.
_GROUPS = {
    "bacteria_ecoli": r"\d+$",  # a field, in bright field and fluorescence
    "em_chloroplast": r"t\d+$",  # a place in neighbouring sections
    "nuclei_embryo3d": r"emb\d+",
}
#: Validation groups of sets that are not split by every fourth group.
_CHOSEN = {
    "nuclei_embryo3d": {"emb02", "emb06", "emb10"},
    "em_neurites3d": {"gala_train"},
}
#: Sets on neither side: a program's labels, of a scene that is a validation image of phase_t98g.
_LEFT_OUT = {"phase_t98g_t"}
_TRAINED_SHARE, _VALIDATION_SHARE = 5 / 8, 1 / 4


def split_images(domain: str, names: Sequence[str]) -> dict[str, Side]:
    """Return the side of each image of a set: every fourth group, by sorted name, validates.

    Parameters
    ----------
    domain
        Name of the set.
    names
        IDs of its images. Those that end in ``_z`` and a number are planes of a volume: the last
        quarter of the planes validates, and a gap before it is left out.
    """
    pattern = re.compile(_GROUPS.get(domain, _TILE))
    groups: dict[str, list[str]] = defaultdict(list)
    volumes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        if plane := _PLANE.match(name):
            volumes[plane[1]].append((int(plane[2]), name))
        else:
            found = pattern.search(name)
            groups[found[0] if found else name].append(name)
    chosen = _CHOSEN.get(domain, set(sorted(groups)[::_EVERY]))
    if domain not in _CHOSEN and volumes:  # there is something to validate on already
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
    """Return the side of a plane of a volume that is on neither side as a whole."""
    if domain in _LEFT_OUT:
        return None
    share = plane / planes
    if share < _TRAINED_SHARE:
        return "train"
    return "validation" if share >= 1 - _VALIDATION_SHARE else None


def volume_side(domain: str, name: str) -> Side:
    """Return the side of a volume of a set that is split by volumes, None of others."""
    if domain not in _CHOSEN:
        return None
    return split_images(domain, [name])[name]
