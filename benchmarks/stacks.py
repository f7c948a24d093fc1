"""Real stacks and time-lapses with labels, and which part of them is for measuring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sam3.training.splits import volume_side

__all__ = ["NUCLEI", "Stack", "read_stacks"]

NUCLEI = frozenset({"nuclei_embryo3d", "nuclei_ovule3d"})
#: Sets whose volumes go as a whole to one side; of all others the last planes are measured on.
_BY_VOLUME = frozenset({"nuclei_embryo3d", "em_neurites3d"})
#: Not trained on at all: a scene of the images that the embedded model is validated on.
_VALIDATION_ONLY = frozenset({"phase_t98g_t"})
_TRAINED_SHARE, _VALIDATED_SHARE = 5 / 8, 3 / 4
_FEWEST_PLANES, _FEWEST_VOXELS = 5, 200
_FEWEST_VALIDATED = 4  # planes; the shortest series has ten


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume or a time-lapse.

    Attributes
    ----------
    domain, name : str
        Its set, and itself.
    image : ndarray, planes x rows x columns
    labels : ndarray of uint16, planes x rows x columns
        An object has one label on all planes.
    objects : tuple of int
        Labels that are measured: of at least 5 planes (or half of a short series) and 200 voxels.
    in_time : bool
        Whether planes are points in time.
    """

    domain: str
    name: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint16]
    objects: tuple[int, ...]
    in_time: bool


def read_stacks(
    folder: Path, side: Literal["train", "validation"], most_objects: int | None = None
) -> Iterator[Stack]:
    """Yield the stacks of one side.

    Parameters
    ----------
    folder : Path
        With npz files: `ID_image`, `ID_labels`, and `ID_kind` "z" or "t".
    side : {"train", "validation"}
    most_objects : int, optional
        Of a stack with more, every n-th is taken.
    """
    for path in sorted(folder.glob("*.npz")):
        domain = path.stem.removesuffix("_more")
        with np.load(path, allow_pickle=False) as archive:
            names = sorted(key.removesuffix("_image") for key in archive if key.endswith("_image"))
            for name in names:
                if domain in _BY_VOLUME and volume_side(domain, name) != side:
                    continue
                image, labels = archive[f"{name}_image"], archive[f"{name}_labels"]
                planes = _planes(domain, len(image), side)
                image, labels = image[planes], labels[planes]
                objects = _objects(labels)
                if not objects or (side == "validation" and path.stem.endswith("_more")):
                    continue
                if most_objects is not None:
                    objects = objects[:: -(-len(objects) // most_objects)]
                yield Stack(
                    domain, name, image, labels, objects, str(archive[f"{name}_kind"]) == "t"
                )


def _planes(domain: str, count: int, side: str) -> slice:
    """Planes of a stack that belong to a side."""
    if domain in _BY_VOLUME:
        return slice(None)
    if domain in _VALIDATION_ONLY:
        return slice(None) if side == "validation" else slice(0)
    if side == "train":
        return slice(0, int(count * _TRAINED_SHARE))
    return slice(min(int(count * _VALIDATED_SHARE), count - _FEWEST_VALIDATED), None)


def _objects(labels: npt.NDArray[np.uint16]) -> tuple[int, ...]:
    fewest = min(_FEWEST_PLANES, len(labels) // 2)
    found = []
    for label in np.unique(labels[labels > 0]).tolist():
        sizes = (labels == label).sum(axis=(1, 2))
        if np.count_nonzero(sizes) >= max(1, fewest) and sizes.sum() >= _FEWEST_VOXELS:
            found.append(int(label))
    return tuple(found)
