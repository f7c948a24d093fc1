"""Label a 2D image by a click, a correction and a box, and save labels and table.

Run ``python examples/label_2d.py --output coins``. The image is skimage's coins and the model is
the embedded one, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data

import sam3
from napari_sam3 import (
    LabelingSession,
    ObjectRow,
    PromptSet,
    format_table,
    plane_from_array,
    write_labels,
    write_table,
)

#: Positions are (x, y) in px: column, then row.
PROMPTS = (
    PromptSet.from_arrays(points=[[155, 51]]),
    PromptSet.from_arrays(points=[[154, 127], [156, 161]], labels=[1, 0]),  # the second: not this
    PromptSet.from_arrays(box=[314, 102, 359, 148]),
)


def main(argv: list[str] | None = None) -> dict[str, Path]:
    """Label three coins, and return the files by their kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("coins"))
    folder = parser.parse_args(argv).output
    image = skimage.data.coins()
    labels = np.zeros(image.shape, np.uint16)
    session = LabelingSession(sam3.load_predictor())
    session.set_plane(plane_from_array(image), key="coins", labels=labels)
    for prompts in PROMPTS:
        session.set_prompts(prompts)
        session.predict()
        session.accept()
    rows = [ObjectRow.measure(one, labels) for one in session.objects]
    print(format_table(rows))
    return {
        "labels": write_labels(folder / "labels.tif", labels, overwrite=True),
        "table": write_table(folder / "objects.csv", rows, overwrite=True),
    }


if __name__ == "__main__":
    main()
