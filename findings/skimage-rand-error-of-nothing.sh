#!/usr/bin/env bash
# A segmentation that found nothing at all gets a fair score, and so does one huge blob.
#
# Guess:    adapted_rand_error(truth, empty) is 1, the worst value.
# Truth:    background of the truth is left out, but label 0 of the prediction is an object like any
#           other. An empty image is therefore one object that covers everything: its error equals that of
#           "the whole image is one cell". With a single true object the empty prediction is perfect:
#           error 0. The other way round, an empty truth gives NaN.
# Matters:  the measure is used to rank models on sparse fields of view, where a model that finds nothing
#           wins. A mean over images with one empty truth is NaN.
# Instead:  count missed objects beside it (matched objects, average precision), and leave out or score by
#           hand the images without objects.
# Seen:     scikit-image 0.26.0, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import skimage
from skimage.metrics import adapted_rand_error

print("skimage", skimage.__version__, "numpy", np.__version__)
truth = np.zeros((10, 10), int)
truth[2:4, 2:4], truth[6:8, 6:8] = 1, 2
single = np.where(truth == 1, 1, 0)
nothing, blob = np.zeros_like(truth), np.ones_like(truth)


def score(name, truth, prediction):
    values = tuple(round(float(value), 3) for value in adapted_rand_error(truth, prediction))
    print(f"{name}: error {values[0]}")
    return values[0]


two = score("two objects, nothing found  ", truth, nothing)
assert two == score("two objects, one great blob ", truth, blob)
assert two == 0.4
assert score("one object, nothing found   ", single, nothing) == 0.0
assert np.isnan(score("no object, something found  ", nothing, truth))
PY
