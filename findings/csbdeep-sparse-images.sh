#!/usr/bin/env bash
# CSBDeep's normalisation makes cells in an otherwise black image 1e23 times brighter.
#
# Guess:    normalize(image, 1, 99.8), the call before every StarDist prediction, gives numbers around 0 to 1, also for an image of
#           a few cells on a background that was subtracted; equal percentiles are guarded by its `eps`.
# Truth:    if less than 0.2 % of the pixels are bright and the rest has one value, both percentiles are that value. The guard of 1e-20
#           is what is divided by: the cells become 1e22 to 1e25, in float32. An image without any cell becomes zeros, as it should.
# Matters:  such fields are common in screens and in time-lapses that start with one cell, above all after subtracting the background
#           or thresholding, and a network is given numbers it has never seen. No warning.
# Instead:  clip=True, or take the smallest and largest values where the percentiles are equal.
# Seen:     csbdeep 0.8.2 with numpy 2.2.6, on 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile csbdeep==0.8.2 numpy==2.2.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from csbdeep.utils import normalize

print("csbdeep", version("csbdeep"), "numpy", np.__version__)

y, x = np.mgrid[:512, :512]
cell = (y - 200) ** 2 + (x - 300) ** 2 < 10**2
field = np.where(cell, 1000, 0).astype(np.uint16)
print(f"pixels of the cell: {100 * cell.mean():.2f} %")
assert cell.mean() < 0.002

given = normalize(field, 1, 99.8)
print("background and cell:", given[~cell].max(), given[cell].min(), given.dtype)
assert given[~cell].max() == 0 and given[cell].min() > 1e22

two = cell | ((y - 400) ** 2 + (x - 100) ** 2 < 10**2) | ((y - 50) ** 2 + (x - 50) ** 2 < 10**2)
brighter = normalize(np.where(two, 1000, 0).astype(np.uint16), 1, 99.8)
print(f"with three cells, {100 * two.mean():.2f} %:", brighter.max())
assert brighter.max() == 1

clipped = normalize(field, 1, 99.8, clip=True)
print("with clip=True:", clipped[~cell].max(), clipped[cell].min())
assert clipped[~cell].max() == 0 and clipped[cell].min() == 1
PY
