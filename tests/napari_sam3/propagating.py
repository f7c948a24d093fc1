"""Propagate objects again and again, with a journal, until killed: a program of test_kept_planes.

Prints ``ready`` once the journal has begun, then a dot for each state of the labels that is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel

from napari_sam3 import bind
from napari_sam3.inference.tracking.ending import EndRules
from tests.napari_sam3.batch_samples import small_predictor, stack


def propagate(binding: Any, tell: Callable[[], None]) -> None:
    """Show two objects, propagate each, take the second back and bring it again."""
    session = binding.session
    session.propagating.progress.connect(lambda *_: tell())
    for place in ((1, 20, 21), (2, 36, 55)):
        binding.viewer.dims.set_current_step(0, place[0])
        binding.points.add(place)
        binding.accept()
        tell()
        session.propagate(rules=EndRules(min_area=1))
        tell()
    binding.undo()
    tell()
    binding.redo()
    tell()


def open_labels() -> Any:
    """Open a stack in a viewer without a window."""
    viewer = ViewerModel()
    viewer.add_image(stack(4))
    binding = bind(viewer, predictor=small_predictor())
    binding.session.policy = "overwrite"
    return binding


def states() -> list[npt.NDArray[Any]]:
    """Return all states of the labels, from the first accepted object to the last."""
    seen: list[npt.NDArray[Any]] = []
    with open_labels() as binding:
        propagate(binding, lambda: seen.append(binding.labels.data.copy()))
    return seen


def main(folder: str) -> None:
    """Do it until killed."""
    import torch

    torch.set_num_threads(1)
    binding = open_labels()
    binding.keep_journal(folder=folder)
    print("ready", flush=True)
    propagate(binding, lambda: print(".", end="", flush=True))
    print("all", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(sys.argv[1])
