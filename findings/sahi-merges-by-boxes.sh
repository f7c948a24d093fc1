#!/usr/bin/env bash
# SAHI joins parallel rods that do not touch, as it compares their boxes and never their masks.
#
# Guess:    predictions with masks that come from overlapping tiles are matched by their masks: two diagonal rods
#           10 pixels apart in a row share no pixel and stay two.
# Truth:    only the boxes are compared, and the masks are then joined. The boxes of these rods overlap by three
#           quarters: both ways of merging (GREEDYNMM is the usual one, NMM) return one object with the pixels of
#           both, and NMS drops the second rod, with IOU as with IOS. Upright rods at the same distance stay two.
# Matters:  bacteria, fibres and cells side by side, and small cells in the bay of a curved one: how many are found
#           depends on their direction. Two rods seen in the same tile are compared in the same way.
# Instead:  keep SAHI's merging for boxes and round objects; merge masks of neighbouring tiles by the overlap of
#           their pixels.
# Seen:     sahi 0.12.8, numpy 2.2.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile --only-binary :all: \
    sahi==0.12.8 numpy==2.2.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from sahi.postprocess.combine import GreedyNMMPostprocess, NMMPostprocess, NMSPostprocess
from sahi.prediction import ObjectPrediction
from sahi.utils.cv import get_coco_segmentation_from_bool_mask

print("sahi", version("sahi"), "numpy", np.__version__)
y, x = np.mgrid[:80, :80]
inside = (y >= 10) & (y < 50)
diagonal = [inside & (abs(x - y - shift) <= 1) for shift in (0, 10)]
upright = [inside & (abs(x - 20 - shift) <= 1) for shift in (0, 10)]


def prediction(mask, score):
    return ObjectPrediction(
        segmentation=get_coco_segmentation_from_bool_mask(mask),
        category_id=0,
        category_name="cell",
        score=score,
        full_shape=list(mask.shape),
    )


def sizes(rods, merge):
    assert not (rods[0] & rods[1]).any()
    left = merge([prediction(rods[0], 0.9), prediction(rods[1], 0.8)])
    return [int(item.mask.bool_mask.sum()) for item in left]


first, second = (int(rod.sum()) for rod in diagonal)
for metric in ("IOS", "IOU"):
    for method in (GreedyNMMPostprocess, NMMPostprocess, NMSPostprocess):
        merge = method(match_threshold=0.5, match_metric=metric)
        slanted, straight = sizes(diagonal, merge), sizes(upright, merge)
        print(f"{method.__name__} {metric}: diagonal {slanted}, upright {straight} pixels")
        assert len(straight) == 2
        assert slanted == [first if method is NMSPostprocess else first + second]
PY
