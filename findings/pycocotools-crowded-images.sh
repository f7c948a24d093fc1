#!/usr/bin/env bash
# pycocotools gives a perfect result on a crowded image an AP of 0.26, and a higher limit makes AP -1 or leaves it at 0.26.
#
# Guess:    the evaluation looks at the 100 best detections of an image by default, which is too few for a field of
#           nuclei; with params.maxDets = [1, 10, 1000] or [1, 100, 1000] a perfect result has an AP of 1.
# Truth:    the limits are set, and AP50 and AP75 then take the last of them, but the first figure, AP over all
#           thresholds, is summarised for 100 detections whatever the limits are. Without 100 among them it is -1,
#           the value of "no objects"; with 100 among them it stays at 0.26 while AP50 and AP75 are 1.
# Matters:  AP is the figure that is reported. An average over images or models takes in a -1 without an error, and
#           AP far below AP75 looks like bad outlines where nothing is wrong.
# Instead:  read AP from eval["precision"] at the limit wanted: precision[:, :, :, 0, -1], the values above -1.
# Seen:     pycocotools 2.0.11, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile pycocotools==2.0.11 numpy==2.4.6
venv/bin/python - <<'PY'
import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

boxes = [[50 * (number % 20), 50 * (number // 20), 20, 20] for number in range(400)]
truth = COCO()
truth.dataset = {
    "images": [{"id": 1, "height": 1000, "width": 1000}],
    "categories": [{"id": 1, "name": "nucleus"}],
    "annotations": [
        {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 400, "bbox": box}
        for number, box in enumerate(boxes, 1)
    ],
}
found = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9} for box in boxes]
seen = {}
for limits in ([1, 10, 100], [1, 10, 1000], [1, 100, 1000]):
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    seen[limits[1], limits[2]] = *evaluation.stats[:3], precision[precision > -1].mean()
    print("limits {}: AP {:.3f}, AP50 {:.3f}, AP75 {:.3f}; AP from the table {:.3f}".format(limits, *seen[limits[1], limits[2]]))
np.testing.assert_allclose(seen[10, 100], 0.257, atol=0.001)
np.testing.assert_allclose(seen[10, 1000], [-1, 1, 1, 1])
np.testing.assert_allclose(seen[100, 1000], [0.257, 1, 1, 1], atol=0.001)
PY
