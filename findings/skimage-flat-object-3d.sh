#!/usr/bin/env bash
# An object one plane thick in a z-stack has infinite solidity and a convex hull of no volume.
#
# Guess:    a 5 x 5 square in one plane of a stack is convex: solidity 1, hull of 25 voxels, as in 2-D.
# Truth:    regionprops gives area_convex 0 and solidity inf with a QHull warning, a minor axis of 0, and
#           feret_diameter_max raises ValueError "Surface level must be within volume data range" for a
#           message, which ends the whole table. The same object in 2-D gives 25, 1.0 and a Feret
#           diameter. As soon as the object has a second plane, everything is finite.
# Matters:  the first thing anybody labels in a stack is one plane. Filters such as "solidity > 0.9" keep
#           exactly these objects, and the mean of the column is inf.
# Instead:  measure single-plane objects in 2-D, or ask for them with np.ptp of the coordinates first.
# Seen:     scikit-image 0.26.0, scipy 1.17.1, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import scipy
import skimage
from skimage.measure import regionprops

print("skimage", skimage.__version__, "scipy", scipy.__version__, "numpy", np.__version__)


def measure(labels):
    region = regionprops(labels)[0]
    try:
        feret = round(float(region.feret_diameter_max), 2)
    except ValueError as error:
        feret = str(error)
    found = (float(region.area_convex), float(region.solidity), feret)
    print(labels.ndim, "dimensions,", int(region.area), "pixels:", *found)
    return found


plane = np.zeros((12, 12), int)
plane[3:8, 3:8] = 1
stack = np.zeros((6, 12, 12), int)
stack[2] = plane
thick = stack.copy()
thick[3] = plane
assert measure(plane)[:2] == (25, 1)
assert measure(stack) == (0, np.inf, "Surface level must be within volume data range.")
assert measure(thick)[:2] == (50, 1)
PY
