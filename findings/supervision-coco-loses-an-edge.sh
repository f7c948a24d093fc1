#!/usr/bin/env bash
# A mask exported to COCO by supervision loses its last row and column: a perfect result scores AP 0.70.
#
# Guess:    writing masks by as_coco() and scoring the same masks with pycocotools gives AP 1.0.
# Truth:    supervision draws the polygon through pixel centres (0 to 9 for a square 10 wide) and makes
#           the box 9 wide; pycocotools fills up to the edge and not beyond, 9 x 9. The "area" beside it
#           still says 100. Overlap 0.81: AP 0.70. supervision's own reader fills inclusively, so its
#           round trip is exact and shows nothing. Squares of 2 x 2 keep one pixel, single pixels an empty
#           outline.
# Matters:  it is a constant of one pixel, so small objects suffer: organelles and bacteria lose most of
#           their score, and the loss is blamed on the model.
# Instead:  write run lengths from the mask (pycocotools.mask.encode), and boxes with max + 1.
# Seen:     supervision 0.31.2, pycocotools 2.0.11, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile supervision==0.31.2 pycocotools==2.0.11 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import contextlib
import io
import json
from importlib.metadata import version

import numpy as np
import supervision
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print(*(f"{name} {version(name)}" for name in ("supervision", "pycocotools", "numpy")))
masks = np.zeros((2, 40, 40), bool)
masks[0, 5:15, 5:15] = True
masks[1, 25:35, 25:35] = True
boxes = supervision.mask_to_xyxy(masks)
cells = supervision.Detections(xyxy=boxes, mask=masks, class_id=np.zeros(2, int))
Image.new("RGB", (40, 40)).save("cells.png")
data = supervision.DetectionDataset(
    classes=["cell"], images=["cells.png"], annotations={"cells.png": cells}
)
data.as_coco(images_directory_path="images", annotations_path="cells.json")

with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO("cells.json")
annotation = truth.loadAnns([1])[0]
pixels = int(truth.annToMask(annotation).sum())
print("area", annotation["area"], "box", annotation["bbox"], "pixels for pycocotools", pixels)
assert (annotation["area"], annotation["bbox"], pixels) == (100, [5, 5, 9, 9], 81)

again = supervision.DetectionDataset.from_coco("images", "cells.json", force_masks=True)
again = next(iter(again.annotations.values())).mask
print("pixels for supervision", again.sum(axis=(1, 2)).tolist())
assert (again == masks).all()

result = [
    {
        "image_id": 1,
        "category_id": 1,
        "segmentation": rle.encode(np.asfortranarray(mask, np.uint8)),
        "score": 1.0,
    }
    for mask in masks
]
with contextlib.redirect_stdout(io.StringIO()):
    scores = COCOeval(truth, truth.loadRes(result), "segm")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
print(f"the same masks score AP {scores.stats[0]:.2f}")
assert round(float(scores.stats[0]), 2) == 0.70
PY
