"""Show nuclei on one plane of a stack, propagate them through it, and compare the volumes.

Run ``python examples/propagate_through_stack.py --output nuclei``. The stack is the plugin's sample
"Nuclei, 3D stack", whose true labels are known. The labels are an OME-Zarr; run it again, and it
finds that all is done.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_sam3 import PromptSet, open_labels
from napari_sam3.batch import BatchPrompts, Propagate, segment
from napari_sam3.layers.sample_data import stack

#: Planes of the sample to go through, and the one that is clicked on, from the first of them.
FIRST, LAST, PLANE = 6, 18, 6
#: (x, y) of a click on each nucleus on that plane.
CLICKS = ((189, 61), (52, 111), (125, 70))


def main(argv: list[str] | None = None) -> list[float]:
    """Propagate the nuclei, and return the IoU of each volume with the true one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("nuclei"))
    folder = parser.parse_args(argv).output
    image, truth = (data[FIRST:LAST] for data, _, _ in stack())
    clicks = {number: PromptSet.from_arrays(points=[at]) for number, at in enumerate(CLICKS, 1)}
    prompts = BatchPrompts({(PLANE,): clicks})
    for result in segment(image, Propagate(prompts), output=folder / "labels.zarr"):
        there = ", ".join(f"{one.id}: {one.mask.area} px" for one in result.objects)
        print(f"plane {result.plane.index[0]:2}: {there or 'none'}")
    volume = np.asarray(open_labels(folder / "labels.zarr", read_only=True).array[:])
    agreement = []
    for number, (x, y) in enumerate(CLICKS, 1):
        found, true = volume == number, truth == truth[PLANE, y, x]
        agreement.append(float((found & true).sum() / (found | true).sum()))
        print(f"nucleus {number}: {found.sum()} voxels, IoU with the truth {agreement[-1]:.2f}")
    return agreement


if __name__ == "__main__":
    main()
