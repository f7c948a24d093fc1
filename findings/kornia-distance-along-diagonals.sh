#!/usr/bin/env bash
# kornia's distance transform, said to approximate the Euclidean one, gives the length of the longer side.
#
# Guess:    30 pixels down and 30 across is 42.4, give or take a few percent, as with the chamfer masks of OpenCV.
# Truth:    30.4. Each step of the cascade counts one pixel in all eight directions, and only the fraction within the last
#           step is Euclidean: distances along diagonals are too small by up to 29 %, along rows they are right within 0.2.
# Matters:  a distance decides where touching cells are cut, how wide a vessel is, how far a spot lies from a membrane. Here
#           the same thing measures 29 % less when the sample is turned by 45 degrees.
# Instead:  scipy.ndimage.distance_transform_edt, or the package edt.
# Seen:     kornia 0.9.0 with torch 2.14.1, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile torch==2.14.1 kornia==0.9.0 numpy==2.4.6 scipy==1.17.1
venv/bin/python - <<'PY'
import numpy as np
import torch
from kornia.contrib import distance_transform
from scipy.ndimage import distance_transform_edt

mask = torch.zeros(64, 64)
mask[0, 0] = 1
ours = distance_transform(mask[None, None])[0, 0].numpy()
true = distance_transform_edt(mask.numpy() == 0)
for place in [(10, 0), (30, 0), (10, 10), (30, 30)]:
    print(place, "kornia", ours[place].round(2), "true", true[place].round(2))
longer_side = np.add.outer(np.arange(64), np.zeros(64))
longer_side = np.maximum(longer_side, longer_side.T)
print("farthest from the longer side:", np.abs(ours - longer_side).max().round(2))
assert np.abs(ours - longer_side).max() < 0.5
assert ours[30, 30] < 0.72 * true[30, 30]
assert abs(ours[30, 0] - 30) < 0.2
PY
