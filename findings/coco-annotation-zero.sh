#!/usr/bin/env bash
# A COCO file whose annotation ids start at 0 gives a perfect prediction an average precision of 0.56.
#
# Guess:    annotation ids only have to be unique, so `enumerate` is fine; a perfect result scores 1.
# Truth:    COCOeval writes the id of the matched annotation into a table in which 0 means "no match". The
#           object with id 0 is found, and then counted as a false positive. With four objects and the
#           best-scoring prediction on that object, AP falls from 1.0 to 0.56; nothing is printed.
# Matters:  exporters written by hand number objects from 0, and label images with few cells per field
#           lose the most. The score looks like a model that is bad, not like a file that is wrong.
# Instead:  number annotations from 1 (image and category ids may be 0).
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
import json
from importlib.metadata import version

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("pycocotools", version("pycocotools"), "numpy", np.__version__)


def average_precision(first_id: int) -> float:
    """Score four squares against themselves."""
    annotations, predictions = [], []
    for index in range(4):
        mask = np.zeros((64, 64), np.uint8, order="F")
        mask[2:14, 2 + 15 * index : 14 + 15 * index] = 1
        rle = masks.encode(mask)
        rle["counts"] = rle["counts"].decode()
        shape = {"image_id": 1, "category_id": 1, "segmentation": rle}
        box = masks.toBbox(rle).tolist()
        annotations.append(
            shape | {"id": first_id + index, "area": 144, "bbox": box, "iscrowd": 0}
        )
        predictions.append(shape | {"score": 1 - index / 10})
    truth = {
        "images": [{"id": 1, "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": annotations,
    }
    with open("truth.json", "w") as file:
        json.dump(truth, file)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO("truth.json")
        scores = COCOeval(truth, truth.loadRes(predictions), "segm")
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
    return float(scores.stats[0])


from_zero, from_one = average_precision(0), average_precision(1)
print(f"ids from 1: AP {from_one:.3f}\nids from 0: AP {from_zero:.3f}")
assert round(from_one, 3) == 1.0
assert round(from_zero, 3) == 0.564
PY
