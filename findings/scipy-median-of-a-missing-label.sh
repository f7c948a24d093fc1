#!/usr/bin/env bash
# scipy.ndimage.median of a label that is not in the image returns a number taken from other pixels.
#
# Guess:    a label without pixels gives NaN, as scipy.ndimage.mean does.
# Truth:    mean gives NaN, but median gives the value of a pixel that belongs to something else, minimum
#           and maximum give 0 and their positions the top left corner. There is no warning. In an image
#           of brightness 1000 to 2000 the missing cell measures a believable 1000.
# Matters:  one list of ids for all frames or channels is the normal way to make a table of cells over
#           time. A cell that left, or an id deleted while correcting, keeps a curve of plausible values.
# Instead:  ask only for the ids that numpy.unique finds in that frame, or blank rows whose area is 0.
# Seen:     scipy 1.17.1, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scipy==1.17.1 numpy==2.4.6
venv/bin/python -W ignore - <<'PY'
import numpy as np
import scipy
from scipy import ndimage

print("scipy", scipy.__version__, "numpy", np.__version__)
image = np.array([[1000.0, 1001, 1002, 1003], [1200, 1201, 1202, 1203]])
labels = np.array([[1, 1, 0, 0], [0, 0, 4, 4]])
found = {}
for measure in ("mean", "median", "minimum", "maximum", "maximum_position"):
    present, absent = getattr(ndimage, measure)(image, labels, [1, 2])
    found[measure] = absent
    print(f"{measure}: label 1 {present}, label 2, which is not there, {absent}")
assert np.isnan(found["mean"])
assert found["median"] == 1002  # a background pixel
assert found["minimum"] == found["maximum"] == 0
assert found["maximum_position"] == (0, 0)
PY
