"""Labels through time for the tests of tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Labels = npt.NDArray[np.uint16]
Parents = dict[int, tuple[int, ...]]

#: Track 1 divides into 2 and 3 on frame 3; 4 is gone on frames 2 and 3; 7 is there once.
PARENTS: Parents = {2: (1,), 3: (1,)}
#: A name of each format.
FILES = {"ctc": "01_RES", "ctc-truth": "01_GT", "geff": "t.geff", "tracks": "l.tracks.csv"}


def dividing() -> Labels:
    """Return labels with a division, a gap and an object on one frame, 6 x 40 x 44."""
    labels = np.zeros((6, 40, 44), np.uint16)
    labels[0:3, 5:10, 5:10] = 1
    labels[3:, 2:6, 5:10] = 2
    labels[3:5, 8:12, 5:10] = 3
    labels[0:2, 20:28, 20:28] = labels[4:, 22:30, 20:28] = 4
    labels[5, 30, 40] = 7
    return labels


def drawn(present: Mapping[int, list[bool]]) -> Labels:
    """Draw each track as a bar in a row of its own, where it is present; no two are alike."""
    frames = max(len(one) for one in present.values())
    labels = np.zeros((frames, 2 * len(present) + 1, 12), np.uint16)
    for row, (label, on) in enumerate(present.items()):
        for frame, there in enumerate(on):
            if there:
                labels[frame, 2 * row, frame % 4 : frame % 4 + 2 + label % 7] = label
    return labels


@st.composite
def lineages(draw: st.DrawFn) -> tuple[Labels, Parents]:
    """Draw labels with any gaps, numbered from 1, and parents that may be; not after a gap.

    A lone child after a gap is what the Cell Tracking Challenge writes for one object.
    """
    frames = draw(st.integers(2, 6))
    count = draw(st.integers(1, 5))
    present = {
        label: draw(st.lists(st.booleans(), min_size=frames, max_size=frames).filter(any))
        for label in range(1, count + 1)
    }
    first = {label: on.index(True) for label, on in present.items()}
    last = {label: frames - 1 - on[::-1].index(True) for label, on in present.items()}
    parents: Parents = {}
    for child in present:
        fitting = [one for one in present if last[one] == first[child] - 1]
        if draw(st.booleans()) and fitting:
            parents[child] = (draw(st.sampled_from(fitting)),)
    return drawn(present), parents


def renumbered(labels: npt.NDArray[Any], parents: Parents) -> tuple[Labels, Parents]:
    """Number labels from 1, as files of the Cell Tracking Challenge are."""
    known = [0, *np.unique(labels[labels > 0]).tolist()]
    new = {label: number for number, label in enumerate(known)}
    moved = {new[child]: tuple(new[one] for one in many) for child, many in parents.items()}
    return np.searchsorted(known, labels).astype(np.uint16), moved
