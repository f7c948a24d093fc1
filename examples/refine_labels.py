"""Correct a label image that another program made, and measure what it brings.

Run ``python examples/refine_labels.py --output refined``. A threshold takes the place of Cellpose
or StarDist: it merges nuclei that touch. A pair is split, and a clump is shown anew by boxes.
Give labels and an image of yours to the same calls; Cellpose itself is not needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label

import sam3
from napari_sam3 import LabelingSession, PromptSet, plane_from_array, write_labels
from napari_sam3.layers.sample_data import nuclei

#: (row, column) in the label of two nuclei, and of three; x0, y0, x1, y1 of each of the three.
PAIR, CLUMP = (390, 486), (33, 212)
BOXES = ((186, 44, 213, 72), (201, 18, 224, 48), (180, 11, 205, 42))


def main(argv: list[str] | None = None) -> tuple[float, float]:
    """Correct the labels; return their mean IoU with the true ones before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("refined"))
    folder = parser.parse_args(argv).output
    image, truth = (data for data, _, _ in nuclei())
    smooth = gaussian(image.astype(np.float32), 2)
    labels = label(smooth > threshold_otsu(smooth)).astype(np.uint16)  # or those of Cellpose
    before = agreement(labels, truth)

    session = LabelingSession(sam3.load_predictor())
    session.set_plane(plane_from_array(image), key="nuclei", labels=labels)
    session.split(int(labels[PAIR]))
    session.delete(int(labels[CLUMP]))
    for box in BOXES:
        session.set_prompts(PromptSet.from_arrays(box=box))
        session.predict()
        session.accept()

    after = agreement(labels, truth)
    print(f"mean IoU with the true nuclei: {before:.3f} before, {after:.3f} after")
    print(f"labels: {write_labels(folder / 'labels.tif', labels, overwrite=True)}")
    return before, after


def agreement(found: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """Mean over all true nuclei of the best IoU that a label has with them."""
    best = []
    for number in np.unique(truth)[1:]:
        true = truth == number
        values = [0.0]
        for other in np.unique(found[true]):
            if other:
                mask = found == other
                values.append(float((mask & true).sum() / (mask | true).sum()))
        best.append(max(values))
    return float(np.mean(best))


if __name__ == "__main__":
    main()
