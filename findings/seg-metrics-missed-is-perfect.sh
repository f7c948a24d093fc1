#!/usr/bin/env bash
# seg-metrics gives an object that was missed the Hausdorff distance 0, the best there is.
#
# Guess:    a label that the prediction lacks has no surface to measure to: infinity, NaN or an error.
# Truth:    all its surface distances (hd, hd95, msd) are 0, as for a perfect match, while its Dice is 0. So are
#           those of a label that is only in the prediction. A label found two pixels off has the distance 2. If
#           one of the two masks covers the whole image, distances are 1.8e19 instead. Warnings do not mention distances.
# Matters:  a mean over objects or images improves with each object that is missed, and one image that is all object
#           drowns the others. Of two models compared by distances, the one that finds less may win.
# Instead:  leave out rows whose Dice is 0, and say how many those are; or give them the diagonal of the image.
# Seen:     seg-metrics 1.2.8, SimpleITK 2.5.7, numpy 2.2.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile --only-binary :all: \
    seg-metrics==1.2.8 simpleitk==2.5.7 numpy==2.2.6
venv/bin/python -W ignore - <<'PY'
from importlib.metadata import version

import numpy as np
from seg_metrics.seg_metrics import write_metrics

print(*(f"{name} {version(name)}" for name in ("seg-metrics", "SimpleITK", "numpy")))
truth = np.zeros((40, 40), np.uint8)
truth[5:15, 5:15] = 1
truth[25:35, 20:30] = 2
distances = "hd", "hd95", "msd"


def scores(truth, found, labels=(1, 2)):
    table = write_metrics(
        list(labels), gdth_img=truth, pred_img=found, metrics=["dice", *distances]
    )[0]
    return [{name: float(table[name][i]) for name in table} for i in range(len(labels))]


found = np.where(truth == 2, 0, truth)
found = np.roll(found, 2, axis=1)  # 1 is found two pixels off, 2 is missed
shifted, missed = scores(truth, found)
print("two pixels off:", shifted)
print("missed:        ", missed)
assert shifted["dice"] == 0.8 and shifted["hd"] == 2
assert missed["dice"] == 0 and all(missed[name] == 0 for name in distances)

invented = scores(found, truth)[1]
print("invented:      ", invented)
assert invented["dice"] == 0 and all(invented[name] == 0 for name in distances)

everything = scores(np.ones_like(truth), (truth == 1).astype(np.uint8), [1])[0]
print("all object:    ", everything)
assert all(everything[name] > 1e18 for name in distances)
PY
