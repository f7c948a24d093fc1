#!/usr/bin/env bash
# The distance to the background of an image without background is measured to a pixel outside it.
#
# Guess:    distance_transform_edt of an image that is all object is infinite (or an error, or zero).
# Truth:    it returns finite, smooth, lopsided numbers: the distance to an imaginary pixel at row -1,
#           column 0. return_indices gives that pixel, which indexes the last row. The largest distance,
#           the "centre" of the object, is then a corner. The package edt gives infinity.
# Matters:  crops around one object, tiles inside a large nucleus and masks of confluent tissue are all
#           object. A click placed, or a seed for a watershed, at the deepest pixel lands in the corner of
#           the tile, and the result depends on the tiling.
# Instead:  pad by one pixel of background before the transform, or test mask.all() first.
# Seen:     scipy 1.17.1, edt 3.1.2, numpy 2.4.6, on 2026-11-28.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
PIP_DISABLE_PIP_VERSION_CHECK=1 venv/bin/pip install -qq --no-compile scipy==1.17.1 edt==3.1.2 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import edt
import numpy as np
from scipy import ndimage

print(*(f"{name} {version(name)}" for name in ("scipy", "edt", "numpy")))
full = np.ones((3, 4), bool)
distance, (rows, columns) = ndimage.distance_transform_edt(full, return_indices=True)
print("scipy:", distance.round(2).tolist())
print("nearest background pixel:", np.unique(rows), np.unique(columns))
print("edt:  ", edt.edt(full).tolist())
expected = np.hypot(np.arange(3)[:, None] + 1, np.arange(4))
assert np.allclose(distance, expected)
assert np.all(rows == -1) and np.all(columns == 0)
assert np.unravel_index(distance.argmax(), full.shape) == (2, 3)
assert np.isinf(edt.edt(full)).all()
PY
