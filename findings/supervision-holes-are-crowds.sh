#!/usr/bin/env bash
# supervision exports every object with a hole, or of two pieces, as a "crowd", which COCO does not score.
#
# Guess:    as_coco() writes an object with a hole as run lengths and otherwise like the others.
# Truth:    it sets iscrowd to 1 for it. In COCO that means "an uncountable group": evaluation takes it
#           out of the truth and forgives every detection inside it, and many trainers skip it. A model
#           that finds only the simple cell of the two has a recall of 1 (at an overlap of 0.5). (The
#           docstring does say so.)
# Matters:  rings, membranes, cells around a vacuole and cells cut in two by a gap are ordinary objects.
#           They are trained and scored as if nobody had labelled them.
# Instead:  give detections.data["iscrowd"] zeros, but then holes are lost to polygons; or write run
#           lengths with iscrowd 0 yourself.
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
masks[0, 5:20, 5:20] = True
masks[0, 10:14, 10:14] = False
masks[1, 25:35, 25:35] = True
boxes = supervision.mask_to_xyxy(masks)
cells = supervision.Detections(xyxy=boxes, mask=masks, class_id=np.zeros(2, int))
Image.new("RGB", (40, 40)).save("cells.png")
data = supervision.DetectionDataset(
    classes=["cell"], images=["cells.png"], annotations={"cells.png": cells}
)
data.as_coco(images_directory_path="images", annotations_path="cells.json")
with open("cells.json") as file:
    crowd = [annotation["iscrowd"] for annotation in json.load(file)["annotations"]]
print("iscrowd of the ring and of the square:", crowd)
assert crowd == [1, 0]

found = rle.encode(np.asfortranarray(masks[1], np.uint8))
result = [{"image_id": 1, "category_id": 1, "segmentation": found, "score": 1.0}]
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO("cells.json")
    scores = COCOeval(truth, truth.loadRes(result), "segm")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
half = scores.eval["recall"][0, 0, 0, -1]  # overlap 0.5, all sizes, 100 detections
print(f"one of two cells was found: recall {half:.2f}, AP50 {scores.stats[1]:.2f}")
assert half == 1 and round(scores.stats[1], 6) == 1
PY
