#!/usr/bin/env bash
# downscale_local_mean darkens the last row and column of an image whose size does not divide.
#
# Guess:    an even field of brightness 100, 5 x 5 pixels, downscaled by 2, is 3 x 3 pixels of 100, or 2 x 2.
# Truth:    it is padded with zeros first, and they are averaged in: the last row and column are 50, the corner 25.
#           block_reduce with np.min gives 0 there, whatever the image shows.
# Matters:  pyramids and quick previews are made so. At each of five levels the edge gets darker: 100 ends at 0.1 in the
#           corner. A threshold, or a model, misses the cells at two sides of each tile and not at the other two.
# Instead:  pad with mode="edge" to a multiple before, or crop.
# Seen:     scikit-image 0.26.0, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scikit-image==0.26.0 numpy==2.4.6
venv/bin/python -W error - <<'PY'
import numpy as np
from skimage.measure import block_reduce
from skimage.transform import downscale_local_mean

field = np.full((5, 5), 100.0)
half = downscale_local_mean(field, 2)
print(half)
np.testing.assert_array_equal(half, [[100, 100, 50], [100, 100, 50], [50, 50, 25]])
assert block_reduce(field, 2, np.min)[-1].tolist() == [0, 0, 0]

level = np.full((129, 129), 100.0)
for _ in range(5):
    level = downscale_local_mean(level, 2)
print("corner of the fifth level:", level[-1, -1].round(2), "inside:", level[0, 0])
assert level[0, 0] == 100
assert level[-1, -1] < 0.2

padded = np.pad(field, (0, 1), mode="edge")
assert (downscale_local_mean(padded, 2) == 100).all()
PY
