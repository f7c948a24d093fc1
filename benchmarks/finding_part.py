"""Find everything on the images of a file with one build, an image for each line of the input.

`benchmarks.finding` starts this file as a script, with the packages and the benchmarks of that
build on the path. It therefore imports nothing but what builds since 2026-11-27 have.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import automatic
from sam3 import load_predictor


def finder() -> Callable[[Any], Any]:
    """Return the function that labels a plane (H x W x 3) with the defaults of the build."""
    predictor = load_predictor(device="cpu")
    if hasattr(automatic, "label_plane"):
        from napari_sam3.inference.automatic.find import AutomaticSettings

        settings = AutomaticSettings()
        return lambda pixels: automatic.label_plane(pixels, predictor, settings)
    label: Callable[..., Any] = automatic._label  # type: ignore[attr-defined]
    return lambda pixels: label(pixels, predictor)


def main(path: str) -> None:
    """Print the processor time, the F1 and the mean matched IoU of each image."""
    torch.set_num_threads(1)
    find = finder()
    with np.load(path) as images:
        find(images["0_pixels"])
        print("ready", flush=True)
        for number, _line in enumerate(sys.stdin):
            pixels, truth = images[f"{number}_pixels"], images[f"{number}_labels"]
            start = time.process_time()
            labels = find(pixels)
            seconds = time.process_time() - start
            matched = automatic.match_labels(truth, labels)
            print(json.dumps([seconds, matched.f1, matched.mean_iou]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
